package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"weir/configs"
	"weir/internal/oplog"
)

// runStatus shows what a running weir does: once, as JSON, or over and over.
func runStatus(args []string, stdout, stderr io.Writer) int {
	fs := newFlags("status")
	path := fs.String("config", "", "the configuration `FILE` of the running weir, for its admin.socket or admin.address")
	address := fs.String("admin", "", "the `ADDRESS` to ask, instead of -config: unix:/path, host:port or https://host:port (default "+string(configs.Default().Admin.Address)+")")
	tokenFile := fs.String("token-file", "", "the `FILE` of the token, for -admin")
	watch := fs.Bool("watch", false, "draw it anew each second, until Ctrl-C")
	asJSON := fs.Bool("json", false, "print /api/status as it is; docs/status.md explains each name")
	if code, ok := parse(fs, args, stdout, stderr); !ok {
		return code
	}
	complain := func(code int, err error) int {
		fmt.Fprintln(stderr, "weir status:", strings.TrimPrefix(err.Error(), "weir status: "))
		return code
	}
	switch {
	case *path != "" && *address != "":
		return complain(exitUsage, fmt.Errorf("-config and -admin both say whom to ask; leave one out"))
	case *tokenFile != "" && *path != "":
		return complain(exitUsage, fmt.Errorf("-token-file is for -admin; with -config it is admin.token_file"))
	case *watch && *asJSON:
		return complain(exitUsage, fmt.Errorf("-json prints once; leave -watch out, or read /api/stream"))
	}
	door, code := doorFor(*path, *address, *tokenFile, stderr, complain)
	if door == nil {
		return code
	}
	defer door.close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	body, page, err := door.read(ctx)
	if err != nil && ctx.Err() != nil {
		return exitFailed // who pressed Ctrl-C knows why
	}
	if err != nil {
		return complain(exitFailed, err)
	}
	if *asJSON {
		if _, err := stdout.Write(body); err != nil {
			return complain(exitFailed, err)
		}
		return exitOK
	}
	term := terminalOf(stdout)
	now := time.Now()
	v := &statusView{page: page, rates: ratesOf(nil, page, 0), at: now, now: now}
	if *watch && term != nil {
		if err := watchStatus(ctx, door, term, v); err != nil {
			return complain(exitFailed, err)
		}
		return exitOK
	}
	if *watch {
		fmt.Fprintln(stderr, "weir status: -watch needs a terminal; this is printed once")
	}
	width, height, color := screenWidth, 0, false
	if term != nil {
		width, height = term.size()
		height-- // the prompt's
		color = term.color
	}
	if _, err := io.WriteString(stdout, write(render(v, width, height), color)); err != nil {
		return complain(exitFailed, err)
	}
	return exitOK
}

// doorFor finds the door that the flags mean. Without one it has said why.
func doorFor(path, address, tokenFile string, stderr io.Writer, complain func(int, error) int) (*statusDoor, int) {
	if path != "" {
		a, err := configs.LoadAdmin(path)
		if err != nil {
			fmt.Fprintf(stderr, "%v\nweir status: or say where to ask, with -admin unix:/path or -admin host:port\n", err)
			return nil, exitUsage
		}
		d, err := doorOf(a)
		if err != nil {
			return nil, complain(exitUsage, fmt.Errorf("%s: %w", path, err))
		}
		return d, exitOK
	}
	if address == "" {
		address = string(configs.Default().Admin.Address)
	}
	d, err := doorAt(address, tokenFile)
	if err != nil {
		return nil, complain(exitUsage, err)
	}
	return d, exitOK
}

// terminalOf returns the terminal that w is, nil if it is none.
func terminalOf(w io.Writer) *terminal {
	f, ok := w.(*os.File)
	if !ok || !oplog.Terminal(f) {
		return nil
	}
	t := &terminal{f: f, color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	if _, _, err := t.ask(); err != nil {
		return nil // a device, but no terminal: /dev/null
	}
	return t
}
