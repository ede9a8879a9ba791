//go:build !weir_netconn

// How clients are served has no part in this, so these tests, which take their
// minute, do not run a second time with the other build.

package accept

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

// portWorld is a namespace with 400 local ports and no use of TIME-WAIT again, a
// backend, weir before it, and a stranger: the test's own process, which dials
// the same backend.
type portWorld struct {
	t       *testing.T
	ns      *testnet.Netns
	w       *weir
	backend string
	seed    uint64
	r       *rand.Rand
	clients []net.Conn

	visits, grows float64 // of the stranger's, and of the pool's connections, a second
	kept          int     // or the pool opens so many,
	opens, within float64 // from this second on, within so many

	began, exhausted time.Time
	at               socketGroup // at the end
}

const (
	portsThere  = 400
	portsSteady = portsThere * 8 / 10
	portsRunOut = "the local ports towards the backend run out"
)

func newPortWorld(t *testing.T, seed uint64) *portWorld {
	ns := testnet.NewNetns(t)
	p := &portWorld{t: t, ns: ns, seed: seed, r: rand.New(rand.NewPCG(seed, 5))}
	p.backend = heldBackend(t, ns, "127.0.0.1:0").Addr().String()
	t.Cleanup(func() {
		for _, c := range p.clients {
			c.Close()
		}
	})
	prefix := ns.Command("x").Args
	p.w = start(t, fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "127.0.0.1:0", backend: api}
backends:
  - {name: api, endpoints: ["%s"], pool: {max_open: %d}, timeouts: {response_header: 10m}}
`, p.backend, portsThere), prefix[:len(prefix)-1]...)
	// From now on, so that no listener has taken one of them.
	ns.Sysctl("net.ipv4.ip_local_port_range", fmt.Sprintf("45000 %d", 45000+portsThere-1))
	ns.Sysctl("net.ipv4.tcp_tw_reuse", "0")
	return p
}

// hold makes the pool grow by one. The client's port is one towards weir, and so
// of another pair's range.
func (p *portWorld) hold() {
	c, err := p.ns.Dial("tcp", p.w.addr["web"])
	if err == nil {
		p.clients = append(p.clients, c)
		_, err = io.WriteString(c, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	if err != nil {
		p.t.Error(err)
	}
}

// visit is a short connection of the stranger's, who closes first. It says
// whether there was a port for it.
func (p *portWorld) visit() bool {
	c, err := p.ns.Dial("tcp", p.backend)
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		p.exhausted = time.Now()
		return false
	}
	if err != nil {
		p.t.Error(err)
		return false
	}
	c.Close()
	return true
}

// run lets the stranger come and the pool grow at even rates, or open, for so
// long, or until there is no port.
func (p *portWorld) run(ctx context.Context, d time.Duration) {
	p.began = time.Now()
	for visited := 0; time.Since(p.began) < d && ctx.Err() == nil; {
		at := time.Since(p.began).Seconds()
		for ; float64(visited) < p.visits*at; visited++ {
			if !p.visit() {
				return
			}
		}
		held := p.grows * at
		if p.kept > 0 {
			held = min(float64(p.kept), float64(p.kept)*(at-p.opens)/p.within)
		}
		for float64(len(p.clients)) < held {
			p.hold()
		}
		testnet.Pace(ctx.Done(), 20*time.Millisecond)
	}
}

// warned is when the log said that ports run out; not ok where it did not.
func (p *portWorld) warned() (at time.Time, left int, ok bool) {
	for line := range strings.Lines(p.w.logged()) {
		var l struct {
			Time time.Time
			Msg  string
			Left int `json:"seconds_left"`
		}
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == portsRunOut {
			return l.Time, l.Left, true
		}
	}
	return time.Time{}, 0, false
}

// portRuns is how many of each there are: all with -hold.
func portRuns() int {
	if *hold {
		return 20
	}
	return 3
}

// A stranger's short connections and a pool that grows use up 400 ports in 52 to
// 80 s, at even rates and shares that differ. The log says so half a minute
// before, and weir has dialled only for those who waited since half of the ports
// were used. Beside them, as many worlds stay at 80 %: their pool opens within some
// seconds, the rest are TIME-WAIT that come and go, and they hear nothing.
func TestAcceptTheEndOfThePortsIsForecast(t *testing.T) {
	t.Parallel() // it takes more than a minute, and next to no processor
	var all sync.WaitGroup
	var judge []func()
	for seed := range uint64(portRuns()) {
		ramp, steady := newPortWorld(t, seed), newPortWorld(t, seed)
		all.Go(ramp.ramp)
		all.Go(steady.steady)
		judge = append(judge, ramp.judgeRamp, steady.judgeSteady)
	}
	all.Wait()
	for _, f := range judge {
		f()
	}
}

// ramp uses up the ports.
func (p *portWorld) ramp() {
	took := 52 + 28*p.r.Float64()
	p.visits = 1.5 + 2.5*p.r.Float64()
	// After a minute the stranger's first ports come back.
	p.grows = (portsThere - p.visits*min(took, 60)) / took
	p.run(p.t.Context(), 3*time.Minute)
	p.at = p.w.sockets(p.w.kept(p.ns)).Backends[0]
}

func (p *portWorld) judgeRamp() {
	t := p.t
	if p.exhausted.IsZero() {
		t.Fatalf("seed %d: the ports were not used up: %.1f visits and %.1f connections more a second", p.seed, p.visits, p.grows)
	}
	at, left, ok := p.warned()
	ahead := p.exhausted.Sub(at)
	if !ok {
		t.Fatalf("seed %d: the log did not say that ports run out", p.seed)
	}
	figure(t, "ramp %d: %.1f short connections and %.1f kept ones a second, full after %.0f s: said %.0f s ahead, as %d s",
		p.seed, p.visits, p.grows, p.exhausted.Sub(p.began).Seconds(), ahead.Seconds(), left)
	if ahead < 30*time.Second {
		t.Errorf("seed %d: said %v ahead, want 30 s", p.seed, ahead)
	}
	i := slices.IndexFunc(p.at.Ports, func(q portsOf) bool { return q.Endpoint == p.backend })
	if i < 0 || !p.at.Ports[i].Warned || p.at.Ports[i].Ports != portsThere || p.at.Ports[i].TimeWaitOther < 50 || p.at.Ports[i].Free > portsThere/10 {
		t.Errorf("seed %d: status says %+v", p.seed, p.at.Ports)
	}
	if !p.w.says(`"to":"paced"`) {
		t.Errorf("seed %d: the mode was not paced when half of the ports were used", p.seed)
	}
	if n := p.w.logLines(portsRunOut); n != 1 {
		t.Errorf("seed %d: it is said %d times", p.seed, n)
	}
}

// steady uses 80 % of the ports.
func (p *portWorld) steady() {
	kept := p.r.IntN(portsSteady * 3 / 4)
	p.visits = float64(portsSteady-kept) / 60
	d := 75 * time.Second
	if *hold {
		d = 100 * time.Second
	}
	p.opens, p.kept, p.within = 20*p.r.Float64(), kept, 0.1+6*p.r.Float64()
	p.run(p.t.Context(), d)
	p.at = p.w.sockets(p.w.kept(p.ns)).Backends[0]
}

func (p *portWorld) judgeSteady() {
	used := 0
	for _, q := range p.at.Ports {
		used = max(used, q.Ports-q.Free)
	}
	at, left, warned := p.warned()
	figure(p.t, "steady %d: %d kept and %.1f short connections a second: %d of %d ports at the end, warned %v", p.seed, p.kept, p.visits, used, portsThere, warned)
	if warned {
		p.t.Errorf("seed %d: a false alarm after %.0f s, of %d s: %d kept, opened at %.0f s within %.1f s", p.seed, at.Sub(p.began).Seconds(), left, p.kept, p.opens, p.within)
	}
	if used < portsSteady-12 || used > portsSteady+12 {
		p.t.Errorf("seed %d: %d ports are in use at the end, want %d", p.seed, used, portsSteady)
	}
}
