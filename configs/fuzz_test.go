package configs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse holds three promises: no input panics, each error has a place and
// one line, and what was accepted reads the same after Effective has written it,
// or is refused for the secrets that were left out.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal("no files in testdata", err)
	}
	for _, name := range append(files, shipped...) {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(data), separator)
		f.Add([]byte(input))
	}
	f.Add([]byte(routed))
	f.Add([]byte(mysqlFull))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, warns, err := Parse("weir.yaml", data)
		for _, w := range warns {
			checkPlace(t, Error(w), data)
		}
		if err != nil {
			es, ok := errors.AsType[*Errors](err)
			if !ok || c != nil || len(es.List) == 0 {
				t.Fatalf("%T %v beside %v", err, err, c)
			}
			for _, e := range es.List {
				checkPlace(t, e, data)
			}
			return
		}
		var b bytes.Buffer
		if err := Effective(c, &b); err != nil {
			t.Fatal(err)
		}
		again, warnsAgain, err := Parse("effective", b.Bytes())
		if hides(c) {
			es, ok := errors.AsType[*Errors](err)
			if !ok || slices.ContainsFunc(es.List, func(e Error) bool { return !strings.Contains(e.Text, "has no secret; write one of") }) {
				t.Fatalf("%v\nfor left out secrets in:\n%s", err, b.String())
			}
			return
		}
		if err != nil {
			t.Fatalf("%v\nin the effective configuration:\n%s", err, b.String())
		}
		if diff := cmp.Diff(c, again, sameConfig...); diff != "" {
			t.Fatalf("reads differently:\n%s\n%s", diff, b.String())
		}
		if d := Diff(c, again); len(d) > 0 {
			t.Fatalf("Diff sees %v", d)
		}
		// Writing defaults out may add warnings about keys without effect.
		if len(warnsAgain) < len(warns) {
			t.Fatalf("warnings became fewer: %v, then %v", warns, warnsAgain)
		}
		if c.CheckLimits(uint64(c.Descriptors())) != nil {
			t.Fatal("the limit asked for is not enough")
		}
	})
}

// hides says whether a user's secret stands in the file.
func hides(c *Config) bool {
	return slices.ContainsFunc(c.Backends, func(b Backend) bool {
		return slices.ContainsFunc(b.Users, func(u User) bool { return u.Password != "" || u.NativeHash != "" })
	})
}

func checkPlace(t *testing.T, e Error, data []byte) {
	t.Helper()
	lines := bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + bytes.Count(data, []byte("\u0085")) +
		bytes.Count(data, []byte("\u2028")) + bytes.Count(data, []byte("\u2029")) + 1
	if e.Line < 1 || e.Col < 1 || e.Line > lines+1 {
		t.Fatalf("place %d:%d in %d lines: %v", e.Line, e.Col, lines, e)
	}
	if e.Text == "" || strings.ContainsAny(e.Error(), "\n\r\x1b\x00") {
		t.Fatalf("not one line: %q", e.Error())
	}
}
