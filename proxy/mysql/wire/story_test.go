package wire

import (
	"bufio"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// captures holds what testdata/capture recorded of MariaDB 10.11.19 (Debian
// 10.11.19-MariaDB-0+deb12u1) on 2026-11-22: a greeting, a login, and
// what followed, one story in each file.
const captures = "testdata/mariadb-10.11.19"

// story is one captured connection.
type story struct {
	caps  Caps
	turns []turn
}

// turn is a run of bytes in one direction.
type turn struct {
	note   string // of the exchange it belongs to
	server bool
	b      []byte
}

func readStory(t testing.TB, name string) (s story) {
	t.Helper()
	f, err := os.Open(filepath.Join(captures, name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	note := ""
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		kind, rest, _ := strings.Cut(lines.Text(), " ")
		switch kind {
		case "#":
			note = rest
		case "caps":
			n, err := strconv.ParseUint(rest, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			s.caps = Caps(n)
		case "<", ">":
			b, err := hex.DecodeString(rest)
			if err != nil {
				t.Fatal(err)
			}
			s.turns = append(s.turns, turn{note, kind == "<", b})
		default:
			t.Fatalf("%s: a line starts with %q", name, kind)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

// payload returns the payload of the only frame of turn i.
func (s *story) payload(t testing.TB, i int) []byte {
	t.Helper()
	h, p, rest, ok := NextFrame(s.turns[i].b)
	if !ok || len(rest) > 0 {
		t.Fatalf("turn %d is not one frame: %+v and %d bytes", i, h, len(rest))
	}
	return p
}

// exchange is what the client wrote at once, and the answers to it.
type exchange struct {
	note  string
	cmds  []Command // mostly one
	first []byte    // payload of the first command's first frame
	parts [][]byte  // the answers' bytes; between two parts the client sent frames
	up    []int     // how many, behind each part
}

// exchanges cuts what follows the login into exchanges. Commands that are not
// known are left out: a proxy answers them itself.
func (s *story) exchanges(t testing.TB) (out []exchange) {
	t.Helper()
	for _, tn := range s.turns[3:] { // greeting, login, OK
		if tn.server {
			if e := &out[len(out)-1]; len(tn.b) > 0 {
				e.parts, e.up = append(e.parts, tn.b), append(e.up, 0)
			}
			continue
		}
		h, p, rest, ok := NextFrame(tn.b)
		if !ok {
			t.Fatalf("%s: %x is no frame", tn.note, tn.b)
		}
		if h.Seq != 0 {
			e := &out[len(out)-1]
			e.up[len(e.up)-1]++
			continue
		}
		e := exchange{note: tn.note, cmds: []Command{Command(p[0])}, first: p}
		for len(rest) > 0 {
			_, p, rest, _ = NextFrame(rest)
			e.cmds = append(e.cmds, Command(p[0]))
		}
		out = append(out, e)
	}
	return slices.DeleteFunc(out, func(e exchange) bool { return !e.cmds[0].Known() })
}

// stories are the captures that hold commands.
var stories = []string{
	"query-full", "query-plain", "query-track", "query-noeof",
	"statement-full", "statement-plain", "statement-track", "statement-noeof",
	"command-full", "command-plain", "command-track", "command-noeof",
	"binlog-full", "binlog-plain", "trackers",
}
