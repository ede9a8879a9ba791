package admin

import (
	"encoding/json"
	"fmt"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
)

const actionPath = "/api/actions/"

// pages are the handlers that other packages bring, for net/http.
type pages struct {
	metrics fasthttp.RequestHandler
	pprof   map[string]fasthttp.RequestHandler
	profile fasthttp.RequestHandler // the index, and every named profile
}

func (s *Server) newPages() pages {
	p := pages{metrics: fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: maxScrapes,
		// One bad value must not take all others out of sight in a crisis.
		ErrorHandling: promhttp.ContinueOnError,
		ErrorLog:      scrapeLog{s},
	}))}
	if s.opt.Pprof {
		p.pprof = map[string]fasthttp.RequestHandler{
			"cmdline": fasthttpadaptor.NewFastHTTPHandlerFunc(pprof.Cmdline),
			"profile": fasthttpadaptor.NewFastHTTPHandlerFunc(pprof.Profile),
			"symbol":  fasthttpadaptor.NewFastHTTPHandlerFunc(pprof.Symbol),
			"trace":   fasthttpadaptor.NewFastHTTPHandlerFunc(pprof.Trace),
		}
		p.profile = fasthttpadaptor.NewFastHTTPHandlerFunc(pprof.Index)
	}
	return p
}

type scrapeLog struct{ s *Server }

func (l scrapeLog) Println(v ...any) {
	l.s.opt.Log.Error("a metric could not be collected", "fold", "scrape", "error", strings.TrimSpace(fmt.Sprintln(v...)))
}

func (s *Server) handle(ctx *fasthttp.RequestCtx, g *guard) {
	stranger := g.admit(ctx)
	why := g.refuse(&ctx.Request.Header)
	if !asked(ctx.Conn(), stranger != "" || why != "") {
		ctx.SetConnectionClose()
		text(ctx, fasthttp.StatusServiceUnavailable, "there are too many connections, and this one has made room for another; nothing was done")
	} else if why != "" {
		text(ctx, fasthttp.StatusForbidden, why)
	} else if stranger != "" {
		s.refuseLogin(ctx, stranger)
	} else {
		s.route(ctx, g)
	}
	if stranger != "" { // who has no login holds none of maxConns, a probe neither
		ctx.SetConnectionClose()
	}
	h := &ctx.Response.Header
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

func (s *Server) route(ctx *fasthttp.RequestCtx, g *guard) {
	path := string(ctx.Path())
	if name, ok := strings.CutPrefix(path, actionPath); ok {
		s.serveAction(ctx, g, name)
		return
	}
	page := s.page(path)
	switch {
	case page == nil:
		text(ctx, fasthttp.StatusNotFound, "there is no such page; / lists those there are")
	case !ctx.IsGet() && !ctx.IsHead():
		ctx.Response.Header.Set("Allow", "GET, HEAD")
		text(ctx, fasthttp.StatusMethodNotAllowed, "this page is only read, with GET; what changes something is under "+actionPath)
	default:
		page(ctx)
	}
}

// page returns the page at path, or nil.
func (s *Server) page(path string) fasthttp.RequestHandler {
	switch path {
	case "/":
		return s.serveRoot
	case "/healthz":
		return serveHealth
	case "/readyz":
		return s.serveReady
	case "/metrics":
		return s.pages.metrics
	case "/api/status":
		if s.opt.Status != nil {
			return s.serveStatus
		}
	case "/api/stream":
		if s.streams != nil {
			return s.streams.serve
		}
	}
	if name, ok := strings.CutPrefix(path, dashboardPath); ok {
		return s.dashboardFile(name)
	}
	if name, ok := strings.CutPrefix(path, "/debug/pprof/"); ok && s.opt.Pprof {
		if p := s.pages.pprof[name]; p != nil {
			return p
		}
		return s.pages.profile
	}
	return nil
}

// serveHealth says that the process runs and answers. It looks at nothing: a
// probe that fails restarts weir, and no state of a backend is helped by that.
func serveHealth(ctx *fasthttp.RequestCtx) { ctx.SetContentType(plain); ctx.SetBodyString("ok\n") }

func (s *Server) serveReady(ctx *fasthttp.RequestCtx) {
	missing := []string{"this weir has not said yet what it waits for"}
	if s.opt.Ready != nil {
		missing = s.opt.Ready()
	}
	if len(missing) == 0 {
		ctx.SetContentType(plain)
		ctx.SetBodyString("ready\n")
		return
	}
	ctx.Response.Header.Set("Retry-After", "1")
	text(ctx, fasthttp.StatusServiceUnavailable, "not ready: "+strings.Join(missing, "\nnot ready: "))
}

func (s *Server) serveStatus(ctx *fasthttp.RequestCtx) {
	b, err := json.MarshalIndent(s.opt.Status(), "", "  ")
	if err != nil {
		s.opt.Log.Error("the status cannot be written as JSON", "fold", "status", "error", err)
		text(ctx, fasthttp.StatusInternalServerError, "the status could not be written as JSON; the log has the reason")
		return
	}
	ctx.SetContentType("application/json")
	ctx.SetBody(append(b, '\n'))
}

func (s *Server) serveIndex(ctx *fasthttp.RequestCtx) {
	var b strings.Builder
	fmt.Fprintf(&b, "weir %s\n\n", s.opt.Version)
	b.WriteString("/healthz       the process is alive\n" +
		"/readyz        it takes traffic, or why not\n" +
		"/metrics       for Prometheus; docs/metrics.md explains each\n")
	if s.opt.Status != nil {
		b.WriteString("/api/status    the same numbers and more, as JSON\n")
	}
	if s.streams != nil {
		b.WriteString("/              for a browser: the dashboard\n" +
			"/api/stream    what it shows, once a second, as server-sent events\n")
	}
	if s.opt.Pprof {
		b.WriteString("/debug/pprof/  profiles, for go tool pprof\n")
	}
	for _, name := range s.actionNames() {
		fmt.Fprintf(&b, "POST %s%s  only over a unix socket\n", actionPath, name)
	}
	ctx.SetContentType(plain)
	ctx.SetBodyString(b.String())
}

const plain = "text/plain; charset=utf-8"

// text answers with a line for a person.
func text(ctx *fasthttp.RequestCtx, status int, line string) {
	ctx.SetStatusCode(status)
	ctx.SetContentType(plain)
	ctx.SetBodyString("weir: " + line + "\n")
}

// badRequest answers what could not be read as a request.
func badRequest(ctx *fasthttp.RequestCtx, err error) {
	status := fasthttp.StatusBadRequest
	if _, ok := err.(*fasthttp.ErrSmallBuffer); ok {
		status = fasthttp.StatusRequestHeaderFieldsTooLarge
	}
	text(ctx, status, fmt.Sprintf("this is not a request that the admin server takes: HTTP/1.1 needs a Host that is not empty, "+
		"a head may have %d bytes, and a body %d", maxHead, maxBody))
	ctx.SetConnectionClose()
}
