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
	"weir/internal/oplog"
)

func run(args []string, _, stderr io.Writer) int {
	fs := newFlags("run", stderr)
	path := fs.String("config", "", "the configuration `FILE`")
	level := fs.String("log-level", "", "debug, info, warn or error, instead of log.level")
	adminAddress := fs.String("admin", "", "`ADDRESS` of the admin page, instead of admin.address")
	if code, ok := parse(fs, args, stderr); !ok {
		return code
	}
	cfg, ok := load(*path, stderr)
	if !ok {
		return exitUsage
	}
	d := &daemon{path: *path, flagLevel: *level, stderr: stderr, level: new(slog.LevelVar)}
	if err := d.setLevel(cfg); err != nil {
		fmt.Fprintln(stderr, "weir:", err)
		return exitUsage
	}
	terminal := false
	if f, ok := stderr.(*os.File); ok {
		terminal = oplog.Terminal(f)
	}
	d.log = oplog.New(stderr, d.level, terminal)
	defer d.log.Close()
	if *adminAddress != "" {
		cfg.Admin.Address = configs.Address(*adminAddress)
		d.flagAdmin = cfg.Admin.Address
	}
	return d.run(cfg)
}

// daemon is weir run: the graph, the admin server, and the signals.
type daemon struct {
	path      string
	flagLevel string
	flagAdmin configs.Address
	stderr    io.Writer
	level     *slog.LevelVar
	log       *oplog.Log
	graph     *graph
	admin     *admin.Server
	started   time.Time

	reload chan chan error
	drain  chan struct{}
}

func (d *daemon) setLevel(cfg *configs.Config) error {
	text := cfg.Log.Level
	if d.flagLevel != "" {
		text = d.flagLevel
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf("-log-level %q: must be debug, info, warn or error", text)
	}
	d.level.Set(l)
	return nil
}

func (d *daemon) run(cfg *configs.Config) int {
	// Signals first: one that comes during the start must not kill us halfway.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	d.started = time.Now()
	d.reload, d.drain = make(chan chan error), make(chan struct{}, 1)
	var err error
	if d.graph, err = newGraph(d.log.Logger); err != nil {
		d.log.Error("cannot start", "err", err)
		return exitFailed
	}
	if err := d.graph.apply(cfg); err != nil {
		d.log.Error("cannot start", "err", err)
		d.stop(cfg, signals)
		return exitFailed
	}
	d.admin = admin.New(d.adminOptions(cfg))
	defer d.admin.Close(context.Background())
	for _, a := range []configs.Address{cfg.Admin.Address, cfg.Admin.Socket} {
		if a == "" {
			continue
		}
		bound, err := d.admin.Listen(string(a))
		if err != nil {
			d.log.Error("cannot start", "err", err, "hint", "admin.address or admin.socket")
			d.stop(cfg, signals)
			return exitFailed
		}
		d.log.Info("admin", "address", bound.String())
	}
	for _, l := range d.graph.server.Stats() {
		d.log.Info("listening", "listener", l.Name, "address", l.Address)
	}
	d.log.Info("started", "version", versionText(), "config", d.path)

	for {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				d.tryReload()
				continue
			}
			d.log.Info("draining; a second signal stops at once", "signal", s.String(), "timeout", d.graph.config().Drain.Timeout)
		case answer := <-d.reload:
			answer <- d.tryReload()
			continue
		case <-d.drain:
			d.log.Info("draining; a signal stops at once", "timeout", d.graph.config().Drain.Timeout)
		}
		return d.stop(d.graph.config(), signals)
	}
}

// stop drains within drain.timeout. A second signal exits at once: the kernel
// still delivers what was written.
func (d *daemon) stop(cfg *configs.Config, signals <-chan os.Signal) int {
	ctx, cancel := context.WithTimeout(context.Background(), cfg.Drain.Timeout)
	defer cancel()
	d.graph.draining.Store(true)
	done := make(chan struct{})
	go func() {
		d.graph.stop(ctx)
		close(done)
	}()
	for {
		select {
		case <-done:
			d.log.Info("stopped")
			return exitOK
		case s := <-signals:
			if s == syscall.SIGHUP {
				continue
			}
			d.log.Warn("stopped without waiting", "signal", s.String())
			return exitFailed
		}
	}
}

// tryReload reads the file again and applies it whole or not at all.
func (d *daemon) tryReload() error {
	err := d.reloadOnce()
	d.graph.countReload(err)
	if err != nil {
		d.log.Error("configuration was not reloaded; the old one stays", "config", d.path, "err", err)
	}
	return err
}

func (d *daemon) reloadOnce() error {
	next, warnings, err := configs.Load(d.path)
	if err != nil {
		return err
	}
	if d.flagAdmin != "" {
		next.Admin.Address = d.flagAdmin
	}
	old := d.graph.config()
	changes := configs.Diff(old, next)
	for _, c := range changes {
		if c.Restart {
			return fmt.Errorf("%s: %s -> %s: a change of this key needs a restart", c.Path, c.Old, c.New)
		}
	}
	if err := d.graph.apply(next); err != nil {
		return err
	}
	d.setLevel(next)
	for _, w := range warnings {
		d.log.Warn(w.String())
	}
	for _, c := range changes {
		d.log.Info("reloaded", "key", c.Path, "old", c.Old, "new", c.New)
	}
	d.log.Info("configuration reloaded", "config", d.path, "changes", len(changes))
	return nil
}
