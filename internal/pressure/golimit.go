package pressure

import (
	"math"
	"runtime/debug"
	"runtime/metrics"
)

// goLimit tells how near the Go runtime is to GOMEMLIMIT.
type goLimit struct{ samples []metrics.Sample }

// The metrics' places in samples.
const (
	total = iota
	released
	free
	unused
	objects
	live
)

func newGoLimit() *goLimit {
	return &goLimit{[]metrics.Sample{
		total:    {Name: "/memory/classes/total:bytes"},
		released: {Name: "/memory/classes/heap/released:bytes"},
		free:     {Name: "/memory/classes/heap/free:bytes"},
		unused:   {Name: "/memory/classes/heap/unused:bytes"},
		objects:  {Name: "/memory/classes/heap/objects:bytes"},
		live:     {Name: "/gc/heap/live:bytes"},
	}}
}

// read counts what the limit counts (runtime/debug.SetMemoryLimit), but of the heap
// only what the last collection left: the rest may be garbage, which the runtime
// lets grow to the limit as it should.
func (g *goLimit) read() Use {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return Use{}
	}
	metrics.Read(g.samples)
	value := func(i int) uint64 {
		if g.samples[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a runtime that has it no more
		}
		return g.samples[i].Value.Uint64()
	}
	heap := value(live)
	if heap == 0 { // nothing was collected yet
		heap = value(objects)
	}
	rest := value(total) - min(value(total), value(released)+value(free)+value(unused)+value(objects))
	return Use{Used: rest + heap, Bound: uint64(max(limit, 1)), Of: "GOMEMLIMIT"}
}
