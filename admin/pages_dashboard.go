package admin

import (
	"embed"
	"path"
	"strings"

	"github.com/valyala/fasthttp"
)

// The page is plain files, as they stand: no framework and no build step, and
// nothing that comes from elsewhere.
//
//go:embed dashboard/*.html dashboard/*.css dashboard/*.js
var dashboardFiles embed.FS

// pagePolicy lets the page have what this server gives, and nothing else. It
// cannot be put into another page's frame.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const dashboardPath = "/dashboard/"

// serveRoot gives the page to a browser, and the list of pages to the rest.
func (s *Server) serveRoot(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("Vary", "Accept")
	if s.streams != nil && strings.Contains(string(ctx.Request.Header.Peek("Accept")), "text/html") {
		s.dashboardFile("index.html")(ctx)
		return
	}
	s.serveIndex(ctx)
}

// dashboardFile returns what serves a file of the page, or nil.
func (s *Server) dashboardFile(name string) fasthttp.RequestHandler {
	if s.streams == nil {
		return nil
	}
	b, err := dashboardFiles.ReadFile("dashboard/" + name)
	if err != nil {
		return nil
	}
	return func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType(fileTypes[path.Ext(name)])
		ctx.Response.Header.Set("Content-Security-Policy", pagePolicy)
		ctx.Response.Header.Set("Referrer-Policy", "no-referrer")
		ctx.SetBody(b)
	}
}

// fileTypes are not asked of package mime, which reads the machine's own tables.
var fileTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
}
