package limiter

import (
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"net/netip"
	"sync"
	"time"
	"unsafe"
)

// Key stands for who is counted: a hash, seeded anew in each process, so that
// nobody can choose values that meet. By chance two keys do once in 2^64; any
// two of a million, once in 30 million runs. Keys must not be stored, nor made
// in any other way: a table relies on even bits.
type Key uint64

// Texts and addresses have seeds of their own: a header field with the bytes of
// an address is another key.
var (
	addrSeed = maphash.MakeSeed()
	textSeed = maphash.MakeSeed()
)

// KeyOfAddr is the key of the network that a is in, by the leading bits that
// count: all of an IPv6 /64 is usually one client. An IPv4 address in IPv6 form
// is an IPv4 address, and a zone does not count. All addresses that are none,
// such as a unix socket's, are one key. Bits out of range are the nearest in it.
func KeyOfAddr(a netip.Addr, ipv4Bits, ipv6Bits int) Key {
	a = a.Unmap()
	n := ipv6Bits
	if a.Is4() {
		n = ipv4Bits
	}
	n = max(0, min(n, a.BitLen()))
	b := [17]byte{16: 255} // of no address
	if p, err := a.Prefix(n); err == nil && p.IsValid() {
		addr := p.Addr().As16()
		copy(b[:], addr[:])
		b[16] = byte(n) // 10.0.0.0/8 and 10.0.0.0/16 are two
	}
	return Key(maphash.Bytes(addrSeed, b[:]))
}

// KeyOfBytes is the key of a text, such as a header field's value.
func KeyOfBytes(b []byte) Key { return Key(maphash.Bytes(textSeed, b)) }

// KeyOfString is KeyOfBytes of the same text.
func KeyOfString(s string) Key { return Key(maphash.String(textSeed, s)) }

// Rates is a Rate for each of many keys, in memory that never grows: 16 bytes a
// key. A key whose burst is full again is as good as unknown, so its place is
// free for another, and forgetting it loses nothing. Only where the places that
// a key can have are all taken by keys that still count is one of them
// forgotten too early: the one nearest to its rest, which begins anew. So
// crowding lets a few more through, and never refuses anybody.
//
// Each key has two buckets of eight places and is put into the emptier one
// (Azar and others, Balanced Allocations, 1994). Of keys that count all at one
// time, as many as 75 % of the capacity, one or two in 100,000 are forgotten; at
// 87.5 % 0.4 %, and at 100 % 4 %. With one bucket each it is 5, 9 and 14 %.
//
// Methods are those of Rate, with the same now; all are safe for concurrent use,
// and none allocates. Each locks one of many shards, for as long as it takes to
// read a few cache lines.
type Rates struct {
	setting sync.Mutex // one Set at a time
	shards  []rateShard
}

// rateShard is a part of the table with its own lock. It fills a cache line.
type rateShard struct {
	mu      sync.Mutex // guards all of the shard; nothing waits under it
	limit   Limit
	evicted uint64
	table   []rateBucket
	_       [8]byte
}

type rateBucket [8]rateEntry

// rateEntry is free if its key is 0 or its TAT has passed. The zero value, which
// the table is made of, is free: pages that no key came to stay untouched.
type rateEntry struct {
	key Key
	tat int64
}

// A shard has 128 to 255 buckets: little to do for Set and Stats, which hold its
// lock while they go through it, and shards enough for any number of cores.
const (
	shardBuckets = 128
	maxKeys      = 1 << 26 // 1 GiB
)

// NewRates returns a table for keys, rounded up. Its memory, see Bytes, is asked
// for at once, but is used only as keys come; it is given back when nobody has the
// table any more.
func NewRates(limit Limit, keys int) (*Rates, error) {
	if keys < 1 || keys > maxKeys {
		return nil, fmt.Errorf("rates for %d keys: use 1 to %d", keys, maxKeys)
	}
	buckets := max(2, (keys+7)/8)
	shards := 1
	for shards*2*shardBuckets <= buckets {
		shards *= 2
	}
	n := (buckets + shards - 1) / shards
	r := &Rates{shards: make([]rateShard, shards)}
	table := newTable(n*shards, &r.shards[0])
	for i := range r.shards {
		r.shards[i].limit = limit
		r.shards[i].table = table[i*n : (i+1)*n]
	}
	return r, nil
}

// Set changes the limit of all keys, at now. What they used stays used, as with
// Rate.Set. It goes through the table, a thousand keys to each lock: until it
// returns, some keys have the old limit.
func (r *Rates) Set(limit Limit, now int64) {
	r.setting.Lock()
	defer r.setting.Unlock()
	now = clamp(now)
	for i := range r.shards {
		r.shards[i].set(limit, now)
	}
}

