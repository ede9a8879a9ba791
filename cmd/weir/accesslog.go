package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"weir/configs"
	"weir/internal/accesslog"
)

// accessPatience is how long a stop waits for the access log's last lines.
const accessPatience = 2 * time.Second

// apply makes cfg the running configuration, the access log included, or changes
// nothing and says why. Its file is opened anew by every reload, so that a
// logrotate which reloads is as good as one that sends SIGUSR1.
func (d *daemon) apply(cfg *configs.Config) error {
	if d.accessFor != nil && d.accessFor.Log.Access == cfg.Log.Access && !isFile(cfg) {
		// There is nothing to open, and what is being written goes on.
		if err := d.graph.apply(cfg); err != nil {
			return err
		}
		d.accessFor = cfg
		return nil
	}
	to, err := d.openAccess(cfg)
	if err != nil {
		return err
	}
	off := d.accessFor == nil || d.accessFor.Log.Access == configs.AccessNone
	if off {
		d.access.Use(to) // the listeners may have lines before this returns
	}
	if err := d.graph.apply(cfg); err != nil {
		switch {
		case off:
			d.access.Use(nil)
		case to != nil:
			to.Close()
		}
		return err
	}
	if !off {
		d.access.Use(to)
	}
	d.accessFor = cfg
	return nil
}

// isFile says whether log.access names a file.
func isFile(cfg *configs.Config) bool {
	switch cfg.Log.Access {
	case configs.AccessNone, configs.AccessStderr, configs.AccessStdout:
		return false
	}
	return true
}

// openAccess opens what log.access names, nil for none.
func (d *daemon) openAccess(cfg *configs.Config) (io.WriteCloser, error) {
	switch path := cfg.Log.Access; path {
	case configs.AccessNone:
		return nil, nil
	case configs.AccessStderr:
		return newAccessLines(d.stderr), nil
	case configs.AccessStdout:
		return newAccessLines(d.stdout), nil
	default:
		f, err := accesslog.Open(path, notInUse(d.path, d.stdout.w, d.stderr.w))
		if err != nil {
			return nil, fmt.Errorf("log.access: %w", err)
		}
		return f, nil
	}
}

// notInUse refuses a file that weir uses for something else. Devices are left
// out: nothing is overwritten there, and /dev/null is often two things.
func notInUse(config string, stdout, stderr io.Writer) func(fs.FileInfo) error {
	return func(info fs.FileInfo) error {
		is := func(other fs.FileInfo) bool {
			return other != nil && info.Mode()&fs.ModeDevice == 0 && os.SameFile(info, other)
		}
		own, err := os.Stat(config)
		switch {
		case err == nil && is(own):
			return errors.New("is the configuration; name another file")
		case is(fileOf(stderr)):
			return errors.New("is where standard error goes, and lines there would overwrite each other; write stderr, or name another file")
		case is(fileOf(stdout)):
			return errors.New("is where standard output goes, and lines there would overwrite each other; write stdout, or name another file")
		}
		return nil
	}
}

// warnAccess says on stderr what would keep a start with cfg from opening the
// access log. It is no more than a warning, as the start may be another user's,
// or on another machine.
func warnAccess(config string, cfg *configs.Config, stdout, stderr io.Writer) {
	if !isFile(cfg) {
		return
	}
	if err := accesslog.Check(cfg.Log.Access, notInUse(config, stdout, stderr)); err != nil {
		w := configs.Warning{File: config, Path: "log.access", Text: err.Error()}
		w.Line, w.Col = cfg.At(w.Path)
		fmt.Fprintln(stderr, warningText(w))
	}
}

// reopen opens the access log's file by its name, as it was moved or cut off
// under weir.
func (d *daemon) reopen() {
	if d.accessFor == nil || !isFile(d.accessFor) {
		return
	}
	to, err := d.openAccess(d.accessFor)
	if err != nil {
		d.log.Error("access log was not opened anew; the old file stays open", "err", err)
		return
	}
	d.access.Use(to)
	d.log.Info("access log was opened anew", "file", d.accessFor.Log.Access)
}

func (d *daemon) closeAccess() {
	ctx, cancel := context.WithTimeout(context.Background(), accessPatience)
	defer cancel()
	if err := d.access.Close(ctx); err != nil {
		d.log.Error("stopped without the end of the access log", "err", err)
	}
}
