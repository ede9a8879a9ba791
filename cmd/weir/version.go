package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// version is set by the Makefile from git describe.
var version = ""

func versionText() string {
	if version != "" {
		return version
	}
	if bi, ok := debug.ReadBuildInfo(); ok {
		for _, s := range bi.Settings {
			if s.Key == "vcs.revision" {
				return "devel " + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return "devel"
}

func printVersion(args []string, stdout, stderr io.Writer) int {
	if code, ok := parse(newFlags("version"), args, stdout, stderr); !ok {
		return code
	}
	fmt.Fprintf(stdout, "weir %s %s %s/%s\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}
