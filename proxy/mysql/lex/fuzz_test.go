package lex

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

var seeds = []string{
	"SELECT 1", "SELECT a, 'it''s' FROM `t` WHERE b IN (1, 2.5e3, 0x4a) -- c", `SELECT 'a\'b', "c\"", 'd\\' # e`, "SELECT /*! 1 */ /*M!100100 'a' */ /*+ b */ 2",
	"INSERT INTO t (a) VALUES (-1, NULL), (2, f('x')) ON DUPLICATE KEY UPDATE a = LAST_INSERT_ID(a)", "SET @a := 1, SESSION sql_mode='', @@time_zone=DEFAULT, NAMES utf8",
	"KILL HARD QUERY ID 17 ;", "SELECT get_lock ('a', 1); SELECT @@identity", "SHOW COUNT(*) WARNINGS", "WITH RECURSIVE a (b) AS (SELECT 1) SELECT \"c\".d", "BEGIN; COMMIT", "x'41' N'b' _utf8'c' q'd' $e$ \xa0 \x01 {} :=",
}

// readings are the ways in which a server may take a text apart: does a
// backslash escape, is an executable comment code.
var readings = [4]struct{ escapes, code bool }{{true, true}, {true, false}, {false, true}, {false, false}}

// What a byte stands in.
const (
	inCode = iota
	inLiteral
	inName // in backquotes
	inComment
)

// read is a second reader, as simple as can be: it says for each byte of b what
// it stands in. Quotes count to what they enclose.
func read(b []byte, escapes, code bool) []byte {
	in := make([]byte, len(b))
	mark := func(from, to int, what byte) int {
		to = min(to, len(b))
		for i := from; i < to; i++ {
			in[i] = what
		}
		return to
	}
	until := func(i int, end string) int {
		if n := bytes.Index(b[i:], []byte(end)); n >= 0 {
			return i + n + len(end)
		}
		return len(b)
	}
	for i := 0; i < len(b); {
		rest := string(b[i:min(len(b), i+4)])
		switch {
		case b[i] == '\'' || b[i] == '"' || b[i] == '`':
			j := i + 1
			for j < len(b) && b[j] != b[i] {
				if b[j] == '\\' && escapes && b[i] != '`' {
					j++
				}
				j++
			}
			what := byte(inLiteral)
			if b[i] == '`' {
				what = inName
			}
			i = mark(i, j+1, what) // a doubled quote begins the next part
		case code && (strings.HasPrefix(rest, "/*!") || strings.HasPrefix(rest, "/*+") || strings.EqualFold(rest, "/*M!")):
			i += 3
		case strings.HasPrefix(rest, "/*"):
			i = mark(i, until(i+2, "*/"), inComment)
		case b[i] == '#' || strings.HasPrefix(rest, "--") && (len(rest) == 2 || rest[2] <= ' ' || rest[2] >= 0x7f):
			i = mark(i, until(i, "\n"), inComment)
		default:
			i++
		}
	}
	return in
}

func FuzzScan(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := Scan(b, true)
		if got&Unknown != 0 && got|Kills != everything|Kills {
			t.Errorf("unknown, but only %v", got)
		}
		if s := Scan(b, false); s != everything {
			t.Errorf("not ascii: %v", s)
		}
		// More text is never less harm.
		if s := Scan(append([]byte("LOCK TABLES t READ;"), b...), true); s.Plain() {
			t.Errorf("behind LOCK TABLES: %v", s)
		}
		if s := Scan(append([]byte("SELECT 1;"), b...), true); s&got != got {
			t.Errorf("alone %v, behind SELECT 1: %v", got, s)
		}
		if s := Scan(append(slices.Clone(b), "\n;SELECT f()"...), true); s.Plain() {
			t.Errorf("before f(): %v", s)
		}
		if got&Unknown != 0 {
			return
		}
		sameInEveryReading(t, b, got)
		if k, ok := Kill(b); ok && (got&Kills == 0 || got&Multi != 0) {
			t.Errorf("%v, but %+v", got, k)
		}
		if ConnectionID(b) && got != 0 {
			t.Errorf("SELECT CONNECTION_ID(): %v", got)
		}
		// In capital letters 0x1f is a name.
		if up := bytes.ToUpper(b); !bytes.Contains(up, []byte("0X")) && !bytes.Contains(up, []byte("0B")) && isASCII(b) {
			if s := Scan(up, true); s != got {
				t.Errorf("%v, in capital letters %v", got, s)
			}
		}
	})
}

