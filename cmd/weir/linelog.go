package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"weir/configs"
	"weir/internal/accesslog"
)

// lineLog is one of the logs that consist of lines of JSON, and follows what the
// configuration says of it. It is the daemon's goroutine's, but for log.
type lineLog struct {
	lineKey
	log *accesslog.Log
	cfg *configs.Config // what it goes by; nil before the first
	at  fs.FileInfo     // the file it goes to; nil where that is none
}

// lineKey is a log of lines in the configuration.
type lineKey struct {
	key  string
	name string // in messages
	of   func(*configs.Config) string
}

// lineKeys has the logs in the order in which their files are opened: none may be
// one of those before it.
var lineKeys = []lineKey{
	{"log.access", "access log", func(c *configs.Config) string { return c.Log.Access }},
	{"log.slow_query", "slow-query log", func(c *configs.Config) string { return c.Log.SlowQuery }},
}

// path is the file that cfg names for the log, "" if it names none.
func (k *lineKey) path(cfg *configs.Config) string {
	switch to := k.of(cfg); to {
	case configs.AccessNone, configs.AccessStderr, configs.AccessStdout:
		return ""
	default:
		return to
	}
}

// lineEnd is where the lines of one log are to go.
type lineEnd struct {
	log *lineLog
	cfg *configs.Config
	to  io.WriteCloser // nil: nowhere
	at  fs.FileInfo

	same bool // there is nothing to open, and what is being written goes on
	off  bool // the log was off before
	used bool // it is on already
}

// open opens what cfg says. A file is opened anew each time, so that a logrotate
// which reloads is as good as one that sends SIGUSR1.
func (l *lineLog) open(cfg *configs.Config, stdout, stderr *stream, allowed func(fs.FileInfo) error) (*lineEnd, error) {
	e := &lineEnd{log: l, cfg: cfg}
	e.off = l.cfg == nil || l.of(l.cfg) == configs.AccessNone
	to := l.of(cfg)
	switch {
	case l.cfg != nil && l.of(l.cfg) == to && l.path(cfg) == "":
		e.same = true
	case to == configs.AccessNone:
	case to == configs.AccessStderr:
		e.to = newAccessLines(stderr)
	case to == configs.AccessStdout:
		e.to = newAccessLines(stdout)
	default:
		f, err := accesslog.Open(to, allowed)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.key, err)
		}
		e.to, e.at = f, fileOf(f)
	}
	return e, nil
}

// ahead turns a log on that was off: the listeners may have lines before the
// configuration is applied whole.
func (e *lineEnd) ahead() {
	if e.off && !e.same {
		e.log.log.Use(e.to)
		e.used = true
	}
}

// take makes e the log's place.
func (e *lineEnd) take() {
	if !e.same && !e.used {
		e.log.log.Use(e.to)
	}
	e.log.cfg, e.log.at = e.cfg, e.at
}

// undo leaves the log as it was.
func (e *lineEnd) undo() {
	switch {
	case e.used:
		e.log.log.Use(nil)
	case e.to != nil:
		e.to.Close()
	}
}

// busyFile is a file that lines must not go to, and why.
type busyFile struct {
	at  fs.FileInfo // nil: no file
	why string
}

// busy is at as where k's lines go.
func (k *lineKey) busy(at fs.FileInfo) busyFile {
	return busyFile{at, "is where " + k.key + " goes; name another file, as each log is opened anew by itself"}
}

// notInUse refuses a file that weir uses for something else. Devices are left
// out: nothing is overwritten there, and /dev/null is often two things.
func notInUse(config string, stdout, stderr io.Writer, more ...busyFile) func(fs.FileInfo) error {
	return func(info fs.FileInfo) error {
		own, err := os.Stat(config)
		if err != nil {
			own = nil
		}
		for _, b := range append([]busyFile{
			{own, "is the configuration; name another file"},
			{fileOf(stderr), "is where standard error goes, and lines there would overwrite each other; write stderr, or name another file"},
			{fileOf(stdout), "is where standard output goes, and lines there would overwrite each other; write stdout, or name another file"},
		}, more...) {
			if b.at != nil && info.Mode()&fs.ModeDevice == 0 && os.SameFile(info, b.at) {
				return errors.New(b.why)
			}
		}
		return nil
	}
}
