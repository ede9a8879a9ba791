//go:build bench

package bench

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"
)

// noisyLab is weir on one processor, and the others on another.
type noisyLab struct {
	*lab
	addr   netip.AddrPort
	pids   []int // of weir
	others int   // the processor of all but weir
}

// runNoisy starts weir with keys of its listener and of its backend.
func runNoisy(l *lab, backend netip.AddrPort, weir, others int, listenerKeys, backendKeys string) *noisyLab {
	n := &noisyLab{lab: l, others: others}
	on(l.t, weir, ordinary, func() {
		listener := l.free()
		p, err := runWeir(l, listener, fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "%s", timeouts: {idle: 1h}, %s}
backends:
  - {name: api, endpoints: ["%s"], %s}
`, listener, listenerKeys, backend, backendKeys))
		if err != nil {
			l.t.Fatal(err)
		}
		n.addr, n.pids = p.addr, p.pids()
	})
	return n
}

// honest is what became of the requests of those who ask for no more than they
// may.
type honest struct {
	good           int
	refused        int
	p50, p99       time.Duration
	late99         time.Duration // from an arrival to its write
	weir, own      float64       // processors that weir, and the honest clients, took
	perSecond      float64       // good ones
	floods         []floodCounts
	goodput, toP99 float64 // beside the quiet run of the same round
}

// honestRun has kept clients with 64 addresses ask for so much a second, and
// floods beside them. All runs of one seed have the same arrivals.
func (n *noisyLab) honestRun(clients int, perSecond float64, length time.Duration, seed uint64, floods ...flood) (h honest) {
	n.t.Helper()
	var stops []func() floodCounts
	for _, f := range floods {
		f.To = n.addr
		on(n.t, n.others, ordinary, func() { stops = append(stops, startFlood(n.t, n.ns, f)) })
	}
	steps := []step{{times: 1, length: 500 * time.Millisecond, warm: true}, {times: 1, length: length}}
	arrivals := draw(seed, perSecond, steps, 0)
	var weir, own []time.Duration
	n.ns.Do(func() {
		on(n.t, n.others, atOnce, func() {
			c, err := newCrowd(httpProtocol{}, n.addr, clients)
			if err != nil {
				n.t.Fatal(err)
			}
			defer c.close()
			c.arrivals, c.marks = arrivals, []time.Duration{steps[0].length, steps[0].length + length}
			c.mark = func() {
				weir, own = append(weir, runTime(n.t, n.pids)), append(own, cpu([]int{os.Getpid()}))
			}
			if err := c.run(); err != nil {
				n.t.Fatal(err)
			}
		})
	})
	for _, stop := range stops {
		h.floods = append(h.floods, stop())
	}
	var took, late []time.Duration
	for i := range arrivals {
		a := &arrivals[i]
		if a.step == 0 {
			continue
		}
		if a.result != unsent {
			late = append(late, a.sent-a.at)
		}
		if a.good() {
			h.good++
		} else if a.result > 0 && a.result != fine {
			h.refused++
		}
		if a.result == fine {
			took = append(took, a.done-a.at)
		}
	}
	slices.Sort(took)
	slices.Sort(late)
	h.p50, h.p99, h.late99 = quantile(took, 0.5), quantile(took, 0.99), quantile(late, 0.99)
	h.weir, h.own = (weir[1]-weir[0]).Seconds()/length.Seconds(), (own[1]-own[0]).Seconds()/length.Seconds()
	h.perSecond = float64(h.good) / length.Seconds()
	return h
}

// noise is a row of a table: floods beside the honest clients, none in the first.
type noise struct {
	name   string
	floods []flood
}

// noisyRounds runs all rows in turn, each round in another order, and compares
// each with the first row of its round.
func (n *noisyLab) noisyRounds(rows []noise, clients int, perSecond float64) [][]honest {
	got := make([][]honest, len(rows))
	for round := range size.rounds {
		this := make([]honest, len(rows))
		for i := range rows {
			j := (i + round) % len(rows)
			this[j] = n.honestRun(clients, perSecond, size.duration, uint64(round+1), rows[j].floods...)
		}
		for j := range rows {
			this[j].goodput = this[j].perSecond / this[0].perSecond
			this[j].toP99 = float64(this[j].p99) / float64(max(1, this[0].p99))
			got[j] = append(got[j], this[j])
		}
	}
	return got
}

// printNoisy writes medians, and below the table the ratios of all rounds, sorted.
func printNoisy(rows []noise, got [][]honest) {
	fmt.Print("\n| beside the honest | their goodput/s | to that without | p50, ms | p99, ms | p99 to that without | refused | noise: offered/s, sent/s, refused/s | cores of weir, of the honest clients |\n|---|---|---|---|---|---|---|---|---|\n")
	for i, r := range rows {
		of := got[i]
		mid := func(key func(honest) float64) float64 { return key(middle(of, key)) }
		loud := "-"
		if len(r.floods) > 0 {
			f := of[len(of)/2].floods[0]
			loud = fmt.Sprintf("%s, %s, %s", f.rate(f.Offered), f.rate(f.Sent), f.rate(f.Answers[429]+f.Answers[503]))
		}
		refused := 0
		for _, h := range of {
			refused += h.refused
		}
		fmt.Printf("| %s | %s | %.3f | %.2f | %.2f | %.2f | %d | %s | %.2f, %.2f |\n", r.name,
			thousands(int(mid(func(h honest) float64 { return h.perSecond }))), mid(func(h honest) float64 { return h.goodput }),
			mid(func(h honest) float64 { return float64(h.p50) / 1e6 }), mid(func(h honest) float64 { return float64(h.p99) / 1e6 }),
			mid(func(h honest) float64 { return h.toP99 }), refused, loud,
			mid(func(h honest) float64 { return h.weir }), mid(func(h honest) float64 { return h.own }))
	}
	fmt.Println()
	for i, r := range rows[1:] {
		var goodput, p99 []float64
		late := time.Duration(0)
		for _, h := range got[i+1] {
			goodput, p99, late = append(goodput, h.goodput), append(p99, h.toP99), max(late, h.late99)
		}
		slices.Sort(goodput)
		slices.Sort(p99)
		fmt.Printf("%s: goodput of all rounds, sorted: %.3f; p99: %.2f; p99 of an arrival's wait to be sent, at most %s ms\n", r.name, goodput, p99, millis(late))
	}
}

// One client offers a hundred times its rate. The others are to keep their goodput
// within 2 %, and their p99 within 1.2 times.
//
// Two kinds of it, both from one address over 32 kept connections: one waits for
// each answer, and is left unread after three refusals; one sends on until 64
// answers are owed to each connection. Each before the backend of the overload
// runs, at half of what that can do, and before nginx, which answers at once: there
// the honest ones' time is weir's and the machine's.
func TestBenchNoisyClient(t *testing.T) {
	const perRate, clients = 50, 640
	weir, others := twoCPUs(t)
	limits := fmt.Sprintf("backend: api, limits: {per_rate: %d/s, per_burst: %d}", perRate, perRate)
	one := flood{From: netip.MustParseAddr("127.0.0.2"), Clients: 1, Conns: 32, PerSecond: 100 * perRate, Owed: 1, Batch: 1, Path: "/"}
	sends := one
	sends.Owed = 64
	rows := []noise{{"nobody", nil}, {"one that waits for answers", []flood{one}}, {"one that does not wait", []flood{sends}}}
	fmt.Printf("\n%s\nper_rate %d/s. Honest: %d kept connections of 64 addresses, Poisson. Noisy: one address, 32 kept connections, %s/s. Medians of %d rounds of %v.\n",
		machine(t), perRate, clients, thousands(100*perRate), size.rounds, size.duration)

	for _, b := range []struct {
		name      string
		perSecond float64
		start     func(t *testing.T) (*lab, netip.AddrPort)
	}{
		{"10 workers", 500, func(t *testing.T) (*lab, netip.AddrPort) { l := newOverloadLab(t); return l.lab, l.addr }},
		{"nginx", 2000, func(t *testing.T) (*lab, netip.AddrPort) { l := newLab(t, kinds[0]); return l, l.proxies[0].backend }},
	} {
		t.Run(b.name, func(t *testing.T) {
			var l *lab
			var backend netip.AddrPort
			on(t, others, atOnce, func() { l, backend = b.start(t) })
			n := runNoisy(l, backend, weir, others, limits, "pool: {max_open: 64}")
			got := n.noisyRounds(rows, clients, b.perSecond)
			fmt.Printf("\nBackend: %s. Honest: %s/s in all.\n", b.name, thousands(int(b.perSecond)))
			printNoisy(rows, got)
			for i, of := range got {
				for _, h := range of {
					if h.refused > 0 {
						t.Errorf("%s: %d honest requests were refused", rows[i].name, h.refused)
					}
					if i > 0 && h.floods[0].Answers[429] == 0 {
						t.Errorf("%s was refused nothing: %v", rows[i].name, h.floods[0].Answers)
					}
				}
			}
		})
	}
}

// Many clients whose requests are all refused offer ten times what the honest ones
// do, and that is as much as weir can refuse on its processor, with nothing left
// for the others: it is the bottleneck, not the backend. The honest ones are to
// keep 80 % of their goodput.
//
// One noise is refused by a route's rate, which leaves nobody unread, so that each
// request costs its refusal. The other is refused by per_rate, as is usual where
// clients are the cause: they are left unread after three refusals. Their heads have 91 fields, which makes refusals dear, and four come in
// one write, so that the noise is cheap to make: beside the honest clients and the
// backend its maker has only a part of a processor.
//
// Where weir is short it has each backend connection for longer. So it is run with
// as many of them as there are clients, where the pool is no second bottleneck,
// and with the default.
func TestBenchNoisyRefused(t *testing.T) {
	const clients, noisy = 500, 128
	weir, others := twoCPUs(t)
	for _, maxOpen := range []int{clients, 64} {
		t.Run(fmt.Sprintf("max_open %d", maxOpen), func(t *testing.T) {
			var l *lab
			on(t, others, atOnce, func() { l = newLab(t, kinds[0]) })
			n := runNoisy(l, l.proxies[0].backend, weir, others,
				`routes: [{path: /, backend: api}, {path: /refused, backend: api, limits: {rate: 1/h, burst: 1}},
      {path: /rated, backend: api, limits: {per_rate: 1/s, per_burst: 1}}]`, fmt.Sprintf("pool: {max_open: %d}", maxOpen))
			many := flood{From: netip.MustParseAddr("127.0.3.1"), Clients: 64, Conns: noisy, Owed: 4, Batch: 4, Path: "/refused", Fields: 90}

			// As much as is refused where nobody else asks.
			alone := n.honestRun(1, 10, 2*time.Second, 1, many)
			most := float64(alone.floods[0].Answers[503]) / alone.floods[0].Seconds
			perSecond := math.Floor(most/10/100) * 100
			many.PerSecond = 10 * perSecond
			rated := many
			rated.Path = "/rated"
			rows := []noise{{"nobody", nil}, {"ten times as many, by rate", []flood{many}}, {"ten times as many, by per_rate", []flood{rated}}}
			got := n.noisyRounds(rows, clients, perSecond)
			fmt.Printf("\n%s\nmax_open %d. weir refuses %s/s where nobody else asks, with %.2f cores. Honest: %d kept connections, %s/s, Poisson. Noisy: %s kept connections of 64 addresses. Medians of %d rounds of %v.\n",
				machine(t), maxOpen, thousands(int(most)), alone.weir, clients, thousands(int(perSecond)), thousands(noisy), size.rounds, size.duration)
			printNoisy(rows, got)
			for _, h := range got[1] {
				if h.floods[0].Answers[503] < h.floods[0].Sent/2 {
					t.Errorf("of %d noisy requests %v were answered", h.floods[0].Sent, h.floods[0].Answers)
				}
			}
		})
	}
}
