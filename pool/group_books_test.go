package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
)

// audit counts everything anew and compares it with the books, which must be
// right whenever the lock is free.
func audit(p *Pool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	waits := make(map[*keyed]int)
	for w := p.queue.First(); w != nil; w = p.queue.Next(w) {
		waits[w.Want.key]++
	}
	var need, open, short, late, closable, idles int
	fresh := make(map[string]*group)
	for name, k := range p.keys {
		if k.waiting != waits[k] || k.name != name {
			return fmt.Errorf("%q: %d wait, counted %d", name, waits[k], k.waiting)
		}
		delete(waits, k)
		want := max(0, k.waiting-k.n[dialing]-k.n[looking])
		if k.need != want && (k.need != 0 || !k.hold.failing()) {
			return fmt.Errorf("%q: %d needed, counted %d", name, want, k.need)
		}
		need += k.need
		open += k.count()
		home, most := p.opts.group(name)
		if most == 0 {
			if k.group != nil {
				return fmt.Errorf("%q is in group %q, and should be in none", name, k.group.name)
			}
			continue
		}
		if k.group == nil || k.group != p.groups[home] || k.group.most != most {
			return fmt.Errorf("%q is not in group %q of %d", name, home, most)
		}
		g := fresh[home]
		if g == nil {
			g = &group{most: most}
			fresh[home] = g
		}
		g.keys++
		g.need += k.need
		g.open += k.count()
		for s, n := range k.n[:closed] {
			g.n[s] += n
		}
	}
	for name, g := range fresh {
		got := p.groups[name]
		g.n[closed] = got.n[closed]
		if got.n != g.n || got.open != g.open || got.need != g.need || got.keys != g.keys {
			return fmt.Errorf("group %q is %+v, counted %+v", name, g, got)
		}
		lacks := max(0, g.need-max(0, g.most-g.open+g.n[closing]))
		short += lacks
		late += max(0, g.need-max(0, g.most-g.open))
		closable += min(lacks, g.n[idle])
	}
	for c := p.idle.oldest; c != nil; c = c.newer {
		idles++
	}
	switch {
	case len(waits) > 0:
		return fmt.Errorf("waiters of %d forgotten keys", len(waits))
	case len(p.groups) != len(fresh):
		return fmt.Errorf("%d groups, %d in use", len(p.groups), len(fresh))
	case p.need != need || p.main.open != open || idles != p.main.n[idle]+p.main.n[looking]:
		return fmt.Errorf("needed %d, open %d, idle %d; counted %d, %d, %v", need, open, idles, p.need, p.main.open, p.main.n)
	case p.short != short || p.late != late || p.closable != closable:
		return fmt.Errorf("short %d, late %d, closable %d; counted %d, %d, %d", short, late, closable, p.short, p.late, p.closable)
	}
	return nil
}

// auditRest says what a pool at rest has left undone: who may be dialled for
// has a dialer, and nothing is idle whose place another needs and may have. It
// goes by the queue and the bounds, not by the pool's sums. And plan, asked
// again, starts no dialer that would find nothing and closes nothing more.
func auditRest(p *Pool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.hold.active(p.now()) {
		return nil
	}
	free, coming := max(0, p.opts.MaxOpen-p.main.open), p.coming()
	now, soon := make(map[string]int), make(map[string]int) // places left, by group
	mayDial, mayCome := 0, 0
	p.scan++
	for w := p.queue.First(); w != nil; w = p.queue.Next(w) {
		k := w.Want.key
		name, most := p.opts.group(k.name)
		if _, ok := now[name]; !ok && most > 0 {
			now[name], soon[name] = most, most
			for other, o := range p.keys {
				if home, _ := p.opts.group(other); home == name {
					now[name] -= o.count()
					soon[name] -= o.count() - o.n[closing]
				}
			}
		}
		if p.provided(w) {
			continue
		}
		if most == 0 || now[name] > 0 {
			now[name]--
			mayDial++
		}
		if most == 0 || soon[name] > 0 {
			soon[name]--
			mayCome++
			continue
		}
		for c := p.idle.oldest; c != nil; c = c.newer {
			if home, _ := p.opts.group(c.key.name); home == name && c.state == idle {
				return fmt.Errorf("%q waits, and %q of its full group is idle", k.name, c.key.name)
			}
		}
	}
	if idles := p.main.n[idle]; mayCome > coming && idles > 0 {
		return fmt.Errorf("%d wait for %d places, and %d connections are idle", mayCome, coming, idles)
	}
	want := min(mayDial, free, p.mostDialers()-p.main.n[dialing])
	if have := p.dialers - p.main.n[dialing]; have < want {
		return fmt.Errorf("%d dialers for %d who may have a connection now", have, want)
	}
	dialers, closes := p.dialers, p.main.n[closing]
	p.plan()
	if useful := min(mayDial+p.warmNeed(), free); p.dialers > dialers && p.dialers-p.main.n[dialing] > useful {
		return fmt.Errorf("%d new dialers for %d who may have a connection now", p.dialers-dialers, useful)
	}
	if p.main.n[closing] != closes {
		return fmt.Errorf("%d closed that nobody needs closed", p.main.n[closing]-closes)
	}
	return nil
}

// bounds are what a random reload sets.
type bounds struct {
	a, b int
	move bool // a/3 belongs to b
}

