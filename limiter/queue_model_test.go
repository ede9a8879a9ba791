package limiter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever comes, who is served is the first by the rules, and who is shed has
// waited too long, or has made room for one who is more important.
func TestQueueKeepsToItsRulesWhateverComes(t *testing.T) {
	var shed, displaced, newest int
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			q := &queueModel{crowd: newCrowd(t, 12, 80*ms), r: rand.New(rand.NewPCG(seed, 1)), waits: make(map[string]one)}
			for i := range 600 {
				q.step(i)
			}
			q.leave()
			shed, displaced, newest = shed+q.tooLong, displaced+q.displaced, newest+q.newest
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if shed < 500 || displaced < 500 || newest < 50 {
		t.Errorf("%d shed, %d displaced, %d served before older ones: that tries little", shed, displaced, newest)
	}
}

type one struct {
	class Class
	since time.Time
	n     int
}

type queueModel struct {
	*crowd
	r     *rand.Rand
	waits map[string]one

	tooLong, displaced, newest int
}

func (q *queueModel) step(i int) {
	switch n := q.r.IntN(100); {
	case n < 45:
		q.joins(i)
	case n < 75:
		q.serves()
	case n < 78:
		q.aim(time.Duration(q.r.IntN(3)) * ms)
	default:
		after(time.Duration(q.r.IntN(4000)) * time.Microsecond)
	}
	q.settle(0)
	q.Lock()
	defer q.Unlock()
	if q.Len() != len(q.waits) || q.Len() > 12 {
		q.t.Fatalf("%d wait, %d by the model", q.Len(), len(q.waits))
	}
}

func (q *queueModel) joins(i int) {
	name, class := fmt.Sprint(i), Class(1+q.r.IntN(5))
	least := Class(0)
	for _, o := range q.waits {
		least = max(least, o.class)
	}
	full := len(q.waits) == 12
	switch err := q.comes(name, class); {
	case err == nil:
		q.settle(class)
		q.waits[name] = one{class, time.Now(), i}
	case !full || class < least:
		q.t.Errorf("class %d refused among %d, the least important of class %d", class, len(q.waits), least)
	}
}

// serves checks that nobody of a more important class waits, and nobody older or,
// under overload, newer of the same.
func (q *queueModel) serves() {
	p := q.look()
	q.settle(0)
	q.serve(1)
	q.hear()
	if len(q.served) == 0 {
		if len(q.waits) > 0 {
			q.t.Errorf("nobody of %d served", len(q.waits))
		}
		return
	}
	got := q.waits[q.served[0]]
	delete(q.waits, q.served[0])
	q.served = nil
	over := !p.Overloaded[got.class].IsZero()
	for name, o := range q.waits {
		if o.class < got.class || o.class == got.class && (o.n > got.n) == over {
			q.t.Errorf("%+v served before %s %+v, overloaded %v", got, name, o, over)
		}
		if o.class == got.class && over {
			q.newest++
		}
	}
	q.settle(0)
}

// settle removes from the model who was shed. One may have made room for class,
// if that is not 0.
func (q *queueModel) settle(class Class) {
	synctest.Wait()
	for len(q.told) > 0 {
		f := <-q.told
		o := q.waits[f.name]
		waited := time.Since(o.since)
		delete(q.waits, f.name)
		switch {
		case f.err == nil:
			q.served = append(q.served, f.name)
			q.waits[f.name] = o
		case errors.Is(f.err, errEnd):
		case errors.Is(f.err, ErrQueueTimeout):
			if waited < 80*ms {
				q.t.Errorf("%+v timed out after %v", o, waited)
			}
		case !errors.Is(f.err, ErrShed):
			q.t.Errorf("%+v: %v", o, f.err)
		case q.target > 0 && waited > 2*q.target:
			q.tooLong++
		case class == 0 || class >= o.class:
			q.t.Errorf("%+v shed after %v, for class %d", o, waited, class)
		default:
			q.displaced++
			class = 0
			for name, other := range q.waits {
				if other.class > o.class {
					q.t.Errorf("%+v made room, and not %s %+v", o, name, other)
				}
			}
		}
	}
}

// hear moves who was served to q.served.
func (q *queueModel) hear() { q.settle(0) }
