package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// slowRecord is a line of the slow-query log as its readers see it.
type slowRecord struct {
	Time     string  `json:"time"`
	Listener string  `json:"listener"`
	Client   string  `json:"client"`
	User     string  `json:"user"`
	Database string  `json:"database"`
	Backend  string  `json:"backend"`
	Command  string  `json:"command"`
	Duration float64 `json:"duration"`
	Code     int     `json:"code"`
	Digest   string  `json:"digest"`
	Hash     string  `json:"hash"`
}

// parseSlow is parse for such a line.
func parseSlow(t *testing.T, line []byte) (r slowRecord) {
	t.Helper()
	parseInto(t, line, &r)
	return r
}

func TestASlowLineHasWhatItWasGiven(t *testing.T) {
	s := Slow{
		At: time.Date(2026, 11, 22, 9, 41, 7, 204_113_900, time.FixedZone("", 3600)), Took: 61*time.Second + 5*time.Microsecond,
		Listener: "db", Client: netip.MustParseAddr("192.0.2.7"), User: "app", Database: "shop", Backend: "orders",
		Command: "COM_QUERY", Code: 1205, Digest: []byte("SELECT a FROM t WHERE b = ?"), Hash: 0x0123456789abcdef,
	}
	const want = `{"time":"2026-11-22T08:41:07.204113Z","listener":"db","client":"192.0.2.7","user":"app","database":"shop","backend":"orders",` +
		`"command":"COM_QUERY","duration":61.000005,"code":1205,"digest":"SELECT a FROM t WHERE b = ?","hash":"0123456789abcdef"}` + "\n"
	if got := string(s.Append([]byte("before"))); got != "before"+want {
		t.Errorf("got  %swant %s", got, want)
	}
	parseSlow(t, s.Append(nil))
	// A client of a unix socket, and a command of which there is no digest.
	bare := parseSlow(t, (&Slow{Listener: "db", Command: "COM_STMT_EXECUTE", Hash: 7}).Append(nil))
	if bare.Client != "" || bare.Digest != "" || bare.Hash != "" || bare.Code != 0 || bare.Duration != 0 {
		t.Errorf("a line of little says %+v", bare)
	}
}

// checkSlowTexts writes a line with these texts and wants them back.
func checkSlowTexts(t *testing.T, user, database, digest []byte) {
	t.Helper()
	s := Slow{At: time.Unix(1e9, 0), Took: time.Second, Listener: "db", Backend: "orders", Command: "COM_QUERY", Code: 7,
		User: string(user), Database: string(database), Digest: digest, Hash: 1<<64 - 1}
	line := s.Append(nil)
	if len(line) > half/4 {
		t.Errorf("a line of %d bytes; the buffer has %d", len(line), half)
	}
	r := parseSlow(t, line)
	hash := "ffffffffffffffff"
	if len(digest) == 0 {
		hash = ""
	}
	if r.Time != "2001-09-09T01:46:40.000000Z" || r.Listener != "db" || r.Command != "COM_QUERY" || r.Code != 7 || r.Hash != hash {
		t.Errorf("texts have changed other members: %q", line)
	}
	for _, m := range []struct {
		name, got string
		sent      []byte
		most      int
	}{{"user", r.User, user, maxUser}, {"database", r.Database, database, maxSchema}, {"digest", r.Digest, digest, maxDigest}} {
		sent, dots := m.sent, ""
		if len(sent) > m.most {
			sent, dots = sent[:m.most], "..."
		}
		var want string
		marshalled, err := json.Marshal(string(sent))
		if err == nil {
			err = json.Unmarshal(marshalled, &want)
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.got != want+dots {
			t.Errorf("%s: %q was written as %q", m.name, m.sent, m.got)
		}
	}
}

func TestNoTextOfAStatementForgesASlowLineOrAMember(t *testing.T) {
	for _, s := range []string{
		"", "\n{\"time\":\"\"}", "\",\"code\":0,\"x\":\"", "\\", "a\\u0022b", "\x00\x1f\x7f", "\xff\xfe", "\xed\xa0\x80", "\u202e", "\U0001f600",
		strings.Repeat("\x01", 2*maxDigest),
	} {
		checkSlowTexts(t, []byte(s), []byte(s), []byte(s))
	}
}

// FuzzSlow: whatever a client calls itself, a line is one line of JSON that says
// just that.
func FuzzSlow(f *testing.F) {
	f.Add([]byte("app"), []byte("shop"), []byte("SELECT ?"))
	f.Add([]byte("\n"), []byte("\",\"user\":\"b"), []byte("\xf0\x9f\x98"))
	f.Fuzz(checkSlowTexts)
}

func TestALogSaysByWhichNameItIsKnown(t *testing.T) {
	var out bytes.Buffer
	l := NewNamed("slow-query log", slog.New(slog.NewTextHandler(&out, nil)))
	if l.On() || (*Log)(nil).On() {
		t.Error("on without a place")
	}
	l.Use(full{})
	if !l.On() {
		t.Error("off with a place")
	}
	l.Write((&Slow{}).Append(nil))
	l.Close(t.Context())
	if l.On() {
		t.Error("on after its end")
	}
	if text := out.String(); !strings.Contains(text, "slow-query log cannot be written") || strings.Contains(text, "access log") {
		t.Errorf("the log was told %q", text)
	}
}

// full is a place without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.ErrUnsupported }
func (full) Close() error              { return nil }
