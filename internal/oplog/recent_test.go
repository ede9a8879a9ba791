package oplog

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRecentGivesWarningsAndNotableLinesAndNothingElse(t *testing.T) {
	level := new(slog.LevelVar)
	l := New(io.Discard, level, false, "mode changed")
	defer l.Close()
	l.Info("listening", "listener", "web")
	l.Info("mode changed", "backend", "api", "for", 1500*time.Millisecond)
	l.With("listener", "web").WithGroup("of").Warn("slow", "n", 3)
	level.Set(slog.LevelError)
	l.Warn("not written, so not kept")
	got := l.Recent(0)
	for i := range got {
		if time.Since(got[i].Time) > time.Minute {
			t.Errorf("%v is not the line's time", got[i].Time)
		}
		got[i].Time = time.Time{}
	}
	if diff := cmp.Diff([]Event{
		{N: 1, Level: "INFO", Message: "mode changed", Attrs: [][2]string{{"backend", "api"}, {"for", "1.5s"}}},
		{N: 2, Level: "WARN", Message: "slow", Attrs: [][2]string{{"listener", "web"}, {"of.n", "3"}}},
	}, got); diff != "" {
		t.Error(diff)
	}
	if got := l.Recent(1); len(got) != 1 || got[0].N != 2 {
		t.Errorf("after the first: %v", got)
	}
	if got := l.Recent(7); len(got) != 0 {
		t.Errorf("after what is still to come: %v", got)
	}
}

func TestRecentIsBoundedInLinesAndInBytes(t *testing.T) {
	l := New(io.Discard, slog.LevelInfo, false)
	defer l.Close()
	var many []any
	for i := range 40 {
		many = append(many, fmt.Sprint("k", i), strings.Repeat("v", 10_000))
	}
	for i := range MaxRecent + 50 {
		l.Warn(fmt.Sprint(i, strings.Repeat("m", 10_000)), many...)
	}
	got := l.Recent(0)
	if len(got) != MaxRecent || got[0].N != 51 || got[MaxRecent-1].N != MaxRecent+50 {
		t.Fatalf("%d events, %d to %d", len(got), got[0].N, got[len(got)-1].N)
	}
	size := 0
	for _, e := range got {
		size += len(e.Message)
		for _, a := range e.Attrs {
			size += len(a[0]) + len(a[1])
		}
	}
	if most := MaxRecent * (maxEventAttrs + 1) * (2*maxEventText + 10); size > most {
		t.Errorf("%d bytes are kept, want at most %d", size, most)
	}
}

func TestRecentHasALineForWhatWasFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(io.Discard, slog.LevelInfo, false)
		for range 1000 {
			l.Warn("dial failed", "fold", "dial", "backend", "api")
		}
		<-time.After(Window)
		synctest.Wait()
		got := l.Recent(0)
		if len(got) != 2 || got[1].Attrs[1] != [2]string{"repeats", "999"} {
			t.Errorf("%v", got)
		}
		l.Close()
	})
}
