// Package demo shows weir's main job with nothing but the binary: a backend, a
// weir before it, and the same storm of short connections at both.
package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"weir/internal/storm"
)

// Weir is a running weir, started for the demonstration.
type Weir struct {
	Address string        // of its listener, host:port
	Admin   string        // of its admin page, host:port
	Opened  func() uint64 // connections dialled to the backend so far
	Stop    func()
}

// Options say how to show it.
type Options struct {
	Requests    int
	Concurrency int
	Once        bool // end after the table
	Out         io.Writer
	Terminal    bool // Out is one: progress is shown

	// Start runs weir before the backend at this address.
	Start func(backend string) (*Weir, error)
}

// ErrInterrupted says that there is nothing to compare.
var ErrInterrupted = errors.New("interrupted before the storms were through, so there is nothing to compare")

// Run shows the table, and then serves until ctx ends. The error says that there
// is no table (ErrInterrupted if ctx ended first), that it could not be written,
// or that it does not show what it should: then why is written under it.
func Run(ctx context.Context, o Options) error {
	// Two addresses, so that the sockets of the direct storm are not taken
	// for those that weir leaves.
	direct, err := startBackend()
	if err != nil {
		return err
	}
	defer direct.stop()
	behind, err := startBackend()
	if err != nil {
		return err
	}
	defer behind.stop()
	w, err := o.Start(behind.addr.String())
	if err != nil {
		return err
	}
	defer w.Stop()

	if _, err := fmt.Fprintf(o.Out, "\n  %s requests, each on a connection of its own that the client closes, %d at a time:\n"+
		"  first straight to a small HTTP backend, then to a weir before the same backend.\n\n", storm.Number(o.Requests), o.Concurrency); err != nil {
		return err
	}
	d, err := o.storm(ctx, "direct", direct.addr.String())
	if err != nil {
		return err
	}
	t, err := o.storm(ctx, "through weir", w.Address)
	if err != nil {
		return err
	}
	back, err := storm.Count(behind.addr)
	if err != nil {
		return err
	}
	c := comparison{
		requests: o.Requests, direct: d, through: t, backend: back,
		directOpened: direct.accepted.Load(), weirOpened: w.Opened(), noTimestamps: timestampsOff(),
	}
	var text bytes.Buffer // one write, and one error
	failed := c.print(&text)
	if !o.Once && failed == nil {
		fmt.Fprintf(&text, "  weir goes on serving until you press Ctrl-C:\n\n"+
			"    curl http://%s/\n"+
			"    weir storm -n 20000 http://%s/\n"+
			"    curl http://%s/api/status\n\n", w.Address, w.Address, w.Admin)
	}
	if _, err := o.Out.Write(text.Bytes()); err != nil {
		return err
	}
	if o.Once || failed != nil {
		return failed
	}
	<-ctx.Done()
	return nil
}

// leastLimit bounds a storm, and a millisecond for each request where that is more.
const leastLimit = 8 * time.Second

func (o *Options) storm(ctx context.Context, name, address string) (*storm.Result, error) {
	s := storm.Options{
		URL: "http://" + address + "/", Requests: o.Requests, Concurrency: o.Concurrency, Mode: storm.ClientCloses,
		Timeout: 5 * time.Second, Limit: max(leastLimit, time.Duration(o.Requests)*time.Millisecond), Settle: time.Second,
	}
	if o.Terminal {
		s.Progress = func(done, failed int) {
			fmt.Fprintf(o.Out, "\r  %-13s %s answered, %d failed  ", name, storm.Number(done), failed)
		}
		defer fmt.Fprint(o.Out, "\r\x1b[K")
	}
	r, err := storm.Run(ctx, s)
	if ctx.Err() != nil {
		return nil, ErrInterrupted
	}
	return r, err
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
