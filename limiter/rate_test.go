package limiter

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func limitOf(t testing.TB, n int64, per time.Duration, burst int) Limit {
	t.Helper()
	l, err := NewLimit(n, per, burst)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestARateThatRestsGivesItsBurstAgain(t *testing.T) {
	limit, now := limitOf(t, 10, time.Second, 3), int64(time.Hour)
	for pause, want := range map[time.Duration]int{
		0: 3, 99 * time.Millisecond: 0, 100 * time.Millisecond: 1, 250 * time.Millisecond: 2, time.Hour: 3,
	} {
		r := NewRate(limit)
		if pause > 0 {
			for range 3 {
				r.Take(now)
			}
		}
		at := now + int64(pause)
		if left, _ := r.Left(at); left != want {
			t.Errorf("after %v: %d left, want %d", pause, left, want)
		}
		for i := range want {
			if _, ok := r.Take(at); !ok {
				t.Errorf("after %v: number %d of %d was refused", pause, i+1, want)
			}
		}
		if _, ok := r.Take(at); ok {
			t.Errorf("after %v: more than %d were let through", pause, want)
		}
	}
}

// Whoever waits as long as it was told finds a token, and one nanosecond earlier
// finds none.
func TestTheWaitIsExact(t *testing.T) {
	r := NewRate(limitOf(t, 3, time.Second, 2))
	now := int64(0)
	for range 2 {
		r.Take(now)
	}
	for i := range 100 {
		now += int64(i) * 1e6
		wait, ok := r.Take(now)
		if ok {
			continue
		}
		if again, ok := r.Take(now + int64(wait) - 1); ok || again != 1 {
			t.Fatalf("1ns before the wait of %v is over: %v, %v", wait, again, ok)
		}
		if now += int64(wait); !takes(r, now) {
			t.Fatalf("refused after the wait of %v", wait)
		}
	}
}

func takes(r *Rate, now int64) bool {
	_, ok := r.Take(now)
	return ok
}

// tokenBucket is a Rate in the plain form, with numbers that have no edges. Its
// level is in nanoseconds times the interval's worth of one token.
type tokenBucket struct {
	interval, most, level, last *big.Int
}

func newTokenBucket(l Limit, now int64) *tokenBucket {
	b := &tokenBucket{last: big.NewInt(now)}
	b.interval, b.most = big.NewInt(l.interval), new(big.Int).Mul(big.NewInt(l.interval), big.NewInt(l.burst))
	b.level = new(big.Int).Set(b.most)
	return b
}

func (b *tokenBucket) fill(now int64) {
	n := big.NewInt(now)
	b.level.Add(b.level, new(big.Int).Sub(n, b.last))
	b.last = n
	b.cut()
}

func (b *tokenBucket) cut() {
	if b.level.Cmp(b.most) > 0 {
		b.level.Set(b.most)
	}
	if b.level.Sign() < 0 {
		b.level.SetInt64(0)
	}
}

func (b *tokenBucket) take(now int64) (wait int64, ok bool) {
	b.fill(now)
	if b.level.Cmp(b.interval) < 0 {
		return new(big.Int).Sub(b.interval, b.level).Int64(), false
	}
	b.level.Sub(b.level, b.interval)
	return 0, true
}

func (b *tokenBucket) refund() { b.level.Add(b.level, b.interval); b.cut() }

func (b *tokenBucket) left(now int64) (tokens, full int64) {
	b.fill(now)
	return new(big.Int).Div(b.level, b.interval).Int64(), new(big.Int).Sub(b.most, b.level).Int64()
}

func (b *tokenBucket) set(l Limit, now int64) {
	b.fill(now)
	used := new(big.Int).Sub(b.most, b.level)
	used.Mul(used, big.NewInt(l.interval))
	used.Add(used, new(big.Int).Sub(b.interval, big.NewInt(1))) // rounded up
	used.Div(used, b.interval)
	n := newTokenBucket(l, now)
	n.level.Sub(n.most, used)
	n.cut()
	*b = *n
}

// script reads numbers from a fuzzer's bytes; at their end they are all 0.
type script []byte

func (s *script) next() uint64 {
	var b [8]byte
	n := copy(b[:], *s)
	*s = (*s)[n:]
	return binary.LittleEndian.Uint64(b[:])
}

// limit is any limit that NewLimit makes, the edges more often.
func (s *script) limit() Limit {
	pick := func(least, most int64) int64 {
		n := s.next()
		switch n % 8 {
		case 0:
			return least
		case 1:
			return most
		default: // all orders of magnitude alike
			return least + int64(n>>8)%(1+(most-least)>>(n>>3%32))
		}
	}
	return Limit{interval: pick(int64(minInterval), int64(maxInterval)), burst: pick(1, maxBurst)}
}

func FuzzARateIsATokenBucket(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		b := make([]byte, 8*300)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := script(b)
		limit := s.limit()
		now := max(earliest, int64(s.next())/2)
		r, model := NewRate(limit), newTokenBucket(limit, now)
		taken := 0
		for len(s) > 0 {
			switch n := s.next(); n % 16 {
			case 0:
				limit = s.limit()
				r.Set(limit, now)
				model.set(limit, now)
			case 1, 2:
				if taken > 0 {
					taken--
					r.Refund()
					model.refund()
				}
			case 3, 4:
				tokens, full := r.Left(now)
				if wantTokens, wantFull := model.left(now); int64(tokens) != wantTokens || int64(full) != wantFull {
					t.Fatalf("%+v: %d left, full in %d; want %d and %d", limit, tokens, full, wantTokens, wantFull)
				}
			case 5, 6, 7: // some time passes, of any order of magnitude
				if pass := int64(s.next()>>2) >> (n >> 4 % 62); pass < latest-now || now < 0 {
					now += pass
				}
			case 8: // to the edge of the next token
				wait, ok := model.take(now)
				if ok {
					model.refund()
				}
				if now < latest-wait {
					now += wait
				}
			default:
				wait, ok := r.Take(now)
				if wantWait, wantOK := model.take(now); int64(wait) != wantWait || ok != wantOK {
					t.Fatalf("%+v: Take: %d, %v; want %d, %v", limit, wait, ok, wantWait, wantOK)
				}
				if ok {
					taken++
				}
			}
		}
	})
}

