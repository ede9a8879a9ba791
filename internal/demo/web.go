package demo

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"weir/internal/storm"
)

// web is a subject: two HTTP servers that answer alike.
type web struct{ straight, after *server }

func startWeb() (*web, error) {
	straight, err := startBackend()
	if err != nil {
		return nil, err
	}
	after, err := startBackend()
	if err != nil {
		straight.stop()
		return nil, err
	}
	return &web{straight, after}, nil
}

func (w *web) stop() {
	w.after.stop()
	w.straight.stop()
}

func (w *web) words() words {
	return words{unit: "requests", backend: "the backend", opened: "connections the backend had to take"}
}

func (w *web) intro(o *Options) string {
	return fmt.Sprintf("%s requests, each on a connection of its own that the client closes, %d at a time:\n"+
		"  first straight to a small HTTP backend, then to a weir before the same backend.", storm.Number(o.Requests), o.Concurrency)
}

func (w *web) outro(address string) []string {
	return []string{"curl http://" + address + "/", "weir storm -n 20000 http://" + address + "/"}
}

func (w *web) direct() storm.Options { return w.through(w.straight.addr.String()) }

func (w *web) through(address string) storm.Options {
	return storm.Options{URL: "http://" + address + "/"}
}

func (w *web) behind() Backend { return Backend{Address: w.after.addr} }

func (w *web) ended() <-chan struct{} { return nil }

func (w *web) seen(context.Context) (seen, error) {
	return seen{opened: w.straight.accepted.Load() + w.after.accepted.Load()}, nil
}

// server is the demonstration's backend.
type server struct {
	http     *fasthttp.Server
	addr     netip.AddrPort
	accepted *counted
	done     chan error
}

func startBackend() (*server, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{addr: ln.Addr().(*net.TCPAddr).AddrPort(), accepted: &counted{Listener: ln}, done: make(chan error, 1)}
	s.http = &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) {
			ctx.SetContentType("text/plain")
			ctx.WriteString("hello from a backend that likes few connections\n")
		},
		NoDefaultDate: true, NoDefaultServerHeader: true, // a Date needs a goroutine that nothing stops
		IdleTimeout: time.Minute, ReadTimeout: time.Minute, WriteTimeout: 10 * time.Second,
		CloseOnShutdown: true,
	}
	go func() { s.done <- s.http.Serve(s.accepted) }() // stop waits for it
	return s, nil
}

func (s *server) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// A Shutdown before Serve has taken the listener is lost, so that its close
	// is what Serve ends at.
	s.accepted.Close()
	<-s.done
	s.http.ShutdownWithContext(ctx) // for what was accepted
}
