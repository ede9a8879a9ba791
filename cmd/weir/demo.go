package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"sort"
	"strings"
	"syscall"
	"time"

	"weir/admin"
	"weir/configs"
	"weir/internal/demo"
	"weir/internal/oplog"
	"weir/internal/storm"
)

// How many requests, or queries, are enough to see what becomes of them.
const (
	demoRequests = 10_000
	demoQueries  = 2_000
)

func runDemo(args []string, stdout, stderr io.Writer) int {
	fs := newFlags("demo")
	once := fs.Bool("once", false, "end after the table instead of serving on")
	mysql := fs.Bool("mysql", false, "with logins and queries to a MariaDB server of its own, where mariadbd is installed")
	n := fs.Int("n", demoRequests, fmt.Sprintf("requests of each storm; with -mysql %d unless set", demoQueries))
	c := fs.Int("c", 32, "connections at a time")
	if code, ok := parse(fs, args, stdout, stderr); !ok {
		return code
	}
	if *mysql && !isSet(fs, "n") {
		*n = demoQueries
	}
	// Whatever ends this process must not leave a database behind: not the end of
	// the terminal, nor of whatever reads what is printed.
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	f, _ := stdout.(*os.File)
	o := demo.Options{
		MySQL: *mysql, Requests: *n, Concurrency: *c, Once: *once, Out: stdout, Terminal: f != nil && oplog.Terminal(f),
	}
	if err := storm.CheckSize(*n, *c); err != nil {
		fmt.Fprintln(stderr, "weir demo:", err)
		return exitUsage
	}
	protocol := "http"
	if *mysql {
		protocol = "mysql"
	}
	clients, err := demoClients(protocol, *c, openFiles())
	if err != nil {
		fmt.Fprintln(stderr, "weir demo:", err)
		return exitFailed
	}
	o.Start = func(b demo.Backend) (*demo.Weir, error) { return startDemo(protocol, b, *c, clients) }
	if err := demo.Run(ctx, o); err != nil {
		fmt.Fprintln(stderr, "weir demo:", err)
		return exitFailed
	}
	return exitOK
}

// demoConfig is a weir on free ports before the backend, for a storm of c
// connections at a time: all of them may have to wait for one of the backend's.
func demoConfig(protocol string, b demo.Backend, c, clients int) (*configs.Config, error) {
	listener, backend := "", ""
	if protocol == "mysql" {
		listener = fmt.Sprintf(", max_logins: %d", max(1000, c))
		backend = fmt.Sprintf(", users: [{name: %q, password: %q}]", b.User, b.Password)
	}
	cfg, _, err := configs.Parse("demo.yaml", fmt.Appendf(nil, `
listeners:
  - {name: demo, protocol: %s, address: "127.0.0.1:0", backend: demo, max_clients: %d%s}
backends:
  - {name: demo, endpoints: ["%s"], queue: {max: %d, timeout: 4s}%s}
admin: {address: "127.0.0.1:0"}
`, protocol, clients, listener, b.Address, max(256, c), backend))
	return cfg, err
}

// demoClients is max_clients for a storm of c connections at a time: as many as
// limit, the descriptors of the process, has room for. At least twice c, as a
// closed one counts until weir has seen that.
func demoClients(protocol string, c int, limit uint64) (int, error) {
	least, most := 2*c+64, max(2000, 4*c)
	cfg, err := demoConfig(protocol, demo.Backend{Address: netip.MustParseAddrPort("127.0.0.1:1"), User: "user", Password: "password"}, c, least)
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

// isSet says whether a flag was given.
func isSet(fs *flag.FlagSet, name string) (set bool) {
	fs.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// warningsOf leaves lines of level INFO out of a log: the page of a demonstration
// has them, which needs them to be logged, and its terminal is for the table.
type warningsOf struct{ io.Writer }

func (w warningsOf) Write(line []byte) (int, error) {
	if _, level, ok := bytes.Cut(line, []byte("level")); ok && bytes.HasPrefix(bytes.TrimLeft(level, `"=:`), []byte("INFO")) {
		return len(line), nil
	}
	return w.Writer.Write(line)
}

// startDemo runs the weir of demoConfig.
func startDemo(protocol string, b demo.Backend, c, clients int) (*demo.Weir, error) {
	cfg, err := demoConfig(protocol, b, c, clients)
	if err != nil {
		return nil, err
	}
	log := oplog.New(warningsOf{os.Stderr}, slog.LevelInfo, oplog.Terminal(os.Stderr), notable...)
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
	if err := awaitReady(g); err != nil {
		end()
		return nil, err
	}
	d := &daemon{path: "demo.yaml", graph: g, log: log, started: time.Now(), reload: make(chan chan error), drain: make(chan struct{}, 1)}
	d.keepHistory()
	opts := d.adminOptions(cfg)
	opts.Actions = nil
	page := admin.New(opts)
	bound, err := page.Listen(string(cfg.Admin.Address))
	if err != nil {
		end()
		return nil, err
	}
	log.Info("started", "version", versionText(), "config", "of the demonstration")
	return &demo.Weir{
		Address: g.server.Stats()[0].Address,
		Admin:   bound.String(),
		Stop: func() {
			page.Close(context.Background())
			end()
		},
	}, nil
}

// readyTime bounds the wait for a weir of a demonstration, whose backend is there.
const readyTime = 10 * time.Second

// awaitReady waits until g has reached its backend: a database that has not
// been is one that no client can be greeted for.
func awaitReady(g *graph) error {
	late := time.NewTimer(readyTime)
	defer late.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		missing := g.notReady()
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-look.C:
		case <-late.C:
			return fmt.Errorf("weir was not ready within %v: %s", readyTime, strings.Join(missing, "; "))
		}
	}
}