// spend leaves n tokens used at now, which may be more than it is quick to take.
func spend(r *Rate, now, n int64) {
	s := r.state.Load()
	s.tat.Store(clamp(now) + n*s.interval)
}

func TestARateHoldsAtTheEdgesOfTime(t *testing.T) {
	times := []int64{math.MinInt64, math.MinInt64 + 1, earliest, -1, 0, 1, math.MaxInt64 / 2, latest, math.MaxInt64 - 1, math.MaxInt64}
	for _, l := range []Limit{
		{int64(minInterval), 1}, {int64(maxInterval), 1}, {int64(minInterval), maxBurst}, {int64(maxInterval), maxBurst},
	} {
		for _, now := range times {
			r := NewRate(l)
			if left, full := r.Left(now); left != l.Burst() || full != 0 {
				t.Errorf("%+v at %d: %d left at first, full in %v", l, now, left, full)
			}
			spend(r, now, l.burst-1)
			if left, _ := r.Left(now); left != 1 || !takes(r, now) {
				t.Errorf("%+v at %d: the last of the burst was refused, %d left", l, now, left)
			}
			for _, then := range times {
				if then <= now {
					if wait, ok := r.Take(then); ok || wait < l.Interval() {
						t.Errorf("%+v: burst taken at %d, one more at %d: %v, %v", l, now, then, wait, ok)
					}
				}
				if left, full := r.Left(then); left < 0 || left > l.Burst() || full < 0 {
					t.Errorf("%+v: burst taken at %d, at %d %d are left, full in %v", l, now, then, left, full)
				}
			}
			r.Refund()
			if left, _ := r.Left(now); left != 1 {
				t.Errorf("%+v at %d: one given back, %d left", l, now, left)
			}
			spend(r, now, 1)
			for range 10 {
				r.Refund()
			}
			if left, full := r.Left(now); left != l.Burst() || full != 0 {
				t.Errorf("%+v at %d: more given back than taken, %d left, full in %v", l, now, left, full)
			}
		}
	}
}

// Refunds that nobody took for must not go round the end of time: this many do.
func TestRefundsWithoutEndStayFull(t *testing.T) {
	r := NewRate(Limit{int64(maxInterval), 2})
	r.Take(math.MinInt64)
	for range 1_500_000 {
		r.Refund()
	}
	if left, full := r.Left(math.MinInt64); left != 2 || full != 0 {
		t.Errorf("%d left, full in %v", left, full)
	}
}

func TestANewLimitKeepsWhatWasUsed(t *testing.T) {
	for _, c := range []struct {
		name     string
		old      Limit
		used     int
		rest     time.Duration
		new      Limit
		wantLeft int
		wantFull time.Duration
	}{
		{"an hour's debt is not an hour's under 1000/s", limitOf(t, 1, time.Hour, 10), 10, 0, limitOf(t, 1000, time.Second, 10), 0, 10 * time.Millisecond},
		{"a slower one gives no new burst", limitOf(t, 1000, time.Second, 10), 10, 0, limitOf(t, 1, time.Hour, 10), 0, 10 * time.Hour},
		{"a greater burst gives the difference", limitOf(t, 1, time.Second, 10), 6, 0, limitOf(t, 1, time.Second, 20), 14, 6 * time.Second},
		{"a smaller burst bounds what is used", limitOf(t, 1, time.Second, 10), 6, 0, limitOf(t, 1, time.Second, 4), 0, 4 * time.Second},
		{"half a token stays half", limitOf(t, 1, time.Second, 10), 1, 500 * time.Millisecond, limitOf(t, 1, time.Minute, 10), 9, 30 * time.Second},
		{"a rest before it counts at the old rate", limitOf(t, 10, time.Second, 10), 10, 500 * time.Millisecond, limitOf(t, 1, time.Hour, 10), 5, 5 * time.Hour},
		{"no limit forgets", limitOf(t, 1, time.Hour, 10), 10, 0, Limit{}, math.MaxInt, 0},
	} {
		r, all := NewRate(c.old), ratesOf(t, c.old, 1)
		for range c.used {
			r.Take(0)
			all.Take(7, 0)
		}
		now := int64(c.rest)
		r.Set(c.new, now)
		all.Set(c.new, now)
		if left, full := r.Left(now); left != c.wantLeft || full != c.wantFull {
			t.Errorf("%s: %d left, full in %v; want %d, %v", c.name, left, full, c.wantLeft, c.wantFull)
		}
		if left, full := all.Left(7, now); left != c.wantLeft || full != c.wantFull {
			t.Errorf("%s, of a key: %d left, full in %v; want %d, %v", c.name, left, full, c.wantLeft, c.wantFull)
		}
	}
}

