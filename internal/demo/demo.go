// Package demo shows weir's main job with nothing but the binary: a backend, a
// weir before it, and the same storm of short connections at both.
package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"weir/internal/storm"
	"weir/tcpstat"
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

// Run shows the table, and then serves until ctx ends. o has passed Check.
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

	fmt.Fprintf(o.Out, "\n  %s requests, each on a connection of its own that the client closes, %d at a time:\n"+
		"  first straight to a small HTTP backend, then to a weir before the same backend.\n\n", number(o.Requests), o.Concurrency)
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
		directOpened: direct.accepted.Load(), weirOpened: w.Opened(),
	}
	c.print(o.Out)
	if o.Once || ctx.Err() != nil {
		return nil
	}
	fmt.Fprintf(o.Out, "  weir goes on serving until you press Ctrl-C:\n\n"+
		"    curl http://%s/\n"+
		"    weir storm -n 20000 http://%s/\n"+
		"    curl http://%s/api/status\n\n", w.Address, w.Address, w.Admin)
	<-ctx.Done()
	return nil
}

// Check refuses what a storm would.
func (o *Options) Check() error {
	switch {
	case o.Requests < 1 || o.Requests > storm.MaxRequests:
		return fmt.Errorf("-n %d: must be 1 to %d", o.Requests, storm.MaxRequests)
	case o.Concurrency < 1 || o.Concurrency > storm.MaxConcurrency:
		return fmt.Errorf("-c %d: must be 1 to %d", o.Concurrency, storm.MaxConcurrency)
	}
	return nil
}

func (o *Options) storm(ctx context.Context, name, address string) (*storm.Result, error) {
	s := storm.Options{
		URL: "http://" + address + "/", Requests: o.Requests, Concurrency: o.Concurrency, Mode: storm.ClientCloses,
		Timeout: 5 * time.Second, Limit: 8 * time.Second, Settle: time.Second,
	}
	if o.Terminal {
		s.Progress = func(done, failed int) {
			fmt.Fprintf(o.Out, "\r  %-13s %s answered, %d failed  ", name, number(done), failed)
		}
		defer fmt.Fprint(o.Out, "\r\x1b[K")
	}
	return storm.Run(ctx, s)
}

// comparison is what the table shows.
type comparison struct {
	requests                 int
	direct, through          *storm.Result
	backend                  storm.Ends // of the connections between weir and its backend
	directOpened, weirOpened uint64
}

func (c *comparison) print(out io.Writer) {
	row := func(label, direct, through string) {
		line := fmt.Sprintf("  %-34s %12s %14s", label, direct, through)
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
	row("", "direct", "through weir")
	row("requests answered", number(c.direct.Requests), number(c.through.Requests))
	row("errors", number(c.direct.Failed()), number(c.through.Failed()))
	row("requests per second", number(int(c.direct.PerSecond())), number(int(c.through.PerSecond())))
	row("latency, median", millis(c.direct.Latency.Quantile(0.5)), millis(c.through.Latency.Quantile(0.5)))
	row("latency, 99th percentile", millis(c.direct.Latency.Quantile(0.99)), millis(c.through.Latency.Quantile(0.99)))
	row("connections the backend had to take", number(int(c.directOpened)), number(int(c.weirOpened)))
	fmt.Fprintln(out)
	row("sockets left in TIME-WAIT, 1 s later", "", "")
	tw := tcpstat.TimeWait
	d, t := c.direct.After, c.through.After
	row("  at the clients", number(d.Client[tw]), number(t.Client[tw]))
	row("  at weir, towards the clients", "-", number(t.Server[tw]))
	row("  at weir, towards the backend", "-", number(c.backend.Client[tw]))
	row("  at the backend", number(d.Server[tw]), number(c.backend.Server[tw]))
	for _, s := range tcpstat.States() {
		if s == tw || s == tcpstat.Listen {
			continue
		}
		n, m := d.Client[s]+d.Server[s], t.Client[s]+t.Server[s]+c.backend.Client[s]+c.backend.Server[s]
		if n+m > 0 {
			row("sockets in "+s.String()+", all ends", number(n), number(m))
		}
	}
	fmt.Fprintln(out)
	for _, r := range []*storm.Result{c.direct, c.through} {
		for kind, n := range r.Errors {
			fmt.Fprintf(out, "  %d failed: %s\n", n, kind)
		}
	}
	total := t.Client[tw] + t.Server[tw] + c.backend.Client[tw] + c.backend.Server[tw]
	fmt.Fprintf(out, "  A socket in TIME-WAIT keeps its port for 60 s: %s of the about 28,000 that one client\n"+
		"  has towards one address are gone for a minute. Through weir it is %s, since each client's\n"+
		"  close is answered so that neither side keeps one, and the backend sees %s connections.\n\n",
		number(d.Client[tw]+d.Server[tw]), number(total), number(int(c.weirOpened)))
}

// number writes n with commas.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 2, 64) + " ms"
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
	s.http.ShutdownWithContext(ctx)
	<-s.done
}
