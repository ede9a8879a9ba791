package main

import (
	"sync"

	"weir/internal/accesslog"
	"weir/proxy/mysql"
	"weir/proxy/mysql/lex"
)

// mostDigest bounds what is written of a statement.
const mostDigest = 2 << 10

// slowText is the memory of a line while it is made.
type slowText struct{ digest, line []byte }

// keepSlow bounds what of a line is kept for the next one.
const keepSlow = 8 << 10

var slowTexts = sync.Pool{New: func() any { return new(slowText) }}

// slowLines returns what writes a listener's slow statements to log. It runs in
// the session's goroutine: it waits for nothing but the log's lock, and leaves
// the rest to the log's own goroutine.
func slowLines(listener string, log *accesslog.Log) func(*mysql.Slow) {
	return func(q *mysql.Slow) {
		if !log.On() {
			return
		}
		t := slowTexts.Get().(*slowText)
		s := accesslog.Slow{
			At: q.At, Took: q.Took, Listener: listener, Client: q.Client, User: q.User, Database: q.Database,
			Backend: q.Backend, Command: q.Command.String(), Code: q.Code,
		}
		if len(q.SQL) > 0 {
			t.digest = lex.Digest(t.digest[:0], q.SQL, mostDigest)
			s.Digest, s.Hash = t.digest, lex.DigestHash(t.digest)
		}
		t.line = s.Append(t.line[:0])
		log.Write(t.line)
		if cap(t.line) <= keepSlow {
			slowTexts.Put(t)
		}
	}
}
