package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// errorsOf parses text and returns its errors, failing if there are none.
func errorsOf(t testing.TB, text string) *Errors {
	t.Helper()
	c, warns, err := Parse("weir.yaml", []byte(text))
	es, ok := errors.AsType[*Errors](err)
	if !ok {
		t.Fatalf("%T %v is not an *Errors, for %.80q", err, err, text)
	}
	if c != nil || warns != nil {
		t.Errorf("a configuration came with errors, for %.80q", text)
	}
	return es
}

func TestLoadErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe") // nobody writes to it: an open would wait for ever
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "cannot open the file: no such file or directory",
		dir:                             "is a directory; weir reads a regular file, or a link to one, as each reload reads it again",
		pipe:                            "is a pipe; weir reads a regular file, or a link to one, as each reload reads it again",
	} {
		_, _, err := Load(path)
		es, ok := errors.AsType[*Errors](err)
		if !ok || es.Error() != path+": "+want {
			t.Errorf("got %v, want %s: %s", err, path, want)
		}
	}
}

func TestLoadReadsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, []byte(base+"log: {level: debug}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := Load(path)
	if err != nil || c.Log.Level != "debug" || c.Backends[0].Name != "api" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestBytesThatAreNotTextAreErrorsWithTheirPlace(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"listeners:\n  - \xff\n", "weir.yaml:2:5: byte 0xff is not UTF-8; save the file as UTF-8"},
		{"\xff\xfea\x00", "weir.yaml:1:1: byte 0xff is not UTF-8; save the file as UTF-8"},
		{"a: \u00fc\x00", "weir.yaml:1:5: control character 0x00 is not allowed"},
		{"a: 1\r\nb: \x1b[2J", "weir.yaml:2:4: control character 0x1b is not allowed"},
		{"a: \u0085\u009b", "weir.yaml:1:5: control character 0x9b is not allowed"},
		{strings.Repeat("#", maxFile+1), "weir.yaml:1:1: the file is larger than 1MiB (1048576 bytes), the most weir reads"},
	} {
		if got := errorsOf(t, tc.text).Error(); got != tc.want {
			t.Errorf("got %s\nwant %s", got, tc.want)
		}
	}
}

func TestByteOrderMarkAndWindowsLineEndsAreTaken(t *testing.T) {
	c := mustParse(t, "\ufeff"+strings.ReplaceAll(base, "\n", "\r\n"))
	if c.Listeners[0].Backend != "api" {
		t.Errorf("backend is %q", c.Listeners[0].Backend)
	}
}

func TestKeysCannotBreakTheLineOfTheirMessage(t *testing.T) {
	for _, text := range []string{
		"\"a\\nweir.yaml:1:1: forged\": 1\n",
		"\"\\e[2J\": 1\n",
		base + "  - {name: x, endpoints: [a:1], \"\\u009b2J\": 1}\n",
		strings.Replace(base, "backend: api", "routes: [{backend: api, set_header: {\"a\\nb\": x}}]", 1),
		strings.Replace(base, "backend: api", "backend: api\n    allow: \"a\\nb\"", 1),
		"? !a%0Ab x\n: 1\n",
	} {
		es := errorsOf(t, text)
		if strings.Count(es.Error(), "\n") != len(es.List)-1 || hasControl(strings.ReplaceAll(es.Error(), "\n", "")) {
			t.Errorf("%q gives\n%q", text, es.Error())
		}
	}
}

func TestErrorsAreSortedByPlace(t *testing.T) {
	es := errorsOf(t, strings.Replace(base, "backend: api", "backend: none\n    zebra: 1\n    max_uri: 64KiB", 1))
	if len(es.List) != 3 || !slices.IsSortedFunc(es.List, before) {
		t.Errorf("got\n%s", es.Error())
	}
}

func TestErrorsBeyondTheHundredthAreCounted(t *testing.T) {
	var b strings.Builder
	for i := range 250 {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	es := errorsOf(t, base+b.String())
	if len(es.List) != 100 || es.More != 150 || !strings.HasSuffix(es.Error(), "\nweir.yaml: and 150 more errors") {
		t.Errorf("kept %d, counted %d: %s", len(es.List), es.More, es.Error())
	}
}

func TestSuggestionsNeedAFewEditsOnly(t *testing.T) {
	for _, tc := range []struct {
		word string
		want string
	}{
		{"max_idel", "min_idle"}, {"maxopen", "max_open"}, {"max-open", "max_open"}, {"MAX_OPEN", "max_open"},
		{"idle", ""}, {"x", ""}, {"", ""}, {strings.Repeat("max_open", 10), ""}, {"reservd", "reserved"},
	} {
		if got := suggest(tc.word, []string{"max_open", "reserved", "min_idle", "idle_timeout", "max_lifetime"}); got != tc.want {
			t.Errorf("suggest(%q) = %q, want %q", tc.word, got, tc.want)
		}
	}
}

func TestDescriptorsAreTheSumOfTheBounds(t *testing.T) {
	c := mustParse(t, base)
	if n := c.Descriptors(); n != 10000+1250+2*64+64+2+8+320 {
		t.Errorf("base needs %d", n)
	}
	c = mustParse(t, strings.Replace(base, "127.0.0.1:8080", "[127.0.0.1:8080, unix:/run/a]\n    max_clients: 5", 1)+
		"    pool: {max_open: 7, reserved: 0}\n  - {name: two, endpoints: [10.0.0.1:80], pool: {max_open: 9, reserved: 1}}\n")
	if n := c.Descriptors(); n != 5+2*(0+2*64)+7+10+2*8+320 {
		t.Errorf("two backends need %d", n)
	}
	if err := c.CheckLimits(uint64(c.Descriptors())); err != nil {
		t.Errorf("the exact limit is refused: %v", err)
	}
	err := c.CheckLimits(uint64(c.Descriptors() - 1))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf(", the limit of this process is %d; raise it (ulimit -n %d", c.Descriptors()-1, c.Descriptors())) {
		t.Errorf("one below: %v", err)
	}
}
