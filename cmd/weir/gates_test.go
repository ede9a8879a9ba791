package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/limiter"
)

const limitedConfig = `
listeners:
  - name: web
    protocol: http
    address: "127.0.0.1:0"
    limits: {per_rate: 1/h, per_burst: %d}
    connections: {per_client: 50, rate: 1000/s}
    routes:
      - {path: /, backend: api}
      - {path: /x, backend: api, limits: {in_flight: 3}}
backends: [{name: api, endpoints: ["%s"], limits: {rate: 1/h, burst: 40, in_flight: %s}}]
`

func TestAReloadKeepsWhatLimitsHaveCounted(t *testing.T) {
	be := testnet.NewBackend(t, testnet.Echo)
	g := newTestGraph(t)
	apply := func(burst int, inFlight string) {
		t.Helper()
		if err := g.apply(configOf(t, fmt.Sprintf(limitedConfig, burst, be.Addr(), inFlight))); err != nil {
			t.Fatal(err)
		}
	}
	apply(3, "8")
	url := "http://" + g.server.Stats()[0].Address + "/"
	ask := func(want int) {
		t.Helper()
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Fatalf("status %d, want %d", resp.StatusCode, want)
		}
	}
	for _, want := range []int{200, 200, 200, 429} {
		ask(want)
	}
	if n := g.backends["api"].pool.Load().InFlightMax; n != 8 {
		t.Errorf("in_flight is %d, want 8", n)
	}
	apply(3, "auto")
	ask(429)
	api := g.backends["api"]
	if api.Adaptive.Load() == nil || api.pool.Load().InFlightMax != 20 {
		t.Errorf("auto begins with %d", api.pool.Load().InFlightMax)
	}
	apply(5, "auto") // two more
	ask(200)
	ask(200)
	ask(429)
	apply(5, "9")
	if api.Adaptive.Load() != nil || api.pool.Load().InFlightMax != 9 {
		t.Errorf("after auto: %d", api.pool.Load().InFlightMax)
	}
	refused := map[string]uint64{}
	for _, l := range g.gates.status() {
		refused[l.Of] = l.Refused[limiter.OverPerRate.String()]
	}
	if len(refused) != 3 || refused["listeners[web]"] != 3 {
		t.Errorf("%v", refused)
	}
}

func TestTheModeFollowsTheQueueAndBendsThePool(t *testing.T) {
	be := testnet.NewBackend(t, testnet.Echo)
	g := newTestGraph(t)
	if err := g.apply(configOf(t, fmt.Sprintf(`
listeners: [{name: web, protocol: http, address: "127.0.0.1:0", backend: api}]
backends: [{name: api, endpoints: ["%s"], queue: {target: 5ms}, limits: {in_flight: 7}}]
`, be.Addr()))); err != nil {
		t.Fatal(err)
	}
	close(g.quit) // its own ticks would come between
	g.watch.Wait()
	defer func() { g.quit = make(chan struct{}) }()
	v := g.backends["api"].governor
	now := limiter.Nanos(time.Now())
	for range 30 {
		for range 10 {
			v.Served(3)
			v.Shed(3)
			v.Shed(3)
		}
		now += int64(limiter.ModeTick)
		v.tick(now)
	}
	if m := v.Ladder.Stats(now).Mode; m != limiter.ModeRefusing {
		t.Fatalf("mode %v", m)
	}
	if e := v.Ladder.Effect(); e.QueueMax != 7 {
		t.Errorf("the queue is to be %d", e.QueueMax)
	}
	for range 20 {
		now += int64(limiter.ModeTick)
		v.tick(now)
	}
	if m := v.Ladder.Stats(now).Mode; m != limiter.ModeNormal {
		t.Errorf("mode %v when all is over", m)
	}

	// Those who are turned away because the backend is left alone are no load on it.
	if err := v.Ladder.Force(now, limiter.ModeOpen); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		for range 10 {
			v.Enter(3)
		}
		now += int64(limiter.ModeTick)
		v.tick(now)
	}
	v.Ladder.Release(now)
	if m := v.Ladder.Stats(now).Mode; m != limiter.ModeNormal {
		t.Errorf("mode %v after open", m)
	}
	if _, shed, _ := v.status(); shed[3] != 30*20+30*10 {
		t.Errorf("%v are shown as shed", shed)
	}
}
