package accesslog

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// record is a line as its readers see it.
type record struct {
	Time     string  `json:"time"`
	Listener string  `json:"listener"`
	Client   string  `json:"client"`
	Method   string  `json:"method"`
	Host     string  `json:"host"`
	Path     string  `json:"path"`
	Status   int     `json:"status"`
	Bytes    int64   `json:"bytes"`
	Duration float64 `json:"duration"`
	Backend  string  `json:"backend"`
	Reused   bool    `json:"reused"`
	Retries  int     `json:"retries"`
	Outcome  string  `json:"outcome"`
}

// parse reads a line strictly: one line, one value, no member twice or unknown.
func parse(t *testing.T, line []byte) (r record) {
	t.Helper()
	parseInto(t, line, &r)
	return r
}

func parseInto(t *testing.T, line []byte, r any) {
	t.Helper()
	if n := bytes.Count(line, lineFeed); n != 1 || line[len(line)-1] != '\n' {
		t.Fatalf("%d line feeds in %q", n, line)
	}
	for _, c := range line[:len(line)-1] {
		if c < ' ' || c > '~' {
			t.Fatalf("byte 0x%02x in %q", c, line)
		}
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(r); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	if rest, err := dec.Token(); err == nil {
		t.Fatalf("%v behind the value in %q", rest, line)
	}
	// The names may stand in values too, escaped there: these are the members'.
	dec = json.NewDecoder(bytes.NewReader(line))
	seen := map[any]bool{}
	for i := 0; ; i++ {
		tok, err := dec.Token()
		if err != nil {
			break
		}
		if i%2 == 1 && seen[tok] {
			t.Fatalf("the member %v is there twice in %q", tok, line)
		}
		if i%2 == 1 {
			seen[tok] = true
		}
	}
}

func TestALineHasWhatItWasGiven(t *testing.T) {
	var l Line
	at := time.Date(2026, 11, 22, 9, 41, 7, 204_113_900, time.FixedZone("", 3600))
	l.Start("web", []byte("192.0.2.7"), []byte("GET"), []byte("shop.test:8080"), []byte("/a/b"))
	got := l.Finish(End{At: at, Took: 61*time.Second + 5*time.Microsecond, Status: 200, Bytes: 5 << 30,
		Backend: "api", Reused: true, Retries: 1, Outcome: "2xx"})
	const want = `{"time":"2026-11-22T08:41:07.204113Z","listener":"web","client":"192.0.2.7","method":"GET","host":"shop.test:8080","path":"/a/b",` +
		`"status":200,"bytes":5368709120,"duration":61.000005,"backend":"api","reused":true,"retries":1,"outcome":"2xx"}` + "\n"
	if string(got) != want {
		t.Errorf("got  %swant %s", got, want)
	}
	parse(t, got)
	l.Start("web", nil, nil, nil, nil)
	r := parse(t, l.Finish(End{At: at, Took: -time.Second, Outcome: "header_timeout"}))
	if r.Path != "" || r.Host != "" || r.Client != "" || r.Duration != 0 || r.Status != 0 || r.Backend != "" || r.Reused {
		t.Errorf("a line without a request says %+v", r)
	}
}

func TestTimesAreOfOneFormAndLength(t *testing.T) {
	for _, at := range []time.Time{
		time.Unix(0, 0), time.Unix(1, 999_999_999), time.Unix(1e9, 1000), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		got := string(appendTime(nil, at))
		back, err := time.Parse(time.RFC3339Nano, got)
		if err != nil || len(got) != len(noTime) || !back.Equal(at.Truncate(time.Microsecond)) {
			t.Errorf("%v became %s (%v)", at, got, err)
		}
	}
	// A clock that is far off costs the time and not the line.
	var l Line
	l.Start("web", nil, nil, nil, nil)
	if r := parse(t, l.Finish(End{At: time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)})); r.Listener != "web" {
		t.Errorf("got %+v", r)
	}
}

func TestNoTextOfAClientForgesALineOrAMember(t *testing.T) {
	for _, s := range []string{
		"/\n{\"time\":\"\"}", "\",\"status\":200,\"x\":\"", "\\", "\\\"", "a\\u0022b", "\x00\x01\x1f\x7f", "\r\n", "\xff\xfe", "\xc3", "\xe2\x28\xa1",
		"\xed\xa0\x80", "\xf4\x90\x80\x80", "\u2028\u2029", "\x1b[2J", "\u009b31m", "\u202e", "\U0001f600", "\U0010ffff", "/%00%0a", "</script>",
	} {
		checkTexts(t, []byte(s), []byte(s), []byte(s), []byte(s))
	}
}

// checkTexts writes a line with these texts and wants back what encoding/json
// makes of them.
func checkTexts(t *testing.T, client, method, host, path []byte) {
	t.Helper()
	var l Line
	l.Start("web", client, method, host, path)
	line := l.Finish(End{At: time.Unix(1e9, 0), Status: 404, Outcome: "no_route"})
	if len(line) > half/4 {
		t.Errorf("a line of %d bytes; the buffer has %d", len(line), half)
	}
	r := parse(t, line)
	if r.Time != "2001-09-09T01:46:40.000000Z" || r.Listener != "web" || r.Status != 404 || r.Outcome != "no_route" {
		t.Errorf("texts have changed other members: %q", line)
	}
	for _, m := range []struct {
		name, got string
		sent      []byte
		most      int
	}{
		{"client", r.Client, client, maxHost}, {"method", r.Method, method, maxMethod},
		{"host", r.Host, host, maxHost}, {"path", r.Path, path, maxPath},
	} {
		sent, dots := m.sent, ""
		if len(sent) > m.most {
			sent, dots = sent[:m.most], "..."
		}
		marshalled, err := json.Marshal(string(sent))
		if err != nil {
			t.Fatal(err)
		}
		var want string
		if err := json.Unmarshal(marshalled, &want); err != nil {
			t.Fatal(err)
		}
		if m.got != want+dots {
			t.Errorf("%s: %q was written as %q", m.name, m.sent, m.got)
		}
	}
}

func TestLongTextsAreCutAndSaySo(t *testing.T) {
	for _, n := range []int{maxPath - 1, maxPath, maxPath + 1, 1 << 20} {
		long := []byte("/" + strings.Repeat("\xf0\x9f\x98\x80", n/4+1))[:n]
		checkTexts(t, long, long, long, long)
	}
	var l Line
	l.Start("web", nil, nil, nil, bytes.Repeat([]byte{1}, maxPath))
	l.Finish(End{})
	if l.Shrink(); cap(l.b) > keepLine {
		t.Errorf("a Line keeps %d bytes", cap(l.b))
	}
}

// FuzzLine: whatever a client sends, a line is one line of JSON that says just
// that.
func FuzzLine(f *testing.F) {
	f.Add([]byte("127.0.0.1"), []byte("GET"), []byte("a"), []byte("/x"))
	f.Add([]byte("::1"), []byte("\n"), []byte("\",\"host\":\"b"), []byte("\xf0\x9f\x98"))
	f.Fuzz(checkTexts)
}