// sameInEveryReading holds what was read for certain to the readings: all agree
// on what is code, nothing in strings counts, and no lock hides in the code.
func sameInEveryReading(t *testing.T, b []byte, got Traits) {
	t.Helper()
	in := read(b, true, true)
	for _, r := range readings[1:] {
		if !bytes.Equal(in, read(b, r.escapes, r.code)) {
			t.Fatalf("%v, but it has several readings: %q", got, b)
		}
	}
	other, code := slices.Clone(b), slices.Clone(b)
	for i, what := range in {
		if what == inLiteral && isAlpha(b[i]) && single(b, in, i) && b[i-1] != '\\' {
			other[i] = 'z'
		}
		if what != inCode {
			code[i] = ' '
		}
	}
	if s := Scan(other, true); s != got {
		t.Errorf("%v, with other strings %v: %q", got, s, other)
	}
	words := strings.FieldsFunc(strings.ToLower(string(code)), func(r rune) bool { return r >= 0x80 || classes[byte(r)]&inWord == 0 && r != '.' && r != '@' })
	if slices.Contains(words, "get_lock") && got.Plain() {
		t.Errorf("%v, but a lock is taken", got)
	}
	if bytes.Contains(code, []byte(":=")) && got.Pure() {
		t.Errorf("%v, but a variable is set", got)
	}
}

// single says whether the literal around b[i] stands in single quotes.
func single(b, in []byte, i int) bool {
	for i > 0 && in[i-1] == inLiteral && b[i] != '"' {
		i--
	}
	return b[i] == '\'' && !bytes.Contains(b, []byte(`"`))
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isASCII(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c >= 0x80 })
}

// FuzzDigest puts a Z wherever a literal may have a letter or a digit, in any
// reading, and nowhere else: none may be shown.
func FuzzDigest(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), uint16(100))
	}
	f.Fuzz(func(t *testing.T, b []byte, max uint16) {
		b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("z"), []byte("y")), []byte("Z"), []byte("Y"))
		marked := slices.Clone(b)
		for _, r := range readings {
			for i, what := range read(b, r.escapes, r.code) {
				if what == inLiteral && (isAlpha(b[i]) || classes[b[i]] == digit) {
					marked[i] = 'Z'
				}
			}
		}
		got := Digest([]byte("kept "), marked, int(max))
		if !bytes.HasPrefix(got, []byte("kept ")) || len(got) > len("kept ")+int(max) {
			t.Fatalf("%d bytes, want %d: %q", len(got), max, got)
		}
		if bytes.IndexByte(got, 'Z') >= 0 {
			t.Errorf("a literal of %q is shown: %q", marked, got)
		}
		if !utf8.Valid(got) || strings.ContainsFunc(string(got), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("not printable: %q", got)
		}
	})
}

func FuzzKill(f *testing.F) {
	for _, s := range []string{"KILL 5", "kill hard query id 077 ; -- a", "/* a */KILL CONNECTION 18446744073709551615", "KILL (5)", "KILL 5+1", "KILL USER a", "SELECT CONNECTION_ID ( ) ;"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, ok := Kill(b)
		if !ok {
			if k != (KillStatement{}) {
				t.Errorf("refused with %+v", k)
			}
			return
		}
		want := k
		want.ID, want.End = 7, k.At+1
		with := append(append(slices.Clone(b[:k.At]), '7'), b[k.End:]...)
		if got, ok := Kill(with); !ok || got != want {
			t.Errorf("%q: %+v, %v, want %+v", with, got, ok, want)
		}
	})
}
