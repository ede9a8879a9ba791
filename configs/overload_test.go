package configs

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func withPage(path, more string) string {
	return base + "    overload: {file: " + path + more + "}\n"
}

func TestThePageIsWhatTheFileHeldWhenItWasLoaded(t *testing.T) {
	path := writeFile(t, "<h1>Sorry</h1>")
	before := mustParse(t, withPage(path, ""))
	o := &before.Backends[0].Overload
	if string(o.Body()) != "<h1>Sorry</h1>" || o.Type() != "text/html; charset=utf-8" || o.OK() {
		t.Errorf("%q, %q, ok %v", o.Body(), o.Type(), o.OK())
	}
	if err := os.WriteFile(path, []byte("<h1>Later</h1>"), 0o600); err != nil {
		t.Fatal(err)
	}
	if string(o.Body()) != "<h1>Sorry</h1>" {
		t.Errorf("what was loaded became %q", o.Body())
	}
	after := mustParse(t, withPage(path, ", status: 200, content_type: text/plain"))
	if o := &after.Backends[0].Overload; string(o.Body()) != "<h1>Later</h1>" || o.Type() != "text/plain" || !o.OK() {
		t.Errorf("%q, %q, ok %v", o.Body(), o.Type(), o.OK())
	}
	var got []string
	for _, c := range Diff(before, after) {
		got = append(got, c.String())
	}
	want := "backends[api].overload.content_type: text/html; charset=utf-8 -> text/plain, " +
		"backends[api].overload.status: 503 -> 200, backends[api].overload.file: (a value) -> (another value)"
	if strings.Join(got, ", ") != want {
		t.Errorf("Diff says\n%s, want\n%s", strings.Join(got, ", "), want)
	}
	var b bytes.Buffer
	if err := Effective(after, &b); err != nil {
		t.Fatal(err)
	}
	if d := Diff(after, mustParse(t, b.String())); len(d) > 0 {
		t.Errorf("read again, the effective configuration has %v", d)
	}
}

func TestThePageIsBounded(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("x", maxOverload):   "",
		strings.Repeat("x", maxOverload+1): "has more than 64KiB (65536 bytes)",
		"":                                 "is empty; write the page into it",
	} {
		c, _, err := Parse("weir.yaml", []byte(withPage(writeFile(t, text), "")))
		if want == "" && (err != nil || len(c.Backends[0].Overload.Body()) != len(text)) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d bytes: %v, want %q", len(text), err, want)
		}
	}
	if _, _, err := Parse("weir.yaml", []byte(withPage("none.html", ""))); err == nil || !strings.Contains(err.Error(), "weir.yaml:9:22: backends[0].overload.file: \"none.html\": cannot open the file") {
		t.Errorf("%v", err)
	}
}
