package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"weir/internal/oplog"
	"weir/internal/storm"
	"weir/tcpstat"
)

// stormPassword is the variable of the environment that has the password of a
// mysql:// URL's user.
const stormPassword = "WEIR_STORM_PASSWORD"

// stormURL is how the target is written, for usage texts.
var stormURL = strings.Join(storm.Forms(), "|")

func runStorm(args []string, stdout, stderr io.Writer) int {
	fs := newFlags("storm")
	n := fs.Int("n", 10_000, "requests, or queries")
	c := fs.Int("c", 32, "connections at a time")
	mode := fs.String("mode", string(storm.ClientCloses), "client: each client closes its connection; server: it waits for the server's close; keepalive: connections are kept")
	query := fs.String("query", "", "for mysql://: the `SQL` of each query, instead of SELECT 1; the user's password comes from "+stormPassword+" in the environment")
	timeout := fs.Duration("timeout", 5*time.Second, "for each request, its connect and login included")
	limit := fs.Duration("limit", time.Minute, "for the whole storm")
	remote := fs.Bool("remote", false, "allow a target that is not on this machine")
	if code, ok := parse(fs, args, stdout, stderr, stormURL); !ok {
		return code
	}
	if storm.HasPassword(fs.Arg(0)) {
		fmt.Fprintf(stderr, "weir storm: all users of this machine can read the password in the URL; set %s instead\n", stormPassword)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := storm.Options{
		URL: fs.Arg(0), Query: *query, Password: os.Getenv(stormPassword),
		Requests: *n, Concurrency: *c, Mode: storm.Mode(*mode),
		Timeout: *timeout, Limit: *limit, Remote: *remote, Settle: time.Second,
	}
	if f, ok := stderr.(*os.File); ok && oplog.Terminal(f) {
		o.Progress = func(done, failed int) { fmt.Fprintf(stderr, "\r%d of %d answered, %d failed ", done, *n, failed) }
		defer fmt.Fprintln(stderr)
	}
	r, err := storm.Run(ctx, o)
	if err != nil {
		fmt.Fprintln(stderr, "weir storm:", err)
		if ctx.Err() != nil {
			return exitFailed
		}
		return exitUsage
	}
	if err := printStorm(stdout, r); err != nil {
		fmt.Fprintln(stderr, "weir storm:", err)
		return exitFailed
	}
	if r.Failed() > 0 || r.Ended != "" {
		return exitFailed
	}
	return exitOK
}

func printStorm(w io.Writer, r *storm.Result) error {
	out := bufio.NewWriter(w) // it keeps the first error
	fmt.Fprintf(out, "%d %s to %s in %v: %.0f a second, %d failed\n", r.Requests, r.Unit, r.Target, r.Elapsed.Round(time.Millisecond), r.PerSecond(), r.Failed())
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(out, "  %d: %s\n", r.Errors[kind], kind)
	}
	if r.NotBegun > 0 {
		fmt.Fprintf(out, "  %s not begun (%s)\n", storm.Number(r.NotBegun), r.Ended)
	}
	if r.Requests > 0 {
		fmt.Fprint(out, "latency:")
		for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
			fmt.Fprintf(out, "  p%g %v", q*100, r.Latency.Quantile(q).Round(time.Microsecond))
		}
		fmt.Fprintln(out)
	}
	if !r.TCP {
		fmt.Fprintln(out, "sockets by state: a unix socket has no TCP states")
		return out.Flush()
	}
	after := "1 s after"
	if r.Ended == storm.Interrupted {
		after = "at the interruption"
	}
	fmt.Fprintf(out, "sockets by state, before -> %s:\n", after)
	any := false
	for _, s := range tcpstat.States() {
		cb, ca, sb, sa := r.Before.Client[s], r.After.Client[s], r.Before.Server[s], r.After.Server[s]
		if cb+ca+sb+sa == 0 {
			continue
		}
		any = true
		fmt.Fprintf(out, "  %-11s client end %6d -> %-6d  server end %6d -> %-6d\n", s, cb, ca, sb, sa)
	}
	if !any {
		fmt.Fprintln(out, "  none at either end")
	}
	return out.Flush()
}
