//go:build !race

package pool

import (
	"context"
	"runtime"
	"testing"
	"time"

	"weir/limiter"
)

// perUser is what a pool for MySQL has for Options.Group.
var perUser = groups(map[string]int{"app": 64})

func steadyPool(t testing.TB, maxOpen int, group func(string) (string, int)) *Pool {
	b := &fakeBackend{}
	o := testOptions(b)
	o.MaxOpen, o.IdleTimeout, o.MaxLifetime, o.Group = maxOpen, time.Hour, time.Hour, group
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	return p
}

func TestAcquireOfAnIdleConnectionAllocatesNothing(t *testing.T) {
	for name, group := range map[string]func(string) (string, int){"": nil, "app/1": perUser} {
		p, ctx := steadyPool(t, 4, group), context.Background()
		n := testing.AllocsPerRun(10000, func() {
			l, err := p.Acquire(ctx, name, limiter.ClassDefault)
			if err != nil {
				t.Fatal(err)
			}
			l.LearnIdle(time.Minute)
			l.Release()
		})
		if n != 0 {
			t.Errorf("key %q: %v allocations", name, n)
		}
	}
}

func TestWaitingForAConnectionAllocatesNothing(t *testing.T) {
	waitingAllocatesNothing(t, "", steadyPool(t, 1, nil))
}

func TestWaitingForAConnectionOfAGroupAllocatesNothing(t *testing.T) {
	one := groups(map[string]int{"app": 1})
	waitingAllocatesNothing(t, "app/1", steadyPool(t, 4, one))
}

func waitingAllocatesNothing(t *testing.T, key string, p *Pool) {
	ctx := context.Background()
	next := make(chan Lease)
	go func() {
		for range next {
			l, err := p.Acquire(ctx, key, limiter.ClassDefault)
			if err != nil {
				t.Error(err)
			}
			l.Release()
			next <- Lease{}
		}
	}()
	n := testing.AllocsPerRun(2000, func() {
		l, err := p.Acquire(ctx, key, limiter.ClassDefault)
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
	p, ctx := steadyPool(b, 4, nil), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		l, err := p.Acquire(ctx, "", limiter.ClassDefault)
		if err != nil {
			b.Fatal(err)
		}
		l.Release()
	}
}

func BenchmarkAcquireReleaseInAGroup(b *testing.B) {
	p, ctx := steadyPool(b, 4, perUser), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		l, err := p.Acquire(ctx, "app/1", limiter.ClassDefault)
		if err != nil {
			b.Fatal(err)
		}
		l.Release()
	}
}

func BenchmarkAcquireReleaseParallel(b *testing.B) {
	p, ctx := steadyPool(b, 64, nil), context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l, err := p.Acquire(ctx, "", limiter.ClassDefault)
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
	p, ctx := steadyPool(b, 2, nil), context.Background()
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l, err := p.Acquire(ctx, "", limiter.ClassDefault)
			if err != nil {
				b.Error(err)
				return
			}
			l.Release()
		}
	})
}
