package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// runMode asks a running weir, over its admin.socket, for a mode of degradation.
func runMode(args []string, stdout, stderr io.Writer) int {
	fs := newFlags("mode")
	path := fs.String("config", "", "the configuration `FILE` of the running weir, for its admin.socket")
	socket := fs.String("socket", "", "the `PATH` of admin.socket, instead of -config")
	if code, ok := parse(fs, args, stdout, stderr, "BACKEND", strings.Join(modeWords(), "|")+"|"+modeAuto); !ok {
		return code
	}
	if *socket == "" && *path == "" {
		fmt.Fprintln(stderr, "weir mode: name the running weir, by the file that it runs with (-config weir.yaml) or by its admin.socket (-socket /run/weir/weir.sock)")
		return exitUsage
	}
	if *socket == "" {
		cfg, _, ok := load(*path, stderr)
		if !ok {
			return exitUsage
		}
		if *socket = cfg.Admin.Socket.Target(); *socket == "" {
			fmt.Fprintf(stderr, "weir mode: %s has no admin.socket, and actions are taken over that alone; set it, as in unix:/run/weir/weir.sock, and restart weir\n", *path)
			return exitUsage
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := ask(ctx, strings.TrimPrefix(*socket, "unix:"), "mode", url.Values{"backend": {fs.Arg(0)}, "mode": {fs.Arg(1)}})
	if err != nil {
		fmt.Fprintln(stderr, "weir mode:", err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "backend %s: mode %s\n", fs.Arg(0), fs.Arg(1))
	return exitOK
}

// ask has a running weir do an action.
func ask(ctx context.Context, socket, action string, args url.Values) error {
	c := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://weir/api/actions/"+action+"?"+args.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("%w; is weir running, and is this its admin.socket?", errors.Unwrap(err))
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimPrefix(strings.TrimSpace(string(b)), "weir: "))
	}
	return err
}
