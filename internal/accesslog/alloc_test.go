//go:build !race

package accesslog

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"
)

// The race detector allocates on its own, so this holds without it.
func TestALineAllocatesNothing(t *testing.T) {
	l := New(slog.New(slog.DiscardHandler))
	defer l.Close(t.Context())
	l.Use(discard{})
	listener, backend := "a-listener-with-a-long-name-that-is-still-allowed", "a-backend-with-a-long-name-that-is-still-allowed"
	client, path := []byte("2001:db8::1"), []byte("/caf\xc3\xa9/\xf0\x9f\x98\x80/\xff\"")
	at := time.Now()
	var line Line
	n := testing.AllocsPerRun(20_000, func() {
		line.Start(listener, client, []byte("GET"), []byte("shop.test"), path)
		l.Write(line.Finish(End{At: at, Took: time.Millisecond, Status: 200, Bytes: 12345, Backend: backend, Outcome: "2xx"}))
	})
	if n != 0 {
		t.Errorf("%v allocations for a line", n)
	}
}

func TestASlowLineAllocatesNothing(t *testing.T) {
	s := Slow{
		At: time.Now(), Took: time.Second, Listener: "db", Client: netip.MustParseAddr("2001:db8::1"), User: "app", Database: "caf\xc3\xa9",
		Backend: "orders", Command: "COM_QUERY", Digest: []byte("SELECT ?"), Hash: 1,
	}
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(20_000, func() { buf = s.Append(buf[:0]) }); n != 0 {
		t.Errorf("%v allocations for a line", n)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

func BenchmarkLine(b *testing.B) {
	l := New(slog.New(slog.DiscardHandler))
	defer l.Close(b.Context())
	l.Use(discard{})
	at := time.Now()
	client, method, host, path := []byte("192.0.2.7"), []byte("GET"), []byte("shop.test"), []byte("/static/a-picture.png")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var line Line
		for pb.Next() {
			line.Start("web", client, method, host, path)
			l.Write(line.Finish(End{At: at, Took: time.Millisecond, Status: 200, Bytes: 12345, Backend: "api", Reused: true, Outcome: "2xx"}))
		}
	})
}
