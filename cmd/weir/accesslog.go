package main

import (
	"context"
	"fmt"
	"io"
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

// openAccess opens what log.access names, nil for none.
func (d *daemon) openAccess(cfg *configs.Config) (io.WriteCloser, error) {
	switch path := cfg.Log.Access; path {
	case configs.AccessNone:
		return nil, nil
	case configs.AccessStderr:
		return accessLines{d.stderr}, nil
	default:
		f, err := accesslog.Open(path)
		if err != nil {
			return nil, fmt.Errorf("log.access: %w", err)
		}
		return f, nil
	}
}

// checkAccess says what would keep a start with cfg from opening the access log.
func checkAccess(cfg *configs.Config) error {
	switch path := cfg.Log.Access; path {
	case configs.AccessNone, configs.AccessStderr:
		return nil
	default:
		if err := accesslog.Check(path); err != nil {
			return fmt.Errorf("log.access: %w", err)
		}
		return nil
	}
}

// reopen opens the access log's file by its name, as it was moved or cut off
// under weir.
func (d *daemon) reopen() {
	if d.accessFor == nil || d.accessFor.Log.Access == configs.AccessNone || d.accessFor.Log.Access == configs.AccessStderr {
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
