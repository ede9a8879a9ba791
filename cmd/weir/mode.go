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

	"weir/configs"
)

// runMode asks a running weir, over its admin.socket, for a mode of degradation, or
// without one which mode there is.
func runMode(args []string, stdout, stderr io.Writer) int {
	fs := newFlags("mode")
	path := fs.String("config", "", "the configuration `FILE` of the running weir, for its admin.socket")
	socket := fs.String("socket", "", "the `PATH` of admin.socket, instead of -config")
	if code, ok := parse(fs, args, stdout, stderr, "BACKEND", "["+strings.Join(modeWords(), "|")+"|"+modeAuto+"]"); !ok {
		return code
	}
	if *socket == "" && *path == "" {
		fmt.Fprintln(stderr, "weir mode: name the running weir, by the file that it runs with (-config weir.yaml) or by its admin.socket (-socket /run/weir/weir.sock)")
		return exitUsage
	}
	if *socket == "" {
		admin, err := configs.LoadAdmin(*path)
		if err != nil {
			fmt.Fprintf(stderr, "%v\nweir mode: or name the socket of the running weir, with -socket /run/weir/weir.sock\n", err)
			return exitUsage
		}
		if *socket = admin.Socket.Target(); *socket == "" {
			fmt.Fprintf(stderr, "weir mode: %s has no admin.socket, and actions are taken over that alone; set it, as in unix:/run/weir/weir.sock, and restart weir\n", *path)
			return exitUsage
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	at, backend, said := strings.TrimPrefix(*socket, "unix:"), fs.Arg(0), fs.Arg(1)
	var err error
	if fs.NArg() == 1 {
		said, err = modeNow(ctx, at, backend)
	} else {
		err = ask(ctx, at, "mode", url.Values{"backend": {backend}, "mode": {said}})
	}
	if err != nil {
		fmt.Fprintln(stderr, "weir mode:", err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "backend %s: mode %s\n", backend, said)
	return exitOK
}

// modeNow asks a running weir for the mode of a backend, and says whose it is.
func modeNow(ctx context.Context, socket, backend string) (string, error) {
	door, err := newDoor(socket, configs.Address("unix:"+socket), "", nil)
	if err != nil {
		return "", err
	}
	defer door.close()
	_, page, err := door.read(ctx)
	if err != nil {
		return "", err
	}
	for _, b := range page.Backends {
		switch m := b.Mode; {
		case b.Name != backend:
		case m.ByHand:
			return clean(m.Now + " by hand; without that it would be " + m.Signs), nil
		default:
			return clean(m.Now + ", as weir found it"), nil
		}
	}
	return "", fmt.Errorf("no backend is named %.60q", backend)
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
