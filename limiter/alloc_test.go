//go:build !race

package limiter

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

func TestQueueWaitingAllocatesNothing(t *testing.T) {
	l := newLine(4, time.Minute)
	ctx := context.Background()
	n := testing.AllocsPerRun(1000, func() {
		w, err := l.join(ctx, "", time.Now(), 0)
		if err != nil {
			t.Fatal(err)
		}
		l.serve(1)
		if _, err := l.Await(w); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRetryBudgetAllocatesNothing(t *testing.T) {
	b, err := NewRetryBudget(10, 3)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { b.Request(); b.Allow() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRatesAllocateNothing(t *testing.T) {
	limit := limitOf(t, 1000, time.Second, 5)
	one, all := NewRate(limit), ratesOf(t, limit, 10_000)
	addr, header := netip.MustParseAddr("2001:db8::1"), []byte("some value of a header field")
	user := "orders"
	var now int64
	n := testing.AllocsPerRun(10_000, func() {
		now += 100_000
		one.Take(now)
		one.Left(now)
		one.Refund()
		for _, k := range [...]Key{KeyOfAddr(addr, 32, 64), KeyOfBytes(header), KeyOfString(user), Key(now)} {
			all.Take(k, now)
			all.Left(k, now)
			all.Refund(k)
		}
		addr = addr.Next()
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Keys come and go, a hundred at a time; once warm their entries cost nothing.
func TestCountsAllocateNothing(t *testing.T) {
	var c Counts
	keys := randomKeys(10_000, 1)
	i := 0
	n := testing.AllocsPerRun(100_000, func() {
		c.Enter(keys[(i+100)%len(keys)], 10)
		if i >= 100 {
			c.Leave(keys[i%len(keys)])
		}
		i++
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRateTake(b *testing.B) {
	r := NewRate(limitOf(b, 1_000_000, time.Second, 1000))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var now int64
		for pb.Next() {
			now += 1500
			r.Take(now)
		}
	})
}

// Of a million keys, each is refused about as often as not.
func BenchmarkRatesTake(b *testing.B) {
	const n = 1_000_000
	r := ratesOf(b, limitOf(b, 1, time.Second, 1), n)
	keys := randomKeys(n, 1)
	var workers atomic.Uint64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		i, now := int(workers.Add(1))*n/7, int64(0)
		for pb.Next() {
			now += 600 // 1.7 million takes a second
			r.Take(keys[i%n], now)
			i++
		}
	})
}
