package limiter

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func ratesOf(t testing.TB, limit Limit, keys int) *Rates {
	t.Helper()
	r, err := NewRates(limit, keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func randomKeys(n int, seed uint64) []Key {
	rng := rand.New(rand.NewPCG(seed, 0))
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = Key(rng.Uint64())
	}
	return keys
}

// With room for all, a key's rate is exactly what a Rate of its own would be.
func TestEachKeyHasARateOfItsOwn(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	limit := limitOf(t, 10, time.Second, 5)
	all := ratesOf(t, limit, 4000)
	keys := append(randomKeys(500, 1), 0, math.MaxUint64)
	own := map[Key]*Rate{}
	taken := map[Key]int{}
	for _, k := range keys {
		own[k] = NewRate(limit)
	}
	now := -int64(time.Second)
	for range 200_000 {
		k := keys[rng.IntN(len(keys))]
		now += rng.Int64N(int64(500 * time.Microsecond))
		switch n := rng.IntN(1000); {
		case n == 0:
			limit = limitOf(t, 1+rng.Int64N(20), time.Second, 1+rng.IntN(10))
			all.Set(limit, now)
			for _, r := range own {
				r.Set(limit, now)
			}
			if all.Limit() != limit {
				t.Fatalf("limit %+v, want %+v", all.Limit(), limit)
			}
		case n < 100:
			if taken[k] > 0 {
				taken[k]--
				all.Refund(k)
				own[k].Refund()
			}
		case n < 200:
			left, full := all.Left(k, now)
			if wantLeft, wantFull := own[k].Left(now); left != wantLeft || full != wantFull {
				t.Fatalf("%d left, full in %v; want %d, %v", left, full, wantLeft, wantFull)
			}
		default:
			wait, ok := all.Take(k, now)
			if wantWait, wantOK := own[k].Take(now); wait != wantWait || ok != wantOK {
				t.Fatalf("Take: %v, %v; want %v, %v", wait, ok, wantWait, wantOK)
			}
			if ok {
				taken[k]++
			}
		}
	}
	live := 0
	for _, r := range own {
		if _, full := r.Left(now); full > 0 {
			live++
		}
	}
	if st := all.Stats(now); st.Keys != live || st.Evicted != 0 || live < 50 {
		t.Errorf("%+v, want %d keys", st, live)
	}
	if st := all.Stats(now + int64(time.Hour)); st.Keys != 0 {
		t.Errorf("%d keys count after a rest", st.Keys)
	}
}

// The same for many keys as TestNoTokenIsLostOrMadeByManyAtOnce for one Rate: at
// one time each key gets its burst, all of it and no more.
func TestEachKeyGetsItsBurstWithManyAtOnce(t *testing.T) {
	const (
		burst   = 300
		workers = 8
		now     = int64(1e18)
	)
	limits := []Limit{limitOf(t, 1, time.Hour, burst), limitOf(t, 1e6, time.Second, burst), limitOf(t, 7, time.Second, burst)}
	all, keys := ratesOf(t, limits[0], 2048), randomKeys(100, 10) // two shards
	var net [100]atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(11, uint64(w)))
			for i := range 10_000 {
				k := rng.IntN(len(keys))
				if _, ok := all.Take(keys[k], now); ok {
					if net[k].Add(1); i%3 == 0 {
						net[k].Add(-1)
						all.Refund(keys[k])
					}
				}
				if left, _ := all.Left(keys[k], now); left < 0 || left > burst {
					t.Errorf("%d left", left)
				}
				if i%256 == 0 {
					all.Set(limits[(i/256+w)%3], now)
					if st := all.Stats(now); st.Keys > len(keys) || st.Evicted != 0 {
						t.Errorf("%+v with %d keys", st, len(keys))
					}
				}
			}
		})
	}
	wg.Wait()
	for k := range keys {
		for {
			if _, ok := all.Take(keys[k], now); !ok {
				break
			}
			net[k].Add(1)
		}
		if n := net[k].Load(); n != burst {
			t.Errorf("key %d was let through %d times, want %d", k, n, burst)
		}
	}
}

