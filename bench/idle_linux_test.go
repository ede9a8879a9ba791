//go:build bench

package bench

import (
	"fmt"
	"strings"
	"testing"

	"weir/tcpstat"
)

// idle is the memory of clients that keep their connections and ask nothing.
type idle struct {
	total  int // bytes that the proxy's processes hold with all clients there
	client int // bytes that they grew by, for each client
	heap   int // bytes that weir's Go heap and stacks in use grew by, for each client; else 0
}

// idleClients measures k several times, each time with new processes, and
// returns the median by client.
func idleClients(t *testing.T, k kind) idle {
	t.Helper()
	var of []idle
	for range size.labs {
		t.Run("idle", func(t *testing.T) {
			of = append(of, newLab(t, k).idle())
		})
	}
	if len(of) == 0 {
		return idle{}
	}
	t.Logf("bytes for each idle client of %s: %+v", k.name, of)
	return middle(of, func(i idle) int { return i.client })
}

// idle measures the only proxy of a lab.
func (l *lab) idle() idle {
	p := l.proxies[0]
	// Whatever grows with the first requests has grown before the base is
	// taken: arenas, pools, backend connections.
	l.visits(p, false, size.storm)
	base, baseHeap := l.memory(p)

	l.park(p, size.idle)
	l.allThere(p)
	total, heap := l.memory(p)
	l.allThere(p)
	return idle{total: total, client: (total - base) / size.idle, heap: (heap - baseHeap) / size.idle}
}

// memory is what p holds when it has settled. weir has a collection made first,
// which would come by itself within two minutes, and also tells what it uses of
// what it holds.
func (l *lab) memory(p *proxy) (held, used int) {
	l.t.Helper()
	collected := func() string { return l.curl("http://" + adminOfWeir + "/debug/pprof/heap?gc=1&debug=1") }
	if p.name == "weir" {
		collected() // a second one frees what the first one only unhooked: sync.Pool, finalizers
		collected()
	}
	held, still := settled(l.t, p.pids())
	if !still {
		l.t.Logf("%s: memory still moves after %v", p.name, stillLimit)
	}
	if p.name == "weir" {
		var heap, stacks int
		for line := range strings.Lines(collected()) {
			fmt.Sscanf(line, "# HeapAlloc = %d", &heap)
			fmt.Sscanf(line, "# Stack = %d /", &stacks)
		}
		if heap == 0 || stacks == 0 {
			l.t.Fatalf("weir's heap profile names no HeapAlloc and Stack")
		}
		used = heap + stacks
	}
	return held, used
}

// allThere sees that none of the waiting clients was closed.
func (l *lab) allThere(p *proxy) {
	l.t.Helper()
	if n := l.count(p)[1][tcpstat.Established]; n != size.idle {
		l.t.Fatalf("%s has %d clients, want %d that wait", p.name, n, size.idle)
	}
}
