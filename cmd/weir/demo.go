package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sort"
	"syscall"
	"time"

	"weir/admin"
	"weir/configs"
	"weir/internal/demo"
	"weir/internal/oplog"
	"weir/internal/storm"
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
		Requests: *n, Concurrency: *c, Once: *once, Out: stdout, Terminal: f != nil && oplog.Terminal(f),
	}
	if err := storm.CheckSize(*n, *c); err != nil {
		fmt.Fprintln(stderr, "weir demo:", err)
		return exitUsage
	}
	clients, err := demoClients(*c, openFiles())
	if err != nil {
		fmt.Fprintln(stderr, "weir demo:", err)
		return exitFailed
	}
	o.Start = func(backend string) (*demo.Weir, error) { return startDemo(backend, *c, clients) }
	if err := demo.Run(ctx, o); err != nil {
		fmt.Fprintln(stderr, "weir demo:", err)
		return exitFailed
	}
	return exitOK
}

// demoConfig is a weir on free ports before the backend, for a storm of c
// connections at a time: all of them may have to wait for one of the backend's.
func demoConfig(backend string, c, clients int) (*configs.Config, error) {
	cfg, _, err := configs.Parse("demo.yaml", fmt.Appendf(nil, `
listeners:
  - {name: demo, protocol: http, address: "127.0.0.1:0", backend: demo, max_clients: %d}
backends:
  - {name: demo, endpoints: ["%s"], queue: {max: %d, timeout: 4s}}
admin: {address: "127.0.0.1:0"}
`, clients, backend, max(256, c)))
	return cfg, err
}

// demoClients is max_clients for a storm of c connections at a time: as many as
// limit, the descriptors of the process, has room for. At least twice c, as a
// closed one counts until weir has seen that.
func demoClients(c int, limit uint64) (int, error) {
	least, most := 2*c+64, max(2000, 4*c)
	cfg, err := demoConfig("127.0.0.1:1", c, least)
	if err != nil {
		return 0, err
	}
	need := func(clients int) uint64 {
		cfg.Listeners[0].MaxClients = clients
		pool := cfg.Backends[0].Pool
		// In this process are the storm's own end, and the backends too.
		return uint64(cfg.Descriptors() + c + pool.MaxOpen + pool.Reserved + 16)
	}
	if n := need(least); n > limit {
		return 0, fmt.Errorf("-c %d: needs %d descriptors, the limit of this process is %d; raise it (ulimit -n %d), or lower -c", c, n, limit, n)
	}
	tooMany := sort.Search(most-least, func(i int) bool { return need(least+1+i) > limit })
	return least + tooMany, nil
}

// startDemo runs the weir of demoConfig.
func startDemo(backend string, c, clients int) (*demo.Weir, error) {
	cfg, err := demoConfig(backend, c, clients)
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
