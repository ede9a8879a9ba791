package overlimit

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"weir/limiter"
	"weir/proxy/fault"
)

func TestEachVerdictHasItsFault(t *testing.T) {
	for v, want := range map[limiter.Verdict]fault.Kind{
		limiter.OverRate: fault.LimitRate, limiter.OverPerRate: fault.LimitPerRate, limiter.OverInFlight: fault.LimitInFlight,
	} {
		if got := Kind(v); got != want {
			t.Errorf("%v: %v, want %v", v, got, want)
		}
	}
}

func TestTheOperatorIsToldSeldomAndWithTheCount(t *testing.T) {
	once, err := limiter.NewLimit(1, time.Hour, 1)
	if err != nil {
		t.Fatal(err)
	}
	g, err := limiter.NewGate(limiter.GateOptions{Rate: once})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	l := Limit{Gate: g, Name: "listeners[web]"}
	start := limiter.Nanos(time.Now())
	for i := range int64(31) { // half a second apart
		now := start + i*int64(500*time.Millisecond)
		var w limiter.Way
		if v, _ := w.Enter(g, now, 0); v != limiter.Pass {
			l.Log(log, "web", v, now)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines in 15 s, want 2:\n%s", n, &out)
	}
	for _, want := range []string{"listener=web", "limit=listeners[web]", "reason=limit_rate", "refused=1\n", "refused=22", "limits.rate"} {
		if !strings.Contains(strings.ReplaceAll(out.String(), " hint", "\n hint"), want) {
			t.Errorf("no %s in\n%s", want, &out)
		}
	}
}

func TestPatienceEndsAtTheThirdRefusal(t *testing.T) {
	var p Patience
	for i, want := range []bool{false, false, true, true} {
		if got := p.Refuse(); got != want {
			t.Errorf("refusal %d: %v", i+1, got)
		}
	}
	p = p.Rested()
	if !p.Refuse() {
		t.Error("a client that has rested gets three more")
	}
}