// Take uses one token of key; see Rate.Take.
func (r *Rates) Take(key Key, now int64) (wait time.Duration, ok bool) {
	now = clamp(now)
	key, s := r.shard(key)
	s.mu.Lock()
	if s.limit.interval == 0 {
		s.mu.Unlock()
		return 0, true
	}
	e := s.find(key)
	if e == nil {
		e = s.place(key, now)
	}
	e.tat, wait = s.limit.take(e.tat, now)
	s.mu.Unlock()
	return wait, wait == 0
}

// Refund gives one token back to key; see Rate.Refund.
func (r *Rates) Refund(key Key) {
	key, s := r.shard(key)
	s.mu.Lock()
	if e := s.find(key); e != nil {
		e.tat = s.limit.refund(e.tat)
	}
	s.mu.Unlock()
}

// Left is what key has; see Rate.Left.
func (r *Rates) Left(key Key, now int64) (tokens int, full time.Duration) {
	key, s := r.shard(key)
	s.mu.Lock()
	tat := int64(never)
	if e := s.find(key); e != nil {
		tat = e.tat
	}
	tokens, full = s.limit.left(tat, clamp(now))
	s.mu.Unlock()
	return tokens, full
}

// RatesStats is what a Rates is doing.
type RatesStats struct {
	Capacity int
	Keys     int    // that count now: their burst is not full
	Evicted  uint64 // keys that still counted when they were forgotten
}

// Stats counts the keys. It goes through the table as Set does.
func (r *Rates) Stats(now int64) RatesStats {
	now = clamp(now)
	var st RatesStats
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		st.Evicted += s.evicted
		st.Capacity += len(s.table) * len(rateBucket{})
		for j := range s.table {
			free, _ := s.table[j].room(now)
			st.Keys += len(rateBucket{}) - free
		}
		s.mu.Unlock()
	}
	return st
}

// Limit is the limit that was set last.
func (r *Rates) Limit() Limit {
	r.setting.Lock()
	defer r.setting.Unlock()
	s := &r.shards[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit
}

// Bytes is the memory of the table, when every place of it was used once.
func (r *Rates) Bytes() int {
	n := unsafe.Sizeof(*r) + uintptr(len(r.shards))*unsafe.Sizeof(rateShard{})
	for i := range r.shards {
		n += uintptr(len(r.shards[i].table)) * unsafe.Sizeof(rateBucket{})
	}
	return int(n)
}

// shard returns the shard of key, and key as the table has it: 0 is no key.
// The shard is by the lowest bits, which pair has little use for.
func (r *Rates) shard(key Key) (Key, *rateShard) {
	key = max(key, 1)
	return key, &r.shards[uint64(key)&uint64(len(r.shards)-1)]
}

// pair returns the two buckets of key: one by the highest bits, and one of the
// others by bits from the middle.
func (s *rateShard) pair(key Key) (a, b *rateBucket) {
	n := uint64(len(s.table))
	i, _ := bits.Mul64(uint64(key), n)
	j, _ := bits.Mul64(uint64(key)<<32, n-1)
	if j >= i {
		j++
	}
	return &s.table[i], &s.table[j]
}

// find returns the entry of key, nil if there is none. mu is held.
func (s *rateShard) find(key Key) *rateEntry {
	a, b := s.pair(key)
	for i := range a {
		if a[i].key == key {
			return &a[i]
		}
	}
	for i := range b {
		if b[i].key == key {
			return &b[i]
		}
	}
	return nil
}

// place gives key, which has no entry, one with nothing used. mu is held.
func (s *rateShard) place(key Key, now int64) *rateEntry {
	a, b := s.pair(key)
	free, e := a.room(now)
	if freeB, eB := b.room(now); freeB > free || freeB+free == 0 && eB.tat < e.tat {
		free, e = freeB, eB
	}
	if free == 0 {
		s.evicted++
	}
	*e = rateEntry{key: key, tat: now}
	return e
}

// room is how many entries are free, and one of them, or if none is, the one
// with the earliest TAT.
func (b *rateBucket) room(now int64) (free int, entry *rateEntry) {
	first := int64(math.MaxInt64)
	for i := range b {
		e := &b[i]
		if e.key == 0 || e.tat <= now {
			free++
			first, entry = math.MinInt64, e
		} else if e.tat <= first {
			first, entry = e.tat, e
		}
	}
	return free, entry
}

// set carries what is used over to another limit.
func (s *rateShard) set(limit Limit, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.limit
	s.limit = limit
	if old == limit || old.interval == 0 { // without a limit nothing was used
		return
	}
	for i := range s.table {
		for j := range s.table[i] {
			if e := &s.table[i][j]; e.key != 0 && e.tat > now {
				e.tat = limit.carry(old, e.tat, now)
			}
		}
	}
}
