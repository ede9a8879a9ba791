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

// Whatever happens in whatever order, with rest after each step: nobody is lost,
// no more are leased than the in-flight bound allows, no less important waiter is
// served where a more important one would have been, nobody is shed who has not
// waited for longer than twice the target or made room for somebody more
// important, and whoever may be served is.
func TestTheQueueKeepsToItsRulesWhateverHappens(t *testing.T) {
	const seeds = 250
	var all modelCounts
	for seed := range uint64(seeds) {
		all.add(modelWalk(t, seed))
		if t.Failed() {
			return
		}
	}
	t.Logf("%+v", all)
	if all.served < 40*seeds || all.overtook < 500 || all.shed < 100 || all.displaced < 100 || all.kept < 1000 || all.raised < 100 {
		t.Errorf("%+v is little", all)
	}
}

type modelCounts struct {
	served, overtook int // overtook somebody less important
	shed, displaced  int
	kept             int // steps at whose end the in-flight bound kept somebody
	raised           int // steps that raised it and served somebody
}

func (c *modelCounts) add(d modelCounts) {
	c.served += d.served
	c.overtook += d.overtook
	c.shed += d.shed
	c.displaced += d.displaced
	c.kept += d.kept
	c.raised += d.raised
}

// modelWaiter is one who waits, or has just been told its fate.
type modelWaiter struct {
	n      int
	key    string
	class  limiter.Class
	fresh  bool
	since  time.Time
	cancel bool // its context may end
	out    <-chan result
	result
}

// before says whether w is to be served before o if both can be.
func (w *modelWaiter) before(o *modelWaiter, overloaded bool) bool {
	if w.class != o.class {
		return w.class < o.class
	}
	return (w.n < o.n) != overloaded
}

type queueWalk struct {
	fixture
	r      *rand.Rand
	waits  []*modelWaiter
	held   []Lease
	n      int
	target time.Duration
	most   int // the in-flight bound
	came   limiter.Class
	modelCounts
}

func modelWalk(t *testing.T, seed uint64) (counts modelCounts) {
	r := rand.New(rand.NewPCG(seed, 7))
	grouped := seed%2 == 0
	set := func(o *Options) {
		o.MaxOpen, o.QueueMax, o.QueueTimeout = 2+r.IntN(4), 3+r.IntN(6), 300*ms
		if grouped {
			o.Group = groups(map[string]int{"a": 1 + r.IntN(3), "b": 1 + r.IntN(2)})
		}
	}
	bubble(t, func(o *Options) {
		set(o)
		o.DialConcurrent, o.Seed = 1+r.IntN(3), seed+1
		o.Quit = func(c sock.Conn, _ any, _ reason.Close) sock.How {
			<-time.After(time.Duration(c.(*fakeConn).id%3) * 3 * ms)
			c.Close()
			return sock.HowPeerFirst
		}
	}, func(x fixture) {
		q := &queueWalk{fixture: x, r: r}
		for i := range 250 {
			q.step(set)
			if t.Failed() {
				t.Fatalf("seed %d, step %d: %+v", seed, i, x.Stats())
			}
		}
		x.b.set(0, nil)
		for i := 0; len(q.waits)+len(q.held) > 0; i++ {
			if i > 200 {
				t.Fatalf("seed %d: %d are lost: %+v", seed, len(q.waits), x.Stats())
			}
			for len(q.held) > 0 {
				q.drop().Release()
			}
			pass(10 * ms)
			q.collect(nil, nil)
		}
		counts = q.modelCounts
		pass(time.Second)
	})
	return counts
}

func (q *queueWalk) drop() Lease {
	i := q.r.IntN(len(q.held))
	l := q.held[i]
	q.held = append(q.held[:i:i], q.held[i+1:]...)
	return l
}

func (q *queueWalk) step(set func(*Options)) {
	settle()
	before := q.Stats()
	waited := append([]*modelWaiter(nil), q.waits...)
	q.came = 0
	switch n := q.r.IntN(100); {
	case n < 45:
		q.asks()
	case n < 68 && len(q.held) > 0:
		l := q.drop()
		switch q.r.IntN(8) {
		case 0:
			l.Discard(reason.CloseSaidClose)
		case 1:
			l.Unused()
		case 2:
			fakeOf(l).see(sock.PeerFIN)
			l.Release()
		default:
			l.Release()
		}
	case n < 76:
		most := q.most
		q.most = q.r.IntN(6)
		q.SetInFlight(q.most)
		if served := q.served; most > 0 && (q.most == 0 || q.most > most) {
			if q.collect(&before, waited); q.served > served {
				q.raised++
			}
		}
	case n < 79:
		q.target = time.Duration(q.r.IntN(3)) * ms
		q.SetTarget(q.target)
	case n < 81:
		q.apply(set)
	case n < 84:
		q.b.set(time.Duration(q.r.IntN(12))*ms, nil)
	default:
		pass(time.Duration(q.r.IntN(9)) * ms)
		waited = nil // many things may have happened, one after the other
	}
	q.collect(&before, waited)
	q.books()
}

func (q *queueWalk) asks() {
	keys := []string{"a/1", "a/1", "a/1", "a/2", "b/1", "c"}
	w := &modelWaiter{n: q.n, key: keys[q.r.IntN(len(keys))], class: limiter.Class(1 + q.r.IntN(5)), fresh: q.r.IntN(10) == 0, since: time.Now()}
	q.n++
	ctx := context.Background()
	if w.cancel = q.r.IntN(8) == 0; w.cancel {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(q.r.IntN(50))*ms)
		defer time.AfterFunc(time.Second, cancel)
	}
	q.came = w.class
	w.out = q.askFor(ctx, w.key, w.class, w.fresh)
	q.waits = append(q.waits, w)
}

