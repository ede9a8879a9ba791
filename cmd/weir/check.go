package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"syscall"

	"weir/configs"
)

// newFlags makes the flag set of a command. What it has to say is said by parse.
func newFlags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet("weir "+name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs
}

// parse parses args: flags, and then exactly the operands that are named. Help
// that was asked for goes to stdout, and what is wrong to stderr.
func parse(fs *flag.FlagSet, args []string, stdout, stderr io.Writer, operands ...string) (code int, ok bool) {
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		if err := printHelp(fs, stdout, operands); err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", fs.Name(), err)
			return exitFailed, false
		}
		return exitOK, false
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v\n", fs.Name(), err)
		printFlags(fs, stderr)
		return exitUsage, false
	case fs.NArg() > len(operands):
		fmt.Fprintf(stderr, "%s: unexpected argument %q; flags come first\n", fs.Name(), fs.Arg(len(operands)))
		return exitUsage, false
	case fs.NArg() < len(operands) && !strings.HasPrefix(operands[fs.NArg()], "["): // which stands for one that may be left out
		fmt.Fprintf(stderr, "%s: %s is needed\n", fs.Name(), operands[fs.NArg()])
		return exitUsage, false
	}
	return exitOK, true
}

// printHelp begins with how the command is written: flags come before operands.
func printHelp(fs *flag.FlagSet, w io.Writer, operands []string) error {
	out := bufio.NewWriter(w) // it keeps the first error
	fmt.Fprintf(out, "usage: %s\n\n", strings.Join(append([]string{fs.Name(), "[flags]"}, operands...), " "))
	printFlags(fs, out)
	return out.Flush()
}

func printFlags(fs *flag.FlagSet, w io.Writer) {
	fmt.Fprintf(w, "flags of %s:\n", fs.Name())
	fs.SetOutput(w)
	fs.PrintDefaults()
}

// load reads a configuration, and prints what is wrong with it unless it is ok.
func load(path string, stderr io.Writer) (c *configs.Config, warnings []configs.Warning, ok bool) {
	if path == "" {
		fmt.Fprintf(stderr, "weir: -config FILE is needed. One that works, for a backend on port 9001:\n\n%s", configs.Minimal())
		return nil, nil, false
	}
	c, warnings, err := configs.Load(path)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return nil, nil, false
	}
	return c, warnings, true
}

// warningText is a warning in the form of an error, told apart from one.
func warningText(w configs.Warning) string {
	e := configs.Error(w)
	if e.Path == "" {
		e.Text = "warning: " + e.Text
	} else {
		e.Path = "warning: " + e.Path
	}
	return e.Error()
}

func check(args []string, stdout, stderr io.Writer) int {
	fs := newFlags("check")
	path := fs.String("config", "", "the configuration `FILE`")
	effective := fs.Bool("effective", false, "print the whole configuration, defaults included")
	if code, ok := parse(fs, args, stdout, stderr); !ok {
		return code
	}
	c, warnings, ok := load(*path, stderr)
	if !ok {
		return exitUsage
	}
	for _, w := range warnings {
		fmt.Fprintln(stderr, warningText(w))
	}
	if err := c.CheckLimits(openFiles()); err != nil {
		fmt.Fprintf(stderr, "%s: warning: %v\n", *path, err)
	}
	for _, w := range strangeSources(*path, c) {
		fmt.Fprintln(stderr, warningText(w))
	}
	warnLines(*path, c, stdout, stderr)
	if *effective {
		if err := configs.Effective(c, stdout); err != nil {
			fmt.Fprintln(stderr, err)
			return exitFailed
		}
		return exitOK
	}
	fmt.Fprintf(stdout, "%s: ok: %s, %s, at most %d descriptors\n",
		*path, number(len(c.Listeners), "listener"), number(len(c.Backends), "backend"), c.Descriptors())
	return exitOK
}

func number(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
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