// A million keys come once in a hundred intervals each, in random order, and one
// comes a hundred times in each: it gets what it would get alone.
func TestAMillionKeysDoNotDisturbEachOther(t *testing.T) {
	const (
		n      = 1 << 20
		step   = 1000                  // ns between two of them
		rounds = 2                     // each comes as often
		hotly  = 105                   // the hot one comes after as many others
		limit  = int64(step) * n / 100 // ns
		burst  = 5
		want   = rounds*n*step/limit + burst // of the hot one
	)
	all := ratesOf(t, Limit{limit, burst}, n)
	keys := randomKeys(n, 5)
	hot, alone := KeyOfString("hot"), NewRate(Limit{limit, burst})
	refused, passed := 0, 0
	var now int64
	for round := range rounds {
		for i := range n {
			k := keys[uint64(i)*uint64(2*round+1)*12345679%n] // odd: each once, in another order each round
			if now += step; i%hotly == 0 {
				_, ok := all.Take(hot, now)
				if ok {
					passed++
				}
				if takes(alone, now) != ok {
					t.Fatalf("the hot key: %v, and alone it is %v", ok, !ok)
				}
			}
			if _, ok := all.Take(k, now); !ok {
				refused++
			}
		}
	}
	if refused > 0 {
		t.Errorf("%d of keys far under their rate were refused", refused)
	}
	if math.Abs(float64(passed-int(want))) > float64(want)/100 {
		t.Errorf("the hot key passed %d times, want %d", passed, want)
	}
	if st := all.Stats(now); st.Evicted != 0 || st.Keys < 9_500 || st.Keys > 11_000 || st.Capacity != n {
		t.Errorf("%+v; 10,486 keys came in the last interval", st)
	}
}

// What the doc comment of Rates says of crowding.
func TestHardlyAKeyIsForgottenWhileAQuarterIsFree(t *testing.T) {
	const n = 1 << 18
	all := ratesOf(t, Limit{int64(time.Hour), 2}, n)
	keys := randomKeys(n, 8)
	for _, c := range []struct {
		full   float64 // share of the capacity
		atMost float64 // share of the keys forgotten
	}{{0.75, 0.0001}, {0.875, 0.006}, {1, 0.05}} {
		part := keys[:int(c.full*n)]
		for _, k := range part {
			if left, _ := all.Left(k, 1); left == 2 {
				all.Take(k, 1)
			}
		}
		st := all.Stats(1)
		if share := float64(st.Evicted) / float64(len(part)); share > c.atMost {
			t.Errorf("%.1f%% full: %d forgotten, %.5f of all", c.full*100, st.Evicted, share)
		}
		if c.full < 0.8 && st.Keys+int(st.Evicted) != len(part) {
			t.Errorf("%d keys came: %+v", len(part), st)
		}
	}
}

// In a table of two buckets, which all keys share.
func TestTheKeyNearestToItsRestMakesRoom(t *testing.T) {
	all := ratesOf(t, limitOf(t, 1, time.Second, 10), 16)
	keys := randomKeys(33, 9)
	for i, k := range keys[:16] {
		used := 2 + i%8
		if i == 12 {
			used = 1
		}
		for range used {
			all.Take(k, 0)
		}
	}
	if st := all.Stats(0); st.Keys != 16 || st.Evicted != 0 {
		t.Fatalf("%+v with 16 of 16 places used", st)
	}
	if _, ok := all.Take(keys[16], 0); !ok {
		t.Error("a new key was refused")
	}
	if st := all.Stats(0); st.Keys != 16 || st.Evicted != 1 {
		t.Errorf("%+v after one key too many", st)
	}
	for i, k := range keys[:17] {
		if left, _ := all.Left(k, 0); (left == 10) != (i == 12) {
			t.Errorf("key %d has %d left", i, left)
		}
	}

	// Once they have rested, others come and nothing is lost.
	now := int64(10 * time.Second)
	for _, k := range keys[17:33] {
		all.Take(k, now)
	}
	if st := all.Stats(now); st.Keys != 16 || st.Evicted != 1 {
		t.Errorf("%+v after as many new keys as there is room for", st)
	}
}

