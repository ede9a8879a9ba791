package oplog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// page is what was written, line by line, without the time.
type page struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.Write(b)
}

// lines returns what was written since the last call.
func (p *page) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := strings.Split(strings.TrimSuffix(p.buf.String(), "\n"), "\n")
	p.buf.Reset()
	for i, l := range out {
		_, out[i], _ = strings.Cut(l, " ")
	}
	if len(out) == 1 && out[0] == "" {
		return nil
	}
	return out
}

func (p *page) want(t *testing.T, want ...string) {
	t.Helper()
	got := p.lines()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("written:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// wait lets the bubble's time pass and all timers of that time run.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	<-time.After(d)
	synctest.Wait()
}

// keys returns how many windows are open.
func keys(l *Log) int {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	return len(l.f.counts)
}

func TestTheFirstIsWrittenAtOnceAndRepeatsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p page
		l := New(&p, slog.LevelInfo, true)
		defer l.Close()
		for i := range 1204 {
			l.Warn("dial failed", "fold", "dial", "backend", "api", "try", i)
			if i == 0 {
				p.want(t, `level=WARN msg="dial failed" backend=api try=0`)
			}
		}
		wait(t, Window-time.Millisecond)
		p.want(t)
		wait(t, time.Millisecond)
		p.want(t, `level=WARN msg="dial failed" backend=api try=1203 repeats=1203 in=10s`)
	})
}

// One backend's storm must not hide that another has begun to fail.
func TestAFailureOfAnotherBackendIsNewsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p page
		l := New(&p, slog.LevelInfo, true)
		defer l.Close()
		for range 3 {
			for _, backend := range []string{"api", "orders"} {
				l.Warn("dial failed", "fold", "dial", "backend", backend)
				l.Warn("refused", "fold", "dial", "listener", "l1", "backend", backend)
				l.Warn("refused", "fold", "dial", "listener", "l2", "backend", backend)
			}
		}
		p.want(t, `level=WARN msg="dial failed" backend=api`, "level=WARN msg=refused listener=l1 backend=api", "level=WARN msg=refused listener=l2 backend=api",
			`level=WARN msg="dial failed" backend=orders`, "level=WARN msg=refused listener=l1 backend=orders", "level=WARN msg=refused listener=l2 backend=orders")
	})
}

func TestAStormCostsOneLineAWindowAndItsEndIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p page
		l := New(&p, slog.LevelInfo, true)
		defer l.Close()
		for range 30 { // 30 s, an event each
			l.Warn("dial failed", "fold", "dial")
			wait(t, time.Second)
		}
		if got := p.lines(); len(got) != 4 { // the first, and at 10 s, 20 s and 30 s
			t.Errorf("30 s of one failure a second wrote %d lines:\n%s", len(got), strings.Join(got, "\n"))
		}
		wait(t, time.Hour)
		p.want(t)
		// An hour later it is news again.
		l.Warn("dial failed", "fold", "dial")
		p.want(t, `level=WARN msg="dial failed"`)
	})
}

func TestNoRepeatNoSecondLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p page
		l := New(&p, slog.LevelInfo, true)
		defer l.Close()
		for range 3 {
			l.Warn("dial failed", "fold", "dial")
			wait(t, 11*time.Second)
		}
		p.want(t, `level=WARN msg="dial failed"`, `level=WARN msg="dial failed"`, `level=WARN msg="dial failed"`)
	})
}

func TestDifferentEventsAreCountedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p page
		l := New(&p, slog.LevelInfo, true)
		defer l.Close()
		api, files := l.With("backend", "api"), l.With("backend", "files")
		grouped := l.WithGroup("g")
		held := l.With("fold", "held", "backend", "db")
		for range 2 {
			api.Warn("dial failed", "fold", "dial")
			files.Warn("dial failed", "fold", "dial")
			api.Warn("dial failed", "fold", "other kind")
			api.Error("dial failed", "fold", "dial")
			api.Warn("login failed", "fold", "dial")
			grouped.Warn("dial failed", "fold", "dial", "k", "v")
			held.Warn("check failed")
		}
		p.want(t,
			`level=WARN msg="dial failed" backend=api`, `level=WARN msg="dial failed" backend=files`,
			`level=WARN msg="dial failed" backend=api`, `level=ERROR msg="dial failed" backend=api`,
			`level=WARN msg="login failed" backend=api`, `level=WARN msg="dial failed" g.k=v`,
			`level=WARN msg="check failed" backend=db`)
		wait(t, Window)
		got := p.lines()
		if len(got) != 7 {
			t.Fatalf("want a count for each of 7, got:\n%s", strings.Join(got, "\n"))
		}
		for _, s := range got {
			if !strings.Contains(s, "repeats=1 ") {
				t.Errorf("%s: want one repeat", s)
			}
		}
	})
}

func TestUnmarkedEventsAreNeverHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p page
		l := New(&p, slog.LevelInfo, true)
		defer l.Close()
		l.Info("a")
		l.Info("a")
		l.Debug("below the level", "fold", "x")
		p.want(t, "level=INFO msg=a", "level=INFO msg=a")
		wait(t, time.Hour)
		p.want(t)
	})
}

func TestCloseSaysWhatWasCountedAndFoldsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p page
		l := New(&p, slog.LevelInfo, true)
		for range 5 {
			l.Warn("dial failed", "fold", "dial")
		}
		wait(t, 2500*time.Millisecond)
		p.lines()
		l.Close()
		p.want(t, `level=WARN msg="dial failed" repeats=4 in=2.5s`)
		l.Warn("late", "fold", "dial")
		l.Warn("late", "fold", "dial")
		p.want(t, "level=WARN msg=late", "level=WARN msg=late")
		l.Close() // a second Close has nothing to say
		wait(t, time.Hour)
		p.want(t)
	})
}

