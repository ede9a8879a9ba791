//go:build !race

package wire

import (
	"strings"
	"testing"
)

// The race detector allocates on its own, so this holds without it.
func TestNothingIsAllocatedPerPacket(t *testing.T) {
	trackers := readStory(t, "trackers")
	var tracked []byte // the longest OK of the story
	for _, e := range trackers.exchanges(t) {
		if e.cmds[0] == ComQuery && len(e.parts) == 1 && e.parts[0][HeaderLen] == byteOK && len(e.parts[0]) > len(tracked) {
			tracked = e.parts[0]
		}
	}
	rows := frames(append(append([]string{"\x01", definition}, strings.Split(strings.Repeat("\x01a ", 600), " ")[:600]...), eofAsOK)...)
	prepared := frames("\x00\x01\x00\x00\x00\x02\x00\x01\x00\x00\x00\x00", definition, definition, definition)
	results := frames(okMore, "\x01", definition, "\xfe\x00\x00\x0a\x00\x00\x00", errPacket)
	failed := []byte(errPacket)
	execute := []byte("\x17\x01\x00\x00\x00\x00\x01\x00\x00\x00")
	command, _ := AppendPacket(nil, []byte("\x03SELECT 1"), 0)
	dst := make([]byte, 0, 1<<16)
	var r Response
	var tr Translate
	var p Packet
	scan := func(cmd Command, b []byte) {
		r.Start(cmd, 1, fullCaps)
		for ev := EventNone; ev != EventEnd; {
			n, e, err := r.Scan(b)
			if b, ev = b[n:], e; err != nil || ev == EventNone {
				t.Fatal(ev, err)
			}
		}
	}
	translate := func(cmd Command, b []byte) {
		tr.Start(cmd, 1, fullCaps, CapProtocol41, StatusAutocommit)
		dst = dst[:0]
		for ev := EventNone; ev != EventEnd; {
			out, n, e, err := tr.Append(dst, b)
			if dst, b, ev = out, b[n:], e; err != nil || ev == EventNone {
				t.Fatal(ev, err)
			}
		}
	}
	for name, f := range map[string]func(){
		"rows":       func() { scan(ComQuery, rows) },
		"results":    func() { scan(ComQuery, results) },
		"prepared":   func() { scan(ComStmtPrepare, prepared) },
		"translated": func() { translate(ComQuery, rows); translate(ComQuery, tracked); translate(ComStmtPrepare, prepared) },
		"trackers": func() {
			scan(ComQuery, tracked)
			n := 0
			track := Tracks{Data: r.OK.Track}
			for track.Next() {
				n++
			}
			if n == 0 || track.Err != nil {
				t.Fatal(n, track.Err)
			}
		},
		"OK": func() {
			ok, err := ParseOK(tracked[HeaderLen:], fullCaps)
			if err != nil {
				t.Fatal(err)
			}
			dst = AppendOK(dst[:0], &ok, CapProtocol41)
			dst = AppendEOF(dst, &ok, CapProtocol41)
		},
		"ERR": func() {
			if _, err := ParseERR(failed); err != nil {
				t.Fatal(err)
			}
			var at int
			dst, at = BeginPacket(dst[:0])
			dst = AppendERR(dst, fullCaps, CodeTooManyConnections, "")
			dst, _ = EndPacket(dst, at, 1)
		},
		"command": func() {
			p.Start(0)
			if _, whole, err := p.Scan(command); !whole || err != nil {
				t.Fatal(err)
			}
		},
		"frames": func() {
			if WholeFrames(rows) != len(rows) {
				t.Fatal("not whole")
			}
			for rest, ok := rows, true; ok; {
				_, _, rest, ok = NextFrame(rest)
			}
		},
		"statement id": func() {
			PutStmtID(execute, 7)
			PutPreparedID(prepared[HeaderLen:], 1)
			WantsCursor(execute)
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
