package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"weir/admin"
	"weir/configs"
	"weir/internal/oplog"
	"weir/internal/procs"
	"weir/proxy"
)

func run(args []string, stdout, stderr io.Writer) int {
	fs := newFlags("run")
	path := fs.String("config", "", "the configuration `FILE`")
	level := fs.String("log-level", "", "the least `LEVEL` to log: debug, info, warn or error, instead of log.level")
	adminAddress := fs.String("admin", "", "the `ADDRESS` of the admin pages, instead of admin.address")
	if code, ok := parse(fs, args, stdout, stderr); !ok {
		return code
	}
	cfg, warnings, ok := load(*path, stderr)
	if !ok {
		return exitUsage
	}
	d := &daemon{path: *path, flagLevel: *level, level: new(slog.LevelVar)}
	d.stdout, d.stderr = newStreams(stdout, stderr)
	if err := d.setLevel(cfg); err != nil {
		fmt.Fprintln(stderr, "weir:", err)
		return exitUsage
	}
	terminal := false
	if f, ok := stderr.(*os.File); ok {
		terminal = oplog.Terminal(f)
	}
	d.log = oplog.New(d.stderr, d.level, terminal, notable...)
	defer d.log.Close()
	for _, w := range warnings {
		d.log.Warn(warningText(w))
	}
	if *adminAddress != "" {
		cfg.Admin.Address = configs.Address(*adminAddress)
		d.flagAdmin = cfg.Admin.Address
		if cfg.Admin.Exposed() && cfg.Admin.TLS.Cert == "" && cfg.Admin.AsksWho() {
			d.log.Warn("-admin: the token is sent without encryption, and who listens on the way has it; write admin.tls too", "address", *adminAddress)
		}
	}
	return d.run(cfg)
}

// place is an address of a listener.
type place struct{ listener, address string }

// daemon is weir run: the graph, the admin server, and the signals.
type daemon struct {
	path      string
	flagLevel string
	flagAdmin configs.Address
	stdout    *stream // may be stderr's
	stderr    *stream
	level     *slog.LevelVar
	log       *oplog.Log
	lines     []*lineLog // as lineKeys
	graph     *graph
	admin     *admin.Server
	history   history
	started   time.Time
	listening map[place]bool // what logListening has named

	reload chan chan error
	drain  chan struct{}
	rotate chan os.Signal // SIGUSR1
}

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

func (d *daemon) setLevel(cfg *configs.Config) error {
	text := cfg.Log.Level
	if d.flagLevel != "" {
		text = d.flagLevel
	}
	l, ok := levels[text]
	if !ok {
		return fmt.Errorf("-log-level %q: must be debug, info, warn or error", text)
	}
	d.level.Set(l)
	return nil
}