func TestKeysAreBoundedAndTheRestShareOneCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p page
		l := New(&p, slog.LevelInfo, true)
		defer l.Close()
		for i := range 10 * MaxKeys {
			l.Warn("refused", "fold", fmt.Sprint("client ", i))
		}
		if got := len(p.lines()); got != MaxKeys+1 {
			t.Errorf("%d lines for %d keys, want %d and one for the rest", got, 10*MaxKeys, MaxKeys)
		}
		if n := keys(l); n != MaxKeys+1 {
			t.Errorf("%d keys are held, the bound is %d", n, MaxKeys)
		}
		wait(t, Window)
		p.want(t, fmt.Sprintf("level=WARN msg=refused repeats=%d in=10s mixed=true", 9*MaxKeys-1))
		wait(t, Window)
		if n := keys(l); n != 0 {
			t.Errorf("%d keys are held after two quiet windows", n)
		}
	})
}

func TestWindowsOfDifferentAgesEndOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p page
		l := New(&p, slog.LevelInfo, true)
		defer l.Close()
		for _, k := range []string{"a", "b", "c"} {
			l.Warn(k, "fold", k)
			l.Warn(k, "fold", k)
			wait(t, 3*time.Second)
		}
		p.lines()
		wait(t, time.Second) // 10 s
		p.want(t, "level=WARN msg=a repeats=1 in=10s")
		wait(t, 3*time.Second) // 13 s
		p.want(t, "level=WARN msg=b repeats=1 in=10s")
		wait(t, 3*time.Second) // 16 s
		p.want(t, "level=WARN msg=c repeats=1 in=10s")
	})
}

// stuck is a terminal that takes one line and then stops reading until it is let
// go.
type stuck struct {
	once  sync.Once
	letGo chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	first := false
	s.once.Do(func() { first = true })
	if !first {
		<-s.letGo
	}
	return len(b), nil
}

func TestCountingDoesNotWaitForAStuckTerminalAndCloseDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuck{letGo: make(chan struct{})}
		l := New(w, slog.LevelInfo, true)
		l.Warn("dial failed", "fold", "dial")
		l.Warn("dial failed", "fold", "dial")
		wait(t, Window) // the line about the repeat hangs in Write
		for range 100 {
			l.Warn("dial failed", "fold", "dial")
		}
		l.f.mu.Lock()
		c := l.f.counts[key{fold: "dial", message: "dial failed", level: slog.LevelWarn}]
		if c == nil || c.repeats != 100 {
			t.Errorf("100 events were logged while the terminal was stuck, counted is %+v", c)
		}
		// What is left to say would wait behind the stuck line on slog's own
		// lock, which a bubble cannot tell from work.
		clear(l.f.counts)
		l.f.mu.Unlock()
		closed := make(chan struct{})
		go func() { l.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close returned while a line was being written")
		default:
		}
		close(w.letGo)
		<-closed
	})
}

func TestElsewhereThanOnATerminalLinesAreJSON(t *testing.T) {
	var p bytes.Buffer
	level := new(slog.LevelVar)
	l := New(&p, level, false)
	defer l.Close()
	l.Info("started", "took", 1500*time.Millisecond, "error", errors.New("none"))
	level.Set(slog.LevelError)
	l.Info("not any more")
	var got map[string]any
	if err := json.Unmarshal(p.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["msg"] != "started" || got["took"] != "1.5s" || got["level"] != "INFO" || got["error"] != "none" {
		t.Errorf("got %v", got)
	}
	if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(got["time"])); err != nil {
		t.Errorf("the time in JSON must be whole: %v", err)
	}
}

func TestOnATerminalTheTimeIsTheTimeOfDay(t *testing.T) {
	var p bytes.Buffer
	l := New(&p, slog.LevelInfo, true)
	defer l.Close()
	l.Info("started")
	stamp, _, _ := strings.Cut(strings.TrimPrefix(p.String(), "time="), " ")
	if _, err := time.Parse("15:04:05.000", stamp); err != nil {
		t.Errorf("%q: %v", p.String(), err)
	}
}

func TestAFileIsNoTerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if Terminal(f) {
		t.Error("a plain file was taken for a terminal")
	}
	f.Close()
	if Terminal(f) {
		t.Error("a closed file was taken for a terminal")
	}
}

func TestManyLoggersAtOnceLoseNoEvent(t *testing.T) {
	var p page
	f := newFolder(time.Millisecond, 4) // real time: windows end while events come
	l := &Log{Logger: slog.New(&handler{next: slog.NewTextHandler(&p, nil), f: f}), f: f}
	const workers, each = 8, 2000
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range each {
				l.Info("event", "fold", fmt.Sprint(w))
			}
		})
	}
	wg.Wait()
	l.Close()
	total := 0
	for _, s := range p.lines() {
		_, n, repeated := strings.Cut(s, "repeats=")
		if !repeated {
			total++
			continue
		}
		var k int
		fmt.Sscan(n, &k)
		total += k
	}
	if total != workers*each {
		t.Errorf("%d of %d events are accounted for", total, workers*each)
	}
}

func BenchmarkRepeat(b *testing.B) {
	l := New(io.Discard, slog.LevelInfo, false)
	defer l.Close()
	for b.Loop() {
		l.Warn("dial failed", "fold", "dial", "backend", "api")
	}
}
