package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"syscall"

	"weir/configs"
)

// newFlags makes the flag set of a command. Its errors are printed by parse.
func newFlags(name string, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("weir "+name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	return fs
}

// parse parses args, which may hold flags only.
func parse(fs *flag.FlagSet, args []string, stderr io.Writer) (code int, ok bool) {
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK, false
	case err != nil:
		return exitUsage, false
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "%s: unexpected argument %q; all arguments are flags\n", fs.Name(), fs.Arg(0))
		return exitUsage, false
	}
	return exitOK, true
}

// load reads a configuration and prints what is wrong with it.
func load(path string, stderr io.Writer) (*configs.Config, bool) {
	if path == "" {
		fmt.Fprintln(stderr, "weir: -config FILE is needed; configs/minimal.yaml is a working example")
		return nil, false
	}
	c, warnings, err := configs.Load(path)
	for _, w := range warnings {
		fmt.Fprintln(stderr, w.String())
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return nil, false
	}
	return c, true
}

func check(args []string, stdout, stderr io.Writer) int {
	fs := newFlags("check", stderr)
	path := fs.String("config", "", "the configuration `FILE`")
	effective := fs.Bool("effective", false, "print the whole configuration, defaults included")
	if code, ok := parse(fs, args, stderr); !ok {
		return code
	}
	c, ok := load(*path, stderr)
	if !ok {
		return exitUsage
	}
	if err := c.CheckLimits(openFiles()); err != nil {
		fmt.Fprintf(stderr, "%s: warning: %v\n", *path, err)
	}
	if *effective {
		if err := configs.Effective(c, stdout); err != nil {
			fmt.Fprintln(stderr, err)
			return exitFailed
		}
		return exitOK
	}
	fmt.Fprintf(stdout, "%s: ok: %d listeners, %d backends, at most %d descriptors\n",
		*path, len(c.Listeners), len(c.Backends), c.Descriptors())
	return exitOK
}

// openFiles is the soft limit of open files. The Go runtime has raised it to
// the hard one by the time we ask.
func openFiles() uint64 {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 1 << 62 // unknown: let the kernel say
	}
	return uint64(r.Cur)
}
