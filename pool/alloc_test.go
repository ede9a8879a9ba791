//go:build !race

package pool

import (
	"context"
	"runtime"
	"testing"
	"time"
)

func steadyPool(t testing.TB, maxOpen int) *Pool {
	b := &fakeBackend{}
	o := testOptions(b)
	o.MaxOpen, o.IdleTimeout, o.MaxLifetime = maxOpen, time.Hour, time.Hour
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	return p
}

func TestAcquireOfAnIdleConnectionAllocatesNothing(t *testing.T) {
	p, ctx := steadyPool(t, 4), context.Background()
	n := testing.AllocsPerRun(10000, func() {
		l, err := p.Acquire(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		l.LearnIdle(time.Minute)
		l.Release()
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWaitingForAConnectionAllocatesNothing(t *testing.T) {
	p, ctx := steadyPool(t, 1), context.Background()
	next := make(chan Lease)
	go func() {
		for range next {
			l, err := p.Acquire(ctx, "")
			if err != nil {
				t.Error(err)
			}
			l.Release()
			next <- Lease{}
		}
	}()
	n := testing.AllocsPerRun(2000, func() {
		l, err := p.Acquire(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		next <- l
		for waiting(p) == 0 {
			runtime.Gosched()
		}
		l.Release()
		<-next
	})
	close(next)
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func waiting(p *Pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.Len()
}

func BenchmarkAcquireRelease(b *testing.B) {
	p, ctx := steadyPool(b, 4), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		l, err := p.Acquire(ctx, "")
		if err != nil {
			b.Fatal(err)
		}
		l.Release()
	}
}

func BenchmarkAcquireReleaseParallel(b *testing.B) {
	p, ctx := steadyPool(b, 64), context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l, err := p.Acquire(ctx, "")
			if err != nil {
				b.Error(err)
				return
			}
			l.Release()
		}
	})
}

// Many more users than connections: nearly every lease is handed over.
func BenchmarkHandOver(b *testing.B) {
	p, ctx := steadyPool(b, 2), context.Background()
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l, err := p.Acquire(ctx, "")
			if err != nil {
				b.Error(err)
				return
			}
			l.Release()
		}
	})
}