func TestATableIsAsLargeAsItSays(t *testing.T) {
	for _, c := range []struct{ keys, capacity, bytes int }{
		{1, 16, 16*16 + 64 + 32},
		{1024, 1024, 1024*16 + 64 + 32},
		{1_000_000, 1_003_520, 1_003_520*16 + 512*64 + 32}, // 512 shards of 245 buckets
		{1 << 20, 1 << 20, 1<<24 + 1024*64 + 32},
	} {
		all := ratesOf(t, Limit{}, c.keys)
		if got := all.Stats(0).Capacity; got != c.capacity {
			t.Errorf("for %d keys: room for %d, want %d", c.keys, got, c.capacity)
		}
		if got := all.Bytes(); got != c.bytes {
			t.Errorf("for %d keys: %d bytes, want %d", c.keys, got, c.bytes)
		}
	}
	for _, keys := range []int{math.MinInt, 0, maxKeys + 1, math.MaxInt} {
		if _, err := NewRates(Limit{}, keys); err == nil {
			t.Errorf("a table for %d keys was made", keys)
		}
	}
}

func TestRatesWithoutALimitLetEverythingThrough(t *testing.T) {
	all := ratesOf(t, Limit{}, 100)
	for i := range 10 {
		if _, ok := all.Take(1, -int64(i)); !ok { // a little late, too
			t.Error("refused without a limit")
		}
	}
	all.Refund(1)
	if left, full := all.Left(1, 0); left != math.MaxInt || full != 0 {
		t.Errorf("%d left, full in %v", left, full)
	}
	all.Set(limitOf(t, 1, time.Second, 3), 0)
	if left, _ := all.Left(1, 0); left != 3 {
		t.Errorf("a limit after none begins with %d left", left)
	}
}

func TestAnAddressCountsByItsPrefix(t *testing.T) {
	for _, c := range []struct {
		a, b         string
		bits4, bits6 int
		same         bool
	}{
		{"10.1.2.3", "10.1.2.3", 32, 64, true},
		{"10.1.2.3", "10.1.2.4", 32, 64, false},
		{"10.1.2.3", "10.1.2.4", 24, 64, true},
		{"10.1.2.3", "10.1.3.3", 24, 64, false},
		{"10.1.2.3", "::ffff:10.1.2.3", 32, 64, true},
		{"::ffff:10.1.2.3", "::ffff:10.1.2.4", 32, 64, false}, // not one /64
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", 32, 64, true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", 32, 64, false},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", 32, 60, true},
		{"fe80::1%eth0", "fe80::1%eth1", 32, 128, true},
		{"fe80::1%eth0", "fe80::1", 32, 128, true},
		{"fe80::1", "fe80::2", 32, 128, false},
		{"10.1.2.3", "192.168.0.1", 0, 0, true},
		{"10.1.2.3", "2001:db8::1", 0, 0, false},
		{"10.1.2.3", "2001:db8::1", -5, -5, false},
		{"10.1.2.3", "10.1.2.4", 999, 999, false},
		{"2001:db8::1", "2001:db8::2", 999, 999, false},
		{"", "10.1.2.3", 0, 0, false},
		{"", "", 32, 64, true},
		{"", "::", 0, 0, false},
		{"0.0.0.0", "::", 0, 0, false},
	} {
		var a, b netip.Addr
		if c.a != "" {
			a = netip.MustParseAddr(c.a)
		}
		if c.b != "" {
			b = netip.MustParseAddr(c.b)
		}
		if same := KeyOfAddr(a, c.bits4, c.bits6) == KeyOfAddr(b, c.bits4, c.bits6); same != c.same {
			t.Errorf("%q and %q by /%d and /%d: same is %v", c.a, c.b, c.bits4, c.bits6, same)
		}
	}
	a := netip.MustParseAddr("10.0.0.0")
	if KeyOfAddr(a, 8, 64) == KeyOfAddr(a, 16, 64) {
		t.Error("10.0.0.0/8 and 10.0.0.0/16 are one key")
	}
}

func TestTextsWithTheSameBytesAreOneKey(t *testing.T) {
	if KeyOfString("alice") != KeyOfBytes([]byte("alice")) {
		t.Error("a string and its bytes are two keys")
	}
	if KeyOfString("alice") == KeyOfString("bob") || KeyOfString("") != KeyOfBytes(nil) {
		t.Error("texts and keys do not match")
	}
	b := [17]byte{10: 255, 11: 255, 12: 10, 13: 1, 14: 2, 15: 3, 16: 32}
	if KeyOfBytes(b[:]) == KeyOfAddr(netip.MustParseAddr("10.1.2.3"), 32, 64) {
		t.Error("a text can be chosen to be an address")
	}
}
