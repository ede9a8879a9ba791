// Command weir is a connection-pooling reverse proxy: many short client
// connections end here, and a few long ones reach the backend.
package main

import (
	"fmt"
	"io"
	"os"
)

const usage = `weir ends many short client connections and reuses a few backend ones.

usage:
  weir run -config FILE      serve; SIGHUP reloads, SIGTERM drains, a second one stops
  weir check -config FILE    check a configuration; -effective prints it with every default
  weir doctor                what of this machine will hurt under load, and what to do; -config FILE, -json, -measure
  weir mode BACKEND [MODE]   a running weir's mode of degradation; sets it by hand, or auto, over its admin.socket
  weir status                what a running weir does, on one screen; -watch goes on, -json is for programs
  weir demo [-mysql] [-once] a backend, weir before it, and what a storm of short connections leaves behind
  weir storm URL             make such a storm at an http:// or mysql:// URL; -n requests, -c at a time
  weir version

Each command explains its flags with -h.
`

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the work could not be done
	exitUsage  = 2 // flags or configuration are wrong
)

// command is a subcommand: it gets its own arguments and returns the exit code.
type command func(args []string, stdout, stderr io.Writer) int

var commands = map[string]command{
	"run":     run,
	"check":   check,
	"demo":    runDemo,
	"storm":   runStorm,
	"doctor":  runDoctor,
	"mode":    runMode,
	"status":  runStatus,
	"version": printVersion,
}

func main() { os.Exit(dispatch(os.Args[1:], os.Stdout, os.Stderr)) }

func dispatch(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		io.WriteString(stderr, usage)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		io.WriteString(stdout, usage)
		return exitOK
	}
	c, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "weir: there is no command %q\n\n%s", args[0], usage)
		return exitUsage
	}
	return c(args[1:], stdout, stderr)
}
