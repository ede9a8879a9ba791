package limiter

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// memory is what Go counts against GOMEMLIMIT, what of this process is resident,
// and its address space; bytes.
func memory(t *testing.T) (counted, resident, space int64) {
	t.Helper()
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	b, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(b), &space, &resident)
	}
	if err != nil {
		t.Fatal(err)
	}
	page := int64(os.Getpagesize())
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64()), resident * page, space * page
}

func TestATableTakesMemoryAsKeysComeAndGivesItBackWhenItIsDropped(t *testing.T) {
	const keys, size, little = 1 << 25, 1 << 29, 32 << 20
	counted, resident, space := memory(t)
	r := ratesOf(t, limitOf(t, 1, time.Hour, 2), keys)
	for i := range Key(1000) { // huge pages would be the whole table
		r.Take(i*0x9e3779b97f4a7c15, 0)
	}
	c, rss, s := memory(t)
	if c -= counted; c > little {
		t.Errorf("Go counts %d bytes against GOMEMLIMIT for a table that is nearly empty", c)
	}
	if rss -= resident; rss > little {
		t.Errorf("%d bytes are resident for 1000 keys", rss)
	}
	if s -= space; s < size-little { // what earlier tests had is given back meanwhile
		t.Errorf("the address space has %d bytes more, want %d: is the table in it?", s, size)
	}
	runtime.KeepAlive(r)
	for end := time.Now().Add(10 * time.Second); ; runtime.GC() {
		_, _, s := memory(t)
		if s -= space; s < size/2 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes of address space are still taken by a table that nobody has", s)
		}
	}
}

// A reload drops a table while a request is in it, which by then has the shard
// alone. Memory that was given back too early is a fault, which ends a process.
func TestATableStaysAsLongAsOneOfItsShardsIsInUse(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			t.Errorf("the table was given back: %v", fault)
		}
	}()
	key, s := ratesOf(t, limitOf(t, 1, time.Hour, 2), 1<<20).shard(1 << 63)
	for range 50 {
		runtime.GC() // what it finds is given back by another goroutine
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.place(key, 1); s.find(key) != e {
		t.Error("the key is not where it was put")
	}
}
