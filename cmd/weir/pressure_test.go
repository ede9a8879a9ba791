package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/admin"
	"weir/internal/pressure"
	"weir/internal/testnet"
)

// fakePressure is a machine of 1000 bytes and 1000 descriptors.
type fakePressure struct{ memory, descriptors, looks atomic.Uint64 }

func (f *fakePressure) read() pressure.Reading {
	f.looks.Add(1)
	return pressure.Reading{
		pressure.Memory:      {Used: f.memory.Load(), Bound: 1000, Of: "memory.max"},
		pressure.Descriptors: {Used: f.descriptors.Load(), Bound: 1000, Of: "RLIMIT_NOFILE"},
	}
}

// underPressure is a graph on such a machine.
func underPressure(t *testing.T) (*graph, *fakePressure, *output) {
	t.Helper()
	f, log := new(fakePressure), new(output)
	g, err := newGraphUnder(slog.New(slog.NewTextHandler(log, nil)), newPressed(f.read, nil, func() {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !g.draining.Load() {
			stopGraph(t, g, 10*time.Second)
		}
	})
	return g, f, log
}

// knocks is a client that has sent a request, and waits.
func knocks(t *testing.T, addr string) *keptClient {
	t.Helper()
	k := dialKept(t, addr)
	if _, err := io.WriteString(k.c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *keptClient) mustHear(t *testing.T, want string) {
	t.Helper()
	resp, err := http.ReadResponse(k.r, nil)
	if err != nil {
		t.Fatalf("instead of an answer: %v", err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(b) != want {
		t.Errorf("the answer is %d %q, %v", resp.StatusCode, b, err)
	}
}

// accepting waits until all addresses accept, or none does.
func accepting(t *testing.T, g *graph, want bool) {
	t.Helper()
	testnet.WaitFor(t, 10*time.Second, fmt.Sprintf("for accepting to be %v", want), func() bool {
		for _, s := range g.server.Stats() {
			if s.Accepting != want {
				return false
			}
		}
		return true
	})
}

const twoAddresses = `
listeners:
  - {name: web, protocol: http, address: %q, backend: api, max_clients: 100}%s
backends: [{name: api, endpoints: [%q]}]
`

func TestAWeirThatRunsShortStopsAcceptingAndServesThoseWhoWaitedWhenItGoesOn(t *testing.T) {
	for _, test := range []struct {
		name   string
		set    func(f *fakePressure, n uint64)
		reason string
	}{
		{"memory", func(f *fakePressure, n uint64) { f.memory.Store(n) }, "clients are not accepted: short of memory, 950 of 1000 are in use (memory.max)"},
		{"descriptors", func(f *fakePressure, n uint64) { f.descriptors.Store(n) }, "clients are not accepted: short of descriptors, 950 of 1000 are in use (RLIMIT_NOFILE)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, f, log := underPressure(t)
			backend := named(t, "hello").Addr().String()
			yaml := fmt.Sprintf(twoAddresses, "127.0.0.1:0", "", backend)
			mustApply(t, g, yaml)
			web := boundAddr(t, g, "web")
			kept := knocks(t, web)
			kept.mustHear(t, "hello")
			if missing := g.notReady(); len(missing) != 0 {
				t.Fatalf("not ready for %q", missing)
			}

			test.set(f, 950)
			accepting(t, g, false)
			if missing := g.notReady(); !slices.Equal(missing, []string{test.reason}) {
				t.Errorf("not ready for %q, want %q", missing, test.reason)
			}
			waiting, other := knocks(t, web), knocks(t, web) // one of them may be in an acceptor's hand
			testnet.WaitFor(t, 10*time.Second, "for the queue to be shown", func() bool { return g.snapshot().Listeners[0].Queued > 0 })
			if code, body, err := kept.get(); code != 200 || body != "hello" || err != nil {
				t.Errorf("who is connected gets %d %q, %v", code, body, err)
			}
			s := g.snapshot()
			if l := s.Listeners[0]; l.Accepting || l.Clients != 1 || l.ClientsTotal != 1 {
				t.Errorf("accepting %v, %d clients of %d", l.Accepting, l.Clients, l.ClientsTotal)
			}
			if !slices.Contains(s.Pressure, admin.Share{Label: test.name, Part: 0.95}) {
				t.Errorf("weir_pressure is %+v", s.Pressure)
			}
			d := &daemon{graph: g}
			st := d.status()
			if p := st.Pressure[test.name]; !slices.Equal(st.NotAccepting, []string{test.reason}) || !p.Short || p.Used != 950 || p.For == "" {
				t.Errorf("the status has not_accepting %q, pressure %+v", st.NotAccepting, p)
			}
			if l := st.Listeners[0]; l.Accepting || len(l.Addresses) != 1 || l.QueueMax == 0 || l.Queued == 0 {
				t.Errorf("the status has the listener as %+v", l)
			}

			// A reload opens a listener: it does not accept either.
			second := freeAddr(t)
			mustApply(t, g, fmt.Sprintf(twoAddresses, "127.0.0.1:0", fmt.Sprintf("\n  - {name: more, protocol: http, address: %q, backend: api, max_clients: 100}", second), backend))
			accepting(t, g, false)
			also := knocks(t, second)
			test.set(f, 850) // not enough
			looked := f.looks.Load()
			testnet.WaitFor(t, 10*time.Second, "for looks", func() bool { return f.looks.Load() > looked+6 })
			for _, l := range g.listenerStats() {
				if want := map[string]uint64{"web": 1}[l.name]; l.stats.Accepted != want {
					t.Errorf("%d clients of %s were accepted while there was not enough, want %d", l.stats.Accepted, l.name, want)
				}
			}

			test.set(f, 500)
			began := time.Now()
			waiting.mustHear(t, "hello")
			other.mustHear(t, "hello")
			also.mustHear(t, "hello")
			if took := time.Since(began); took < time.Second {
				t.Errorf("it went on after %v, want a second", took)
			}
			accepting(t, g, true)
			if missing := g.notReady(); len(missing) != 0 {
				t.Errorf("afterwards not ready for %q", missing)
			}
			testnet.WaitFor(t, 10*time.Second, "for the log to say so", func() bool { return strings.Contains(log.text(), "no longer short") })
			for _, line := range []string{
				`level=WARN msg="short of ` + test.name + `: clients are not accepted, and wait in the kernel's queue" used=950 bound=1000 percent=95 of=`,
				`level=INFO msg="no longer short of ` + test.name + `" used=500 bound=1000 percent=50 of=`,
			} {
				if n := strings.Count(log.text(), line); n != 1 {
					t.Errorf("the log says %d times %s:\n%s", n, line, log.text())
				}
			}
		})
	}
}

func TestItGoesOnWhenNothingIsShortAnyMore(t *testing.T) {
	g, f, log := underPressure(t)
	mustApply(t, g, fmt.Sprintf(twoAddresses, "127.0.0.1:0", "", named(t, "hello").Addr().String()))
	f.memory.Store(950)
	f.descriptors.Store(950)
	accepting(t, g, false)
	if missing := g.notReady(); len(missing) != 2 {
		t.Errorf("not ready for %q, want both", missing)
	}
	f.memory.Store(1)
	testnet.WaitFor(t, 10*time.Second, "for memory to suffice", func() bool { return strings.Contains(log.text(), `"no longer short of memory"`) })
	accepting(t, g, false)
	if !strings.Contains(log.text(), "accepting=false") {
		t.Errorf("the log: %s", log.text())
	}
	f.descriptors.Store(1)
	accepting(t, g, true)
	testnet.WaitFor(t, 10*time.Second, "for the line", func() bool { return strings.Contains(log.text(), "accepting=true") })
}

func TestAStopOfAWeirThatRunsShortServesThoseWhoWait(t *testing.T) {
	g, f, _ := underPressure(t)
	mustApply(t, g, fmt.Sprintf(twoAddresses, "127.0.0.1:0", "", named(t, "hello").Addr().String()))
	web := boundAddr(t, g, "web")
	f.memory.Store(950)
	accepting(t, g, false)
	waiting := knocks(t, web)
	stopGraph(t, g, 10*time.Second)
	waiting.mustHear(t, "hello")
}
