package wire

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// translate runs an exchange's answers through Translate in pieces, and returns
// what the client gets, cut where it had to send something itself.
func translate(e *exchange, backend, client Caps, status Status, step int) (parts [][]byte, after Status, err error) {
	var tr Translate
	cmds := e.cmds
	tr.Start(cmds[0], 1, backend, client, status)
	part, fed := 0, 0
	var buf, out []byte
	for {
		var n int
		var ev Event
		out, n, ev, err = tr.Append(out, buf)
		if err != nil {
			return nil, 0, err
		}
		buf = buf[n:]
		if tr.By == ByOK || tr.By == ByEOF {
			status = tr.OK.Status.Session()
		}
		switch ev {
		case EventInfile, EventAuth:
			tr.Sent(e.up[part])
			parts, out = append(parts, out), nil
			part, fed = part+1, 0
		case EventEnd:
			if cmds = cmds[1:]; len(cmds) == 0 {
				return append(parts, out), status, nil
			}
			tr.Start(cmds[0], 1, backend, client, status)
			continue
		case EventNone:
			if part == len(e.parts) || fed == len(e.parts[part]) {
				return nil, 0, fmt.Errorf("all was fed and the end was not seen; %d bytes are left", len(buf))
			}
		}
		if part < len(e.parts) {
			k := min(step, len(e.parts[part])-fed)
			buf = append(bytes.Clone(buf), e.parts[part][fed:fed+k]...)
			fed += k
		}
	}
}

// blanked blanks what two captures of one story differ in: statement ids,
// and the status in an EOF (of which there is one that the backend never sent).
func blanked(t *testing.T, parts [][]byte) (out []string) {
	t.Helper()
	for _, b := range parts {
		for len(b) > 0 {
			h, p, rest, ok := NextFrame(b)
			if !ok {
				t.Fatalf("no whole frame: %x", b)
			}
			b, p = rest, bytes.Clone(p)
			switch {
			case h.Len == eofLen && p[0] == byteEOF:
				clear(p[1:])
			case h.Len == 12 && p[0] == byteOK:
				PutPreparedID(p, 0)
			case IsERR(p):
				p = bytes.Map(func(r rune) rune {
					if '0' <= r && r <= '9' {
						return -1
					}
					return r
				}, p[3:])
			}
			out = append(out, fmt.Sprintf("%d %x", h.Seq, p))
		}
	}
	return out
}

// What Translate makes of an answer is what the server itself sends to a client
// with those capabilities.
func TestTranslatedAnswersAreThoseOfTheServer(t *testing.T) {
	for _, pair := range [][2]string{
		{"full", "plain"}, {"full", "track"}, {"full", "noeof"}, {"full", "full"},
		{"track", "plain"}, {"noeof", "plain"},
		{"plain", "noeof"}, {"track", "full"}, {"track", "noeof"},
	} {
		for _, kind := range []string{"query-", "statement-", "command-"} {
			t.Run(kind+pair[0]+" to "+pair[1], func(t *testing.T) {
				from, to := readStory(t, kind+pair[0]), readStory(t, kind+pair[1])
				status := StatusAutocommit
				theirs := to.exchanges(t)
				for i, e := range from.exchanges(t) {
					switch e.cmds[0] {
					case ComStatistics, ComProcessInfo, ComChangeUser:
						continue // never the same twice
					}
					for _, step := range []int{1 << 20, 1, 7} {
						parts, after, err := translate(&e, from.caps, to.caps, status, step)
						if err != nil {
							t.Fatalf("%s: %v", e.note, err)
						}
						if diff := cmp.Diff(blanked(t, theirs[i].parts), blanked(t, parts)); diff != "" {
							t.Errorf("%s, in pieces of %d: %s", e.note, step, diff)
						}
						if step == 7 {
							status = after
						}
						sameEnd(t, &theirs[i], parts, to.caps)
					}
				}
			})
		}
	}
}

// sameEnd compares what a client reads out of two answers, statuses with it.
func sameEnd(t *testing.T, theirs *exchange, parts [][]byte, caps Caps) {
	t.Helper()
	if theirs.cmds[0] == ComStmtPrepare || len(theirs.parts) == 0 {
		return // it has a statement's id in it
	}
	want, err := follow(theirs, caps, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	ours := *theirs
	ours.parts = parts
	got, err := follow(&ours, caps, 1<<20)
	if err != nil {
		t.Fatal(theirs.note, err)
	}
	if len(want) > 0 && want[0] != got[0] && bytes.Contains([]byte(want[0]), []byte("ERR")) {
		return // the statement's id is in the text
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", theirs.note, diff)
	}
}

// A client numbers the packets of a file behind what it has got, which may be
// more frames than the backend sent.
func TestTheFileOfATranslatedAnswerIsNumberedBack(t *testing.T) {
	full, plain := readStory(t, "query-full"), readStory(t, "query-plain")
	const note = "LOAD DATA LOCAL INFILE, second statement"
	first := func(s story) uint8 { // number of the file's first packet
		for _, tn := range s.turns {
			if h, _ := ParseHeader(tn.b); tn.note == note && !tn.server && h.Seq > 0 {
				return h.Seq
			}
		}
		t.Fatal("no file goes up")
		return 0
	}
	for _, e := range full.exchanges(t) {
		if e.note != note {
			continue
		}
		var tr Translate
		tr.Start(ComQuery, 1, full.caps, plain.caps, StatusAutocommit)
		b := e.parts[0]
		for ev := EventNone; ev != EventInfile; {
			_, n, next, err := tr.Append(nil, b)
			if b, ev = b[n:], next; err != nil || ev == EventNone {
				t.Fatal(ev, err)
			}
		}
		if got := first(plain) - tr.Shift(); got != tr.Seq() || got != first(full) {
			t.Errorf("the client's %d becomes %d; the backend waits for %d, and got %d", first(plain), got, tr.Seq(), first(full))
		}
	}
}
