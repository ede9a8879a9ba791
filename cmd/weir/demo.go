package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"weir/admin"
	"weir/configs"
	"weir/internal/demo"
	"weir/internal/oplog"
)

func runDemo(args []string, stdout, stderr io.Writer) int {
	fs := newFlags("demo")
	once := fs.Bool("once", false, "end after the table instead of serving on")
	n := fs.Int("n", 10_000, "requests of each storm")
	c := fs.Int("c", 32, "connections at a time")
	if code, ok := parse(fs, args, stdout, stderr); !ok {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	f, _ := stdout.(*os.File)
	o := demo.Options{
		Requests: *n, Concurrency: *c, Once: *once, Out: stdout, Terminal: f != nil && oplog.Terminal(f), Start: startDemo,
	}
	if err := o.Check(); err != nil {
		fmt.Fprintln(stderr, "weir demo:", err)
		return exitUsage
	}
	if err := demo.Run(ctx, o); err != nil {
		fmt.Fprintln(stderr, "weir demo:", err)
		return exitFailed
	}
	return exitOK
}

// startDemo runs a weir on free ports before the backend.
func startDemo(backend string) (*demo.Weir, error) {
	cfg, _, err := configs.Parse("demo.yaml", fmt.Appendf(nil, `
listeners:
  - {name: demo, protocol: http, address: "127.0.0.1:0", backend: demo, max_clients: 2000}
backends:
  - {name: demo, endpoints: ["%s"]}
admin: {address: "127.0.0.1:0"}
`, backend))
	if err != nil {
		return nil, err
	}
	log := oplog.New(os.Stderr, slog.LevelWarn, oplog.Terminal(os.Stderr))
	g, err := newGraph(log.Logger)
	if err != nil {
		return nil, err
	}
	end := func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		g.stop(ctx)
		log.Close()
	}
	if err := g.apply(cfg); err != nil {
		end()
		return nil, err
	}
	d := &daemon{path: "demo.yaml", graph: g, log: log, started: time.Now(), reload: make(chan chan error), drain: make(chan struct{}, 1)}
	opts := d.adminOptions(cfg)
	opts.Actions = nil
	page := admin.New(opts)
	bound, err := page.Listen(string(cfg.Admin.Address))
	if err != nil {
		end()
		return nil, err
	}
	return &demo.Weir{
		Address: g.server.Stats()[0].Address,
		Admin:   bound.String(),
		Opened: func() (n uint64) {
			for _, c := range g.backends["demo"].pool.Stats().Opens {
				n += c
			}
			return n
		},
		Stop: func() {
			page.Close(context.Background())
			end()
		},
	}, nil
}