func (d *daemon) run(cfg *configs.Config) int {
	// Signals first: one that comes during the start must not kill us halfway.
	// What does not fit into a channel is lost, so many SIGHUPs, of which one is
	// as good as all, must not leave a SIGTERM without room.
	signals, hangups := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(hangups, syscall.SIGHUP)
	// It comes from a logrotate that is set up already, also while there is no
	// access log, and would kill.
	d.rotate = make(chan os.Signal, 1)
	signal.Notify(d.rotate, syscall.SIGUSR1)
	// So would the first line after the end of whatever reads the log.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Stop(signals)
	defer signal.Stop(hangups)
	defer signal.Stop(d.rotate)

	processors := procs.Follow()
	defer processors.Close()
	d.started = time.Now()
	d.reload, d.drain = make(chan chan error), make(chan struct{}, 1)
	var err error
	if d.graph, err = newGraph(d.log.Logger); err != nil {
		d.log.Error("cannot start", "err", err)
		return exitFailed
	}
	d.makeLines()
	if err := d.apply(cfg); err != nil {
		d.log.Error("cannot start", "err", err)
		d.end(cfg, signals)
		return exitFailed
	}
	d.keepHistory()
	options := d.adminOptions(cfg)
	if options.Access, err = adminAccess(&cfg.Admin); err != nil {
		d.log.Error("cannot start", "err", fmt.Errorf("admin.tls: %w", err))
		d.end(cfg, signals)
		return exitFailed
	}
	d.admin = admin.New(options)
	defer d.closeAdmin()
	for _, a := range []struct {
		key     string
		address configs.Address
	}{{"admin.address", cfg.Admin.Address}, {"admin.socket", cfg.Admin.Socket}} {
		if a.address == "" {
			continue
		}
		bound, err := d.admin.Listen(string(a.address))
		if err != nil {
			d.log.Error("cannot start", "err", fmt.Errorf("%s: %w", a.key, err))
			d.end(cfg, signals)
			return exitFailed
		}
		d.log.Info("admin", "address", bound.String())
	}
	d.logListening()
	d.log.Info("started", "version", versionText(), "config", d.path)

	for {
		select {
		case <-hangups:
			d.tryReload()
			continue
		case <-d.rotate:
			d.reopen()
			continue
		case s := <-signals:
			d.log.Info("draining; a second signal stops at once", "signal", s.String(), "timeout", d.graph.config().Drain.Timeout)
		case answer := <-d.reload:
			answer <- d.tryReload()
			continue
		case <-d.drain:
			d.log.Info("draining; a signal stops at once", "timeout", d.graph.config().Drain.Timeout)
		}
		if !d.end(d.graph.config(), signals) {
			return exitFailed
		}
		d.log.Info("stopped")
		return exitOK
	}
}

// logListening names the addresses that it has not named before.
func (d *daemon) logListening() {
	named := map[place]bool{}
	for _, l := range d.graph.server.Stats() {
		at := place{l.Name, l.Address}
		if !l.Accepting && !l.Held {
			continue
		}
		if !d.listening[at] {
			d.log.Info("listening", "listener", l.Name, "address", l.Address)
		}
		named[at] = true
	}
	d.listening = named
}

// end drains within drain.timeout, and says whether it did. At a second signal
// it does not wait any more: the kernel still delivers what was written.
func (d *daemon) end(cfg *configs.Config, signals <-chan os.Signal) (drained bool) {
	defer d.closeLines()
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
			return true
		case answer := <-d.reload:
			answer <- proxy.ErrDraining
		case <-d.rotate:
			d.reopen()
		case s := <-signals:
			d.log.Warn("stopped without waiting", "signal", s.String())
			return false
		}
	}
}

// closeAdmin gives requests to the admin pages a moment to end.
func (d *daemon) closeAdmin() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	d.admin.Close(ctx)
}

// tryReload reads the file again and applies it whole or not at all.
func (d *daemon) tryReload() error {
	err := d.reloadOnce()
	d.graph.countReload(err)
	if err == nil {
		return nil
	}
	if many, ok := errors.AsType[*configs.Errors](err); ok && len(many.List) > 1 {
		for line := range strings.Lines(many.Error()) {
			d.log.Error(strings.TrimSuffix(line, "\n"))
		}
		d.log.Error("configuration was not reloaded; the old one stays", "config", d.path, "errors", len(many.List)+many.More)
		return err
	}
	d.log.Error("configuration was not reloaded; the old one stays", "config", d.path, "err", err)
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
	access, err := adminAccess(&next.Admin)
	if err != nil {
		return fmt.Errorf("admin.tls: %w", err)
	}
	if err := d.apply(next); err != nil {
		return err
	}
	if err := d.admin.SetAccess(access); err != nil {
		return err // not after Diff, which wants a restart for that
	}
	d.setLevel(next)
	d.logListening()
	for _, w := range warnings {
		d.log.Warn(warningText(w))
	}
	for _, c := range changes {
		d.log.Info("reloaded", "key", c.Path, "old", c.Old, "new", c.New)
	}
	d.log.Info("configuration reloaded", "config", d.path, "changes", len(changes))
	return nil
}
