package limiter

import "sync"

// Counts is how many connections each key has open now. It is exact, and holds
// as many entries as keys have one open: an entry goes with its last connection,
// though its memory stays for the next. All methods are safe for concurrent use.
// The zero Counts is empty and ready.
type Counts struct {
	shards [countShards]countShard
}

const countShards = 64 // a power of two

type countShard struct {
	mu   sync.Mutex // guards the rest; nothing waits under it
	open map[Key]int
	all  int
	_    [64 - 24]byte // one cache line each
}

// Enter counts one more connection of key, unless it has most already: then it
// changes nothing and returns false. Leave must follow each Enter that returned
// true. With math.MaxInt for most it counts and never refuses, so that a bound
// that comes later finds the right number.
func (c *Counts) Enter(key Key, most int) bool {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.open[key]
	if n >= most {
		return false
	}
	if s.open == nil {
		s.open = map[Key]int{}
	}
	s.open[key] = n + 1
	s.all++
	return true
}

// Leave counts one connection of key less.
func (c *Counts) Leave(key Key) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := s.open[key]; n {
	case 0:
		panic("BUG: a connection left that did not enter")
	case 1:
		delete(s.open, key)
	default:
		s.open[key] = n - 1
	}
	s.all--
}

// Open is how many connections key has.
func (c *Counts) Open(key Key) int {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[key]
}

// CountsStats is what a Counts holds.
type CountsStats struct {
	Keys int // with a connection
	Open int // connections
}

// Stats sums up shard by shard, so connections that come and go meanwhile may
// be in it or not.
func (c *Counts) Stats() CountsStats {
	var st CountsStats
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		st.Keys += len(s.open)
		st.Open += s.all
		s.mu.Unlock()
	}
	return st
}

func (c *Counts) shard(key Key) *countShard { return &c.shards[uint64(key)%countShards] }
