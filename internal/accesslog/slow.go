package accesslog

import (
	"net/netip"
	"strconv"
	"time"
)

// Slow is a slow query, as its line tells of it. There is no place in it for the
// query itself, which holds what its users have written.
type Slow struct {
	At       time.Time     // when it ended
	Took     time.Duration // since its first byte
	Listener string
	Client   netip.Addr // the zero Addr: it came over a unix socket
	User     string
	Database string // empty: none
	Backend  string
	Command  string // the protocol's name of it
	Code     uint16 // of the server's error; 0: none
	Digest   []byte // the query without its values; empty: none could be made
	Hash     uint64 // of all queries with that Digest; not shown without one
}

// Bounds of what a client chooses, as in Line.
const (
	maxUser   = 128
	maxSchema = 192     // 64 characters
	maxDigest = 4 << 10 // of ours, but made of the client's text
)

// Append appends the line, with its line feed, to dst. The texts may hold any
// bytes.
func (s *Slow) Append(dst []byte) []byte {
	b := appendTime(append(dst, opening...), s.At)
	b = append(b, `","listener":"`...)
	b = appendText(b, s.Listener, maxName)
	b = append(b, `","client":"`...)
	if s.Client.IsValid() {
		var text [64]byte
		b = appendText(b, s.Client.AppendTo(text[:0]), maxHost)
	}
	b = append(b, `","user":"`...)
	b = appendText(b, s.User, maxUser)
	b = append(b, `","database":"`...)
	b = appendText(b, s.Database, maxSchema)
	b = append(b, `","backend":"`...)
	b = appendText(b, s.Backend, maxName)
	b = append(b, `","command":"`...)
	b = appendText(b, s.Command, maxName)
	b = append(b, `","duration":`...)
	b = appendSeconds(b, s.Took)
	b = append(b, `,"code":`...)
	b = strconv.AppendUint(b, uint64(s.Code), 10)
	b = append(b, `,"digest":"`...)
	b = appendText(b, s.Digest, maxDigest)
	b = append(b, `","hash":"`...)
	if len(s.Digest) > 0 {
		b = appendHash(b, s.Hash)
	}
	return append(b, "\"}\n"...)
}

// appendHash appends h in 16 hexadecimal digits: as a number it would lose some
// of them in the readers of JSON that have no integers.
func appendHash(b []byte, h uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[h>>shift&15])
	}
	return b
}
