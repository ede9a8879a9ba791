package wire

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata's .golden files anew")

// follow feeds an exchange's answers to Responses in pieces of step bytes, as a
// session does: what was not taken stays before what comes next. It returns a
// line for each event.
func follow(e *exchange, caps Caps, step int) (trace []string, err error) {
	var r Response
	cmds := e.cmds
	r.Start(cmds[0], 1, caps)
	part, fed := 0, 0
	var buf []byte
	passed := 0
	for {
		n, ev, err := r.Scan(buf)
		if err != nil {
			return trace, err
		}
		if n > len(buf) {
			return trace, fmt.Errorf("took %d of %d bytes", n, len(buf))
		}
		passed += n
		if ev != EventNone {
			trace = append(trace, describeEvent(&r, ev, buf, n))
		}
		buf = buf[n:]
		switch ev {
		case EventInfile, EventAuth:
			if len(buf) > 0 || fed < len(e.parts[part]) {
				return trace, errors.New("bytes follow what the client has to answer")
			}
			r.Sent(e.up[part])
			part, fed = part+1, 0
		case EventEnd:
			trace = append(trace, fmt.Sprintf("  %d bytes", passed))
			passed = 0
			if cmds = cmds[1:]; len(cmds) == 0 {
				if len(buf) > 0 || part < len(e.parts) && (fed < len(e.parts[part]) || part+1 < len(e.parts)) {
					return trace, fmt.Errorf("bytes are left after the end: %x", buf)
				}
				return trace, nil
			}
			r.Start(cmds[0], 1, caps)
			continue
		case EventNone:
			if part == len(e.parts) || fed == len(e.parts[part]) {
				return trace, fmt.Errorf("all was fed and the end was not seen; %d bytes are left", len(buf))
			}
		}
		if part < len(e.parts) {
			k := min(step, len(e.parts[part])-fed)
			buf = append(bytes.Clone(buf), e.parts[part][fed:fed+k]...)
			fed += k
		}
	}
}

func describeEvent(r *Response, ev Event, b []byte, n int) string {
	var s strings.Builder
	s.WriteString("  " + [...]string{"none", "result", "end", "infile", "auth", "prepared"}[ev])
	switch ev {
	case EventInfile:
		fmt.Fprintf(&s, " %s", r.File)
	case EventAuth:
		fmt.Fprintf(&s, " packet %d bytes", n-r.At)
	case EventPrepared:
		fmt.Fprintf(&s, " %+v", r.Prepared)
	default:
		switch r.By {
		case ByERR:
			fmt.Fprintf(&s, " ERR %d %s %s", r.ERR.Code, r.ERR.State, r.ERR.Text)
		case ByOK, ByEOF:
			fmt.Fprintf(&s, " %s status=%04x", [...]string{"", "OK", "EOF"}[r.By], uint16(r.OK.Status))
			if r.OK.Affected+r.OK.InsertID > 0 {
				fmt.Fprintf(&s, " affected=%d insert_id=%d", r.OK.Affected, r.OK.InsertID)
			}
			if r.OK.Warnings > 0 {
				fmt.Fprintf(&s, " warnings=%d", r.OK.Warnings)
			}
			if len(r.OK.Info) > 0 {
				fmt.Fprintf(&s, " info=%q", r.OK.Info)
			}
			tr := Tracks{Data: r.OK.Track}
			for tr.Next() {
				fmt.Fprintf(&s, "\n    track %d %s %q", tr.Kind, tr.Name, tr.Value)
			}
			if tr.Err != nil {
				fmt.Fprintf(&s, "\n    %v", tr.Err)
			}
		}
	}
	if r.By != ByNothing && (r.At < 0 || r.At+HeaderLen > n || n > len(b)) {
		fmt.Fprintf(&s, " but the packet is at %d of %d", r.At, n)
	}
	return s.String()
}

// The golden files were read by a person against the captures.
func TestCapturedAnswersAreFollowedToTheirEnd(t *testing.T) {
	for _, name := range stories {
		t.Run(name, func(t *testing.T) {
			s := readStory(t, name)
			var got strings.Builder
			for _, e := range s.exchanges(t) {
				fmt.Fprintf(&got, "%v %s\n", e.cmds, e.note)
				trace, err := follow(&e, s.caps, 1<<20)
				if err != nil {
					t.Errorf("%s: %v", e.note, err)
				}
				got.WriteString(strings.Join(trace, "\n") + "\n")
			}
			file := filepath.Join(captures, name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnswersInPiecesGetTheSameVerdicts(t *testing.T) {
	for _, name := range stories {
		s := readStory(t, name)
		for _, e := range s.exchanges(t) {
			whole, err := follow(&e, s.caps, 1<<20)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, e.note, err)
			}
			for step := 1; step < 64; step++ {
				pieces, err := follow(&e, s.caps, step)
				if err != nil || !slices.Equal(whole, pieces) {
					t.Fatalf("%s, %s, in pieces of %d: %v, %v", name, e.note, step, err, cmp.Diff(whole, pieces))
				}
			}
		}
	}
}
