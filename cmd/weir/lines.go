package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"weir/configs"
	"weir/internal/accesslog"
)

// linesPatience is how long a stop waits for the last lines of the logs.
const linesPatience = 2 * time.Second

// makeLines makes the logs of lineKeys for the graph, before it has a
// configuration.
func (d *daemon) makeLines() {
	for _, k := range lineKeys {
		d.lines = append(d.lines, &lineLog{lineKey: k, log: accesslog.NewNamed(k.name, d.log.Logger)})
	}
	d.graph.access, d.graph.slow = d.lines[0].log, d.lines[1].log
}

// apply makes cfg the running configuration, the logs of lines included, or
// changes nothing and says why.
func (d *daemon) apply(cfg *configs.Config) error {
	var ends []*lineEnd
	undo := func() {
		for _, e := range ends {
			e.undo()
		}
	}
	for _, l := range d.lines {
		e, err := l.open(cfg, d.stdout, d.stderr, d.allowed(ends))
		if err != nil {
			undo()
			return err
		}
		ends = append(ends, e)
	}
	for _, e := range ends {
		e.ahead()
	}
	if err := d.graph.apply(cfg); err != nil {
		undo()
		return err
	}
	for _, e := range ends {
		e.take()
	}
	return nil
}

// allowed refuses what weir uses for something else, the files of the logs
// before included.
func (d *daemon) allowed(before []*lineEnd) func(fs.FileInfo) error {
	var more []busyFile
	for _, e := range before {
		more = append(more, e.log.busy(e.at))
	}
	return notInUse(d.path, d.stdout.w, d.stderr.w, more...)
}

// warnLines says on stderr what would keep a start with cfg from opening the
// logs. It is no more than a warning, as the start may be another user's, or on
// another machine.
func warnLines(config string, cfg *configs.Config, stdout, stderr io.Writer) {
	var more []busyFile
	for _, k := range lineKeys {
		path := k.path(cfg)
		if path == "" {
			continue
		}
		if err := accesslog.Check(path, notInUse(config, stdout, stderr, more...)); err != nil {
			w := configs.Warning{File: config, Path: k.key, Text: err.Error()}
			w.Line, w.Col = cfg.At(w.Path)
			fmt.Fprintln(stderr, warningText(w))
		}
		if info, err := os.Stat(path); err == nil {
			more = append(more, k.busy(info))
		}
	}
}

// reopen opens the logs' files by their names, as they were moved or cut off
// under weir. One that cannot be opened stays as it is.
func (d *daemon) reopen() {
	var now []*lineEnd // where the logs go
	for _, l := range d.lines {
		stays := &lineEnd{log: l, at: l.at}
		if l.cfg == nil || l.path(l.cfg) == "" {
			now = append(now, stays)
			continue
		}
		e, err := l.open(l.cfg, d.stdout, d.stderr, d.allowed(now))
		if err != nil {
			d.log.Error(l.name+" was not opened anew; the old file stays open", "err", err)
			now = append(now, stays)
			continue
		}
		e.take()
		now = append(now, e)
		d.log.Info(l.name+" was opened anew", "file", l.path(l.cfg))
	}
}

// closeLines waits for the last lines of all logs at the same time: one that
// stands must not cost another one its end.
func (d *daemon) closeLines() {
	ctx, cancel := context.WithTimeout(context.Background(), linesPatience)
	defer cancel()
	var wg sync.WaitGroup
	for _, l := range d.lines {
		wg.Go(func() {
			if err := l.log.Close(ctx); err != nil {
				d.log.Error("stopped without the end of the "+l.name, "err", err)
			}
		})
	}
	wg.Wait()
}