func TestTheZeroRateAndTheZeroLimitLetEverythingThrough(t *testing.T) {
	var zero Rate
	set := NewRate(limitOf(t, 1, time.Hour, 1))
	set.Take(0)
	set.Set(Limit{}, 0)
	for _, r := range []*Rate{&zero, set} {
		for i := range 10 {
			if !takes(r, -int64(i)) { // a little late, too
				t.Error("refused without a limit")
			}
		}
		r.Refund()
		if left, full := r.Left(0); left != math.MaxInt || full != 0 || r.Limit() != (Limit{}) {
			t.Errorf("%d left, full in %v, of %+v", left, full, r.Limit())
		}
	}
	set.Set(limitOf(t, 1, time.Hour, 2), 0)
	if left, _ := set.Left(0); left != 2 {
		t.Errorf("a limit after none begins with %d left", left)
	}
}

// With callers on all sides, at one time: not one token more or less than the
// burst, though some are given back and the rate, not the burst, is changed.
func TestNoTokenIsLostOrMadeByManyAtOnce(t *testing.T) {
	const (
		burst   = 400_000
		workers = 8
		takings = 100_000 // of each, and a third are given back: more than the burst
		now     = int64(1e18)
	)
	limits := []Limit{limitOf(t, 1, time.Hour, burst), limitOf(t, 1e6, time.Second, burst), limitOf(t, 7, time.Second, burst)}
	r := NewRate(limits[0])
	var net atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			var mine int64
			for i := range takings {
				if takes(r, now) {
					if mine++; i%3 == 0 {
						mine--
						r.Refund()
					}
				}
				switch {
				case w == 0:
					r.Set(limits[i%3], now)
				case i%64 == 0:
					if left, _ := r.Left(now); left < 0 || left > burst {
						t.Errorf("%d left", left)
					}
				}
			}
			net.Add(mine)
		})
	}
	wg.Wait()
	for takes(r, now) {
		net.Add(1)
	}
	if net.Load() != burst {
		t.Errorf("%d let through, want %d", net.Load(), burst)
	}
}

// Whoever looked at the state before Set must not write to it after: what it
// took would be lost.
func TestSetTakesTheStateAwayFromThoseWhoHaveIt(t *testing.T) {
	r := NewRate(limitOf(t, 1, time.Second, 10))
	r.Take(0)
	s, old := r.load()
	tat, _ := s.take(old, 0)
	r.Set(limitOf(t, 1, time.Minute, 10), 0)
	if s.tat.CompareAndSwap(old, tat) {
		t.Error("a token was taken from a state that is no more")
	}
	if left, full := r.Left(0); left != 9 || full != time.Minute {
		t.Errorf("%d left, full in %v", left, full)
	}
}

func TestALimitIsNeverAboveItsRateAndHardlyBelow(t *testing.T) {
	for _, c := range []struct {
		n   int64
		per time.Duration
	}{{1, time.Hour}, {7, time.Minute}, {3, time.Second}, {5000, time.Second}, {666_667, time.Second}, {999_999, time.Second}, {1_000_000, time.Second}, {3_600_000_000, time.Hour}} {
		l := limitOf(t, c.n, c.per, 1)
		got, want := float64(c.per)/float64(l.Interval()), float64(c.n)
		if got > want || got < want*(1-1.0/1000) {
			t.Errorf("%d per %v: %v", c.n, c.per, got)
		}
	}
}

func TestALimitOutOfRangeIsRefused(t *testing.T) {
	for _, c := range []struct {
		n     int64
		per   time.Duration
		burst int
	}{
		{0, time.Second, 1}, {-1, time.Second, 1}, {1, 0, 1}, {1, -1, 1}, {1_000_001, time.Second, 1}, {math.MaxInt64, time.Second, 1},
		{math.MaxInt64, 1, 1}, {1, math.MaxInt64, 1}, {1, time.Hour + 1, 1}, {1, time.Second, 0}, {1, time.Second, -1}, {1, time.Second, maxBurst + 1},
	} {
		if l, err := NewLimit(c.n, c.per, c.burst); err == nil || l != (Limit{}) {
			t.Errorf("%d per %v, burst %d: %+v, %v", c.n, c.per, c.burst, l, err)
		}
	}
}