// collect hears what became of whom in a step. waited are those who waited all
// the time, and before is what was at its beginning; both nil if nobody knows.
func (q *queueWalk) collect(before *Stats, waited []*modelWaiter) {
	settle()
	left := q.waits[:0]
	var served []*modelWaiter
	displaced := 0
	for _, w := range q.waits {
		select {
		case w.result = <-w.out:
		default:
			left = append(left, w)
			continue
		}
		switch {
		case w.err == nil:
			served = append(served, w)
			q.held = append(q.held, w.Lease)
			q.served++
		case errors.Is(w.err, ErrShed):
			if q.target > 0 && w.took > 2*q.target {
				q.shed++
			} else if displaced++; displaced > 1 || q.came == 0 || q.came >= w.class {
				q.Errorf("%+v shed after %v, for class %d", w, w.took, q.came)
			} else {
				q.displaced++
			}
		case errors.Is(w.err, ErrQueueTimeout) && w.took >= 300*ms, errors.Is(w.err, ErrQueueFull) && w.took == 0:
		case errors.Is(w.err, context.DeadlineExceeded) && w.cancel:
		default:
			q.Errorf("%+v: %v after %v", w, w.err, w.took)
		}
	}
	q.waits = left
	if before == nil {
		return
	}
	after := q.Stats()
	if q.most > 0 && after.Leased > max(q.most, min(before.Leased, after.Leased)) {
		q.Errorf("%d leased, %d before, the bound is %d", after.Leased, before.Leased, q.most)
	}
	for _, w := range served {
		over := !after.Queue.Overloaded[w.class].IsZero()
		was := !before.Queue.Overloaded[w.class].IsZero()
		for _, o := range waited {
			if o == w || o.err != nil || o.Valid() {
				continue // does not wait any more
			}
			clear := o.class != w.class || was == over // which of them is first
			if clear && o.before(w, over) && o.key == w.key && !(o.fresh && w.Reused()) {
				q.Errorf("%+v was served before %+v, overloaded %v", w, o, over)
			}
			if w.class < o.class {
				q.overtook++
			}
		}
	}
}

// books checks what must be true whenever nothing moves.
func (q *queueWalk) books() {
	if err := auditQueue(q.Pool); err != nil {
		q.Error(err)
	}
	if err := auditDials(q.Pool); err != nil {
		q.Error(err)
	}
	p := q.Pool
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := p.queue.First(); w != nil; w = p.queue.Next(w) {
		if p.kept(w) {
			if q.most == 0 || p.main.n[leased] < q.most {
				q.Errorf("%q waits, class %d, one is idle, %d are leased, and the bound is %d", w.Want.key.name, w.Level(), p.main.n[leased], q.most)
			}
			q.kept++
			break
		}
	}
}

// auditQueue counts anew what the pool's books say of those who wait.
func auditQueue(p *Pool) error {
	if !p.boundedNow() {
		if err := audit(p); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	type sums struct {
		waits        [limiter.Classes]int
		fresh, total int
	}
	byKey := make(map[*keyed]*sums)
	passed, granted, need := 0, 0, 0
	for w := p.queue.First(); w != nil; w = p.queue.Next(w) {
		s := byKey[w.Want.key]
		if s == nil {
			s = &sums{}
			byKey[w.Want.key] = s
		}
		s.total++
		s.waits[w.Level()]++
		if w.Want.fresh {
			s.fresh++
		}
		if w.Passed > 0 {
			passed++
		}
	}
	for _, k := range p.keys {
		s := byKey[k]
		if s == nil {
			s = &sums{}
		}
		if k.waiting != s.total || k.fresh != s.fresh || k.waits != s.waits {
			return fmt.Errorf("%q: %+v wait; counted %d, %d fresh, %v", k.name, *s, k.waiting, k.fresh, k.waits)
		}
		want := max(0, s.total-min(k.n[idle], s.total-s.fresh)-k.n[dialing]-k.n[looking])
		if k.need != want && (k.need != 0 || !k.hold.failing()) {
			return fmt.Errorf("%q: %d needed, counted %d", k.name, want, k.need)
		}
		need += k.need
		granted += k.granted
		delete(byKey, k)
	}
	if len(byKey) > 0 || p.passed != passed || p.granted != granted || p.need != need {
		return fmt.Errorf("waiters of %d forgotten keys; passed %d, granted %d, needed %d; counted %d, %d, %d",
			len(byKey), passed, granted, need, p.passed, p.granted, p.need)
	}
	return nil
}

// auditDials says what a pool at rest has left undone: who may have a dial has a
// dialer, and plan, asked again, does nothing. Without room, nobody is served
// before a lease ends, and then plan is asked anyway.
func auditDials(p *Pool) error {
	if !p.boundedNow() {
		return auditRest(p)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.room() <= p.main.n[dialing] {
		return nil
	}
	if p.main.open < p.opts.MaxOpen && p.main.n[dialing] < p.mostDialers() && p.firstInNeed() != nil && p.dialers == p.main.n[dialing] {
		return fmt.Errorf("nobody dials for %+v", p.firstInNeed().Want)
	}
	dialers, closes := p.dialers, p.main.n[closing]
	p.plan()
	if p.dialers != dialers || p.main.n[closing] != closes {
		return fmt.Errorf("%d dialers and %d closes that were not thought of before", p.dialers-dialers, p.main.n[closing]-closes)
	}
	return nil
}

func (p *Pool) boundedNow() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bounded()
}
