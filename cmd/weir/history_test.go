package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"weir/internal/hist"
	"weir/internal/oplog"
)

// tallyOf is a tally of one listener and one backend.
func tallyOf(ok, errors, full, dials uint64, times *hist.Hist) tally {
	f := flow{times: times.Snapshot(), clients: 7}
	f.count(map[string]map[string]uint64{"api": {"2xx": ok, "backend_reset": errors}, "": {"no_route": 0}}, full)
	return tally{
		listeners: map[string]flow{"web": f}, dials: map[string]uint64{"api": dials},
		backends: map[string]backendSample{"api": {MaxOpen: 9, Open: 3, Leased: 2, Waiting: 1, Mode: "paced"}},
	}
}

func TestASampleHasWhatCameSinceTheOneBefore(t *testing.T) {
	var h history
	var times hist.Hist
	at := time.Unix(1_700_000_000, 0)
	for range 100 {
		times.Observe(time.Second) // before: it must not be seen again
	}
	h.add(at, tallyOf(100, 0, 0, 40, &times))
	if got := h.after(0); len(got) != 0 {
		t.Fatalf("the first look made a sample: %v", got)
	}
	for range 50 {
		times.Observe(10 * time.Millisecond)
	}
	h.add(at.Add(5*time.Second), tallyOf(140, 10, 5, 50, &times))
	s := h.after(0)[0]
	want := listenerSample{Requests: 10, Errors: 2, Shed: 1, Clients: 7}
	for name, got := range map[string]listenerSample{"web": s.Listeners["web"], "all": s.Total} {
		for q, p := range map[string]float64{"p50": got.P50, "p99": got.P99} {
			if math.Abs(p-0.01) > 0.0025 {
				t.Errorf("%s: %s is %v s, all took 0.01", name, q, p)
			}
		}
		if got.P50, got.P99 = 0, 0; got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if got, want := s.Backends["api"], (backendSample{MaxOpen: 9, Open: 3, Leased: 2, Waiting: 1, Dials: 2, Mode: "paced"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if s.N != 1 || s.Time != at.Add(5*time.Second).UnixMilli() {
		t.Errorf("number %d at %d", s.N, s.Time)
	}

	// Taken away and back, it counts from zero: no rate is below it, or wild.
	h.add(at.Add(10*time.Second), tallyOf(5, 0, 0, 1, new(hist.Hist)))
	s = h.after(1)[0]
	if got := s.Listeners["web"]; got.Requests != 1 || got.Errors != 0 || got.Shed != 0 || got.P99 != 0 || s.Backends["api"].Dials != 0.2 {
		t.Errorf("after a new beginning: %+v, %v dials", got, s.Backends["api"].Dials)
	}
}

// A listener that was taken away and came back may have served more than before
// when it is looked at again, but not as fast or as slow.
func TestANewBeginningIsSeenWhereTotalsHaveGrown(t *testing.T) {
	var h history
	var before, after hist.Hist
	at := time.Unix(1_700_000_000, 0)
	for range 100 {
		before.Observe(time.Second)
	}
	for range 150 {
		after.Observe(10 * time.Millisecond)
	}
	h.add(at, tallyOf(100, 0, 0, 0, &before))
	h.add(at.Add(5*time.Second), tallyOf(150, 0, 0, 0, &after))
	if got := h.after(0)[0].Listeners["web"]; got.Requests != 30 || math.Abs(got.P99-0.01) > 0.0025 || math.Abs(got.P50-0.01) > 0.0025 {
		t.Errorf("%+v, want the 150 requests since, of 0.01 s each", got)
	}
}

func TestHistoryIsBoundedAndGivesEachSampleOnce(t *testing.T) {
	var h history
	var times hist.Hist
	at := time.Unix(1_700_000_000, 0)
	var cursor, seen uint64
	for i := range 2*historyLen + 1 {
		h.add(at.Add(time.Duration(i)*historyTick), tallyOf(uint64(i), 0, 0, 0, &times))
		if i%7 == 0 {
			for _, s := range h.after(cursor) {
				if seen++; s.N != seen {
					t.Fatalf("sample %d came where %d was due", s.N, seen)
				}
				cursor = s.N
			}
		}
	}
	all := h.after(0)
	if len(all) != historyLen || all[0].N != uint64(historyLen)+1 || all[historyLen-1].N != uint64(2*historyLen) {
		t.Errorf("%d samples, %d to %d", len(all), all[0].N, all[len(all)-1].N)
	}
	for _, n := range []uint64{uint64(2 * historyLen), 1 << 40} {
		if got := h.after(n); len(got) != 0 {
			t.Errorf("after %d: %d samples", n, len(got))
		}
	}
}

func TestEveryOutcomeHasAClass(t *testing.T) {
	for outcome, class := range map[string]string{
		"2xx": classOK, "5xx": classError, "error": classError, "4xx": classClient, "bad_request": classClient,
		"queue_full": classShed, "queue_timeout": classShed, "max_clients": classShed, "breaker_open": classShed,
		"dial_refused": classError, "backend_reset": classError, "internal": classError,
	} {
		if got := outcomeClass[outcome]; got != class {
			t.Errorf("%s is %q, want %q", outcome, got, class)
		}
	}
	for _, protocol := range usual {
		for _, outcome := range protocol {
			if outcomeClass[outcome] == "" {
				t.Errorf("%s has no class", outcome)
			}
		}
	}
}

// What a page needs comes with the past, and what is added comes once.
func TestFramesBringEachSampleAndEventOnce(t *testing.T) {
	g := newTestGraph(t)
	mustApply(t, g, twoProtocols(freeAddr(t), ""))
	log := oplog.New(io.Discard, slog.LevelInfo, false, notable...)
	defer log.Close()
	d := &daemon{graph: g, log: log, started: time.Now()}
	live := d.live()
	step := func(n int) {
		d.history.add(d.started.Add(time.Duration(n)*historyTick), g.tally())
		log.Info("mode changed", "backend", "api", "n", n)
	}
	step(0)
	step(1)
	past := live.Past().(frame)
	if len(past.Samples) != 1 || len(past.Events) != 2 || past.Outcomes["queue_full"] != classShed || len(past.Status.Backends) != 2 {
		t.Errorf("the past: %d samples, %d events, %d outcomes, %d backends", len(past.Samples), len(past.Events), len(past.Outcomes), len(past.Status.Backends))
	}
	for i := range 3 {
		if i > 0 {
			step(i + 1)
		}
		now := live.Now().(frame)
		samples, events := 1, 1
		if i == 0 { // the first frame brings what there is
			events = 2
		}
		if len(now.Samples) != samples || len(now.Events) != events || now.Outcomes != nil {
			t.Errorf("frame %d: %d samples, %d events, %d outcomes", i, len(now.Samples), len(now.Events), len(now.Outcomes))
		}
	}
	b, err := json.Marshal(live.Now())
	if err != nil || !strings.Contains(string(b), `"samples":[],"events":[]`) {
		t.Errorf("what is empty has to be a list: %v %s", err, b)
	}
	if strings.Contains(string(b), "secret") {
		t.Errorf("a password is shown: %s", b)
	}
}

// The words are those of the log lines, which are written elsewhere.
func TestNotableEventsAreThoseThatAreLogged(t *testing.T) {
	log := oplog.New(io.Discard, slog.LevelInfo, false, notable...)
	defer log.Close()
	g, err := newGraph(log.Logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopGraph(t, g, 10*time.Second) })
	mustApply(t, g, twoProtocols(freeAddr(t), ""))
	for _, mode := range []string{"shedding", modeAuto} {
		if err := g.setMode("api", mode); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	for _, e := range log.Recent(0) {
		if e.Message == "mode changed" {
			seen = append(seen, e.Level)
		}
	}
	if len(seen) != 2 || seen[1] != "INFO" {
		t.Errorf("two changes of mode, the second for the better, were kept as %v", seen)
	}
}
