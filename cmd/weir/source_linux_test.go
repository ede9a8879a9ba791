package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/limiter"
)

// The server says where its client comes from. A change of the source is one of
// the pool, as a change of the endpoint is: nothing that the old source did counts.
func TestANewSourceIsNotServedByOldConnections(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			<-release
		}
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		io.WriteString(w, host)
	}))
	defer s.Close()
	g := newTestGraph(t)
	yaml := func(source string) string {
		return oneBackend(s.Listener.Addr(), ", breaker: true"+source)
	}
	mustApply(t, g, yaml(", source: 127.0.0.5"))
	addr, p := boundAddr(t, g, "web"), g.backends["api"].pool
	comesFrom := func(want string) {
		t.Helper()
		for range 3 {
			if code, body, err := fetch(addr); code != 200 || body != want || err != nil {
				t.Errorf("%d from %q, %v, want %s", code, body, err, want)
			}
		}
	}
	comesFrom("127.0.0.5")
	held := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + addr + "/held")
		if err != nil {
			held <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		held <- string(b)
	}()
	testnet.WaitFor(t, 10*time.Second, "a held request", func() bool { return p.Stats().Leased == 1 })
	breaker := g.backends["api"].Breaker
	breaker.Force(limiter.Nanos(time.Now()), limiter.BreakerForceOpen)

	mustApply(t, g, yaml(", source: 127.0.0.6"))
	if g.backends["api"].pool != p {
		t.Fatal("the backend has another pool: two pools have two bounds")
	}
	if st := breaker.Stats(limiter.Nanos(time.Now())).State; st != limiter.BreakerClosed {
		t.Errorf("the breaker is %v by what the old source met", st)
	}
	comesFrom("127.0.0.6")
	close(release)
	if from := <-held; from != "127.0.0.5" {
		t.Errorf("the request that was under way got %q", from)
	}
	testnet.WaitFor(t, 10*time.Second, "one connection, of the new source", func() bool { st := p.Stats(); return st.Open == 1 && st.Idle == 1 })

	mustApply(t, g, yaml(""))
	comesFrom("127.0.0.1")
}

// What the status shows is the configured source, where there is one, and the
// pair is there before anything was dialled.
func TestThePortsOfASourceAreShownBeforeTheFirstDial(t *testing.T) {
	b := named(t, "a")
	g := newTestGraph(t)
	for _, source := range []string{"127.0.0.5", ""} {
		mustApply(t, g, oneBackend(b.Addr(), `, source: "`+source+`"`))
		want := source
		if source == "" {
			want = "127.0.0.1"
		}
		_, plans := g.socketPlans()
		if len(plans) != 1 || len(plans[0].Endpoints) != 1 || plans[0].Endpoints[0].Source.String() != want || plans[0].Endpoints[0].Dest != b.Addr() {
			t.Errorf("source %q: %+v", source, plans)
		}
	}
	mustApply(t, g, oneBackend(b.Addr(), ", source: 127.0.0.5"))
	testnet.WaitFor(t, 20*time.Second, "a list of sockets with the pair", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		ports := g.socketsStatus(time.Now()).Backends[0].Ports
		return len(ports) == 1 && ports[0].Source == "127.0.0.5" && ports[0].SourceAddress == "127.0.0.5" && ports[0].Headroom > 0.5
	})
}