func (s bounds) group(key string) (string, int) {
	switch {
	case key[0] == 'c':
		return "c", 0
	case key[0] == 'b' || s.move && key == "a/3":
		return "b", s.b
	default:
		return "a", s.a
	}
}

// Whatever happens in whatever order, with rest after each step: the books are
// right, nothing useful is left undone, no dial begins in a group or a pool that
// is full, and everybody is served when the others are done.
func TestGroupsHoldTheirBoundsWhateverHappens(t *testing.T) {
	const seeds = 250
	dials := 0
	for seed := range uint64(seeds) {
		if dials += groupWalk(t, seed); t.Failed() {
			return
		}
	}
	if dials < 20*seeds {
		t.Errorf("%d dials try too little", dials)
	}
}

func groupWalk(t *testing.T, seed uint64) (dials int) {
	r := rand.New(rand.NewPCG(seed, 1))
	now, maxOpen := bounds{a: 2, b: 1}, 4
	apply := func(o *Options) { o.MaxOpen, o.Group = maxOpen, now.group }
	bubble(t, func(o *Options) {
		apply(o)
		o.QueueTimeout, o.DialConcurrent, o.Seed = 2*time.Hour, 1+r.IntN(3), seed+1
		o.DialRate, o.IdleTimeout, o.MaxLifetime = 100, 3*time.Second, 20*time.Second
		o.Quit = func(c sock.Conn, _ any, _ reason.Close) sock.How {
			<-time.After(time.Duration(c.(*fakeConn).id%4) * 5 * time.Millisecond)
			c.Close()
			return sock.HowPeerFirst
		}
		if r.IntN(3) == 0 {
			o.MinIdle, o.WarmKey = 1, "a/1"
		}
	}, func(x fixture) {
		x.b.mu.Lock()
		x.b.onDial = func(key string, openBy map[string]int) {
			home, most := now.group(key)
			all, ours := 0, 0
			for other, n := range openBy {
				all += n
				if name, _ := now.group(other); name == home {
					ours += n
				}
			}
			if most > 0 && ours > most || all > maxOpen {
				x.Errorf("seed %d: a dial for %q makes %d of %d in its group, %d of %d in all", seed, key, ours, most, all, maxOpen)
			}
		}
		x.b.mu.Unlock()
		var pending []<-chan result
		var held []Lease
		keys := []string{"a/1", "a/2", "a/3", "b/1", "b/2", "c/1"}
		collect := func() {
			settle()
			left := pending[:0]
			for _, w := range pending {
				select {
				case got := <-w:
					switch {
					case got.err == nil:
						held = append(held, got.Lease)
					case errors.Is(got.err, ErrQueueTimeout) || errors.Is(got.err, ErrQueueFull):
						x.Errorf("seed %d: %v", seed, got.err)
					}
				default:
					left = append(left, w)
				}
			}
			pending = left
		}
		drop := func() Lease {
			i := r.IntN(len(held))
			l := held[i]
			held = append(held[:i:i], held[i+1:]...)
			return l
		}
		step := func(n int) {
			settle() // a dial for MinIdle may have begun, which looks at the bounds
			switch {
			case n < 40:
				ctx, cancel := x.Context(), context.CancelFunc(func() {})
				if r.IntN(4) == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(500))*time.Millisecond)
				}
				key, fresh := keys[r.IntN(len(keys))], r.IntN(8) == 0
				out := make(chan result, 1)
				go func() {
					defer cancel()
					l, err := x.acquire(ctx, key, limiter.ClassDefault, fresh)
					out <- result{Lease: l, err: err}
				}()
				pending = append(pending, out)
			case n < 65 && len(held) > 0:
				drop().Release()
			case n < 70 && len(held) > 0:
				drop().Discard(reason.CloseSaidClose)
			case n < 74 && len(held) > 0:
				l := drop()
				c := fakeOf(l)
				l.Release()
				c.see(sock.PeerFIN)
			case n < 78:
				fails := []func(string) error{nil, nil, refuse, func(key string) error {
					if key == "a/2" {
						return &KeyError{errors.New("denied")}
					}
					return nil
				}}
				x.b.set(time.Duration(r.IntN(30))*time.Millisecond, fails[r.IntN(len(fails))])
			case n < 84:
				now, maxOpen = bounds{1 + r.IntN(3), 1 + r.IntN(2), r.IntN(4) == 0}, 2+r.IntN(4)
				x.apply(apply)
			default:
				pass(time.Duration(r.IntN(60)) * time.Millisecond)
			}
			collect()
			if err := audit(x.Pool); err != nil {
				x.Fatalf("seed %d: %v", seed, err)
			}
			if err := auditRest(x.Pool); err != nil {
				x.Fatalf("seed %d: %v", seed, err)
			}
		}
		for range 200 {
			step(r.IntN(100))
		}
		x.b.set(0, nil)
		for i := 0; len(pending)+len(held) > 0; i++ {
			if i > 1000 {
				x.Fatalf("seed %d: %d still wait: %+v", seed, len(pending), x.Stats())
			}
			for len(held) > 0 {
				drop().Release()
			}
			step(99)
		}
		pass(time.Second) // or a key that was refused is remembered still
		dials = x.b.dialled()
	})
	return dials
}
