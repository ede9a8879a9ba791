package http1

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestFieldIDIsFoundInAnyCase(t *testing.T) {
	for id := FieldOther + 1; id < fieldIDs; id++ {
		name := fieldTable[id].name
		if name == "" {
			t.Fatalf("FieldID %d has no name", id)
		}
		if id == FieldXForwardedOther {
			name += "port"
		}
		for _, s := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			if got := fieldID([]byte(s)); got != id {
				t.Errorf("%s: %d, want %d", s, got, id)
			}
		}
		for _, s := range []string{name[1:], "x" + name, name + "x", strings.Repeat("x", len(name))} {
			if got := fieldID([]byte(s)); got == id && id != FieldXForwardedOther {
				t.Errorf("%s: taken for %s", s, name)
			}
		}
	}
	for _, s := range []string{"", "x", "h^st", "x-forwarded-", "x-forwarded", "HOS\x54x"} {
		if got := fieldID([]byte(s)); got != FieldOther && got != FieldXForwardedOther {
			t.Errorf("%q: taken for %s", s, fieldTable[got].name)
		}
	}
}

func TestSeenSetHoldsEveryFieldID(t *testing.T) {
	if fieldIDs > 64 {
		t.Fatalf("%d field IDs do not fit into one word", fieldIDs)
	}
}

// The eight-byte step must agree with the plain rule on every byte at every place.
func TestValueCheckAgreesWithTheRuleByteByByte(t *testing.T) {
	plain := func(v []byte) flaw {
		for _, c := range v {
			if c == '\r' {
				return flawBareLF
			}
			if c < ' ' && c != '\t' || c == 0x7f {
				return flawValue
			}
		}
		return flawNone
	}
	for n := range 20 {
		for place := range n {
			for c := range 256 {
				for _, fill := range []byte{'a', ' ', '\t', 0x80, 0xff, 0x7e, 0x20} {
					v := bytes.Repeat([]byte{fill}, n)
					v[place] = byte(c)
					if got, want := checkValue(v), plain(v); got != want {
						t.Fatalf("%q: %d, want %d", v, got, want)
					}
				}
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 100000 {
		v := make([]byte, random.IntN(40))
		for i := range v {
			v[i] = byte(random.Uint32())
		}
		if got, want := checkValue(v), plain(v); got != want {
			t.Fatalf("%q: %d, want %d", v, got, want)
		}
	}
}

func TestReasonsAreEachThereOnce(t *testing.T) {
	got := Reasons()
	if len(got) == 0 {
		t.Fatal("none")
	}
	for i, s := range got {
		if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("%q is no label", s)
		}
		if slices.Contains(got[i+1:], s) {
			t.Errorf("%q is there twice", s)
		}
	}
	for _, r := range rejects {
		if r.Status < 400 || r.Text == "" || strings.HasSuffix(r.Text, ".") {
			t.Errorf("%+v", r)
		}
	}
}
