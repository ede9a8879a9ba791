// Package demo shows weir's main job with nothing but the binary: a backend, a
// weir before it, and the same storm of short connections at both. The backend
// is an HTTP server, or a MariaDB server where that is installed.
package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"weir/internal/storm"
)

// Weir is a running weir, started for the demonstration.
type Weir struct {
	Address string // of its listener, host:port
	Admin   string // of its admin page, host:port
	Stop    func()
}

// Backend is what a weir is started for. User and Password are a database's.
type Backend struct {
	Address        netip.AddrPort
	User, Password string
}

// Options say how to show it.
type Options struct {
	MySQL       bool // with a MariaDB server in place of HTTP's
	Requests    int
	Concurrency int
	Once        bool // end after the table
	Out         io.Writer
	Terminal    bool // Out is one: progress is shown

	// Start runs weir before the backend.
	Start func(Backend) (*Weir, error)
}

// ErrInterrupted says that there is nothing to compare.
var ErrInterrupted = errors.New("interrupted before the storms were through, so there is nothing to compare")

// subject is the backend that a demonstration is made with. It has two
// addresses, so that the sockets of the direct storm are not taken for those
// that weir leaves. Whoever started it stops it.
type subject interface {
	words() words
	intro(*Options) string         // what will be done
	outro(address string) []string // commands to try, with a weir at that address

	// What of a storm's options is the subject's.
	direct() storm.Options
	through(address string) storm.Options

	behind() Backend // for weir
	seen(context.Context) (seen, error)
	ended() <-chan struct{} // closed where it ends by itself
	stop()
}

// seen is what a backend has counted so far.
type seen struct {
	opened  uint64        // connections, or logins
	aborted uint64        // connections that ended without a word; a database's
	cpu     time.Duration // a database's; 0: not known
}

func (s seen) since(t seen) seen {
	return seen{opened: s.opened - t.opened, aborted: s.aborted - t.aborted, cpu: s.cpu - t.cpu}
}

func (o *Options) start(ctx context.Context) (subject, error) {
	if o.MySQL {
		return startDatabase(ctx, o)
	}
	return startWeb()
}

// Run shows the table, and then serves until ctx ends. The error says that there
// is no table (ErrInterrupted if ctx ended first), that it could not be written,
// or that it does not show what it should: then why is written under it. All
// that was started is stopped when it returns; it also returns when the backend ends.
func Run(ctx context.Context, o Options) error {
	s, err := o.start(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ErrInterrupted
		}
		return err
	}
	defer s.stop()
	if _, err := fmt.Fprintf(o.Out, "\n  %s\n\n", s.intro(&o)); err != nil {
		return err
	}
	c := comparison{words: s.words(), requests: o.Requests, noTimestamps: timestampsOff()}
	if c.direct, c.directSeen, err = o.measure(ctx, s, "direct", s.direct()); err != nil {
		return err
	}
	before, err := look(ctx, s)
	if err != nil {
		return err
	}
	w, err := o.Start(s.behind())
	if err != nil {
		return err
	}
	defer w.Stop()
	if c.through, _, err = o.measure(ctx, s, "through weir", s.through(w.Address)); err != nil {
		return err
	}
	if c.backend, err = storm.Count(s.behind().Address); err != nil {
		return err
	}
	after, err := look(ctx, s)
	if err != nil {
		return err
	}
	c.throughSeen = after.since(before) // with what weir opened before the storm
	var text bytes.Buffer               // one write, and one error
	failed := c.print(&text)
	if !o.Once && failed == nil {
		fmt.Fprint(&text, "  weir goes on serving until you press Ctrl-C:\n\n")
		for _, command := range append(s.outro(w.Address), "weir status -watch -admin "+w.Admin, "curl http://"+w.Admin+"/api/status") {
			fmt.Fprintf(&text, "    %s\n", command)
		}
		fmt.Fprintf(&text, "\n  and in a browser: http://%s/\n", w.Admin)
		fmt.Fprintln(&text)
	}
	if _, err := o.Out.Write(text.Bytes()); err != nil {
		return err
	}
	if o.Once || failed != nil {
		return failed
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.ended():
		return fmt.Errorf("%s has ended", c.words.backend)
	}
}

// look is what a subject has seen so far.
func look(ctx context.Context, s subject) (seen, error) {
	now, err := s.seen(ctx)
	if ctx.Err() != nil {
		return now, ErrInterrupted
	}
	return now, err
}

// leastLimit bounds a storm, and a millisecond for each request where that is more.
const leastLimit = 8 * time.Second

// measure makes a storm, and says what the backend saw of it.
func (o *Options) measure(ctx context.Context, from subject, name string, s storm.Options) (*storm.Result, seen, error) {
	before, err := look(ctx, from)
	if err != nil {
		return nil, seen{}, err
	}
	s.Requests, s.Concurrency, s.Mode = o.Requests, o.Concurrency, storm.ClientCloses
	s.Timeout, s.Settle = 5*time.Second, time.Second
	s.Limit = max(leastLimit, time.Duration(o.Requests)*time.Millisecond)
	if o.Terminal {
		s.Progress = func(done, failed int) {
			fmt.Fprintf(o.Out, "\r  %-13s %s answered, %d failed  ", name, storm.Number(done), failed)
		}
		defer fmt.Fprint(o.Out, "\r\x1b[K")
	}
	r, err := storm.Run(ctx, s)
	if ctx.Err() != nil {
		return nil, seen{}, ErrInterrupted
	}
	if err != nil {
		return nil, seen{}, err
	}
	after, err := look(ctx, from)
	return r, after.since(before), err
}
