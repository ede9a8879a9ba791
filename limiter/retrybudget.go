package limiter

import (
	"fmt"
	"sync/atomic"
	"time"
)

// RetryBudget bounds retries to a share of the requests of the last ten
// seconds, plus a small floor so that a quiet service may retry at all. Without
// it a backend in trouble gets every request twice just when it can least take
// it.
//
// It is safe for concurrent use, allocates nothing and needs no timer: the ten
// slots of one second are emptied by whoever comes to them first.
type RetryBudget struct {
	percent uint64
	floor   uint64 // retries in a whole window
	start   time.Time
	slots   [budgetWindow]atomic.Uint64
	refused atomic.Uint64
}

const budgetWindow = 10 // seconds

// A slot is one word, so that emptying and counting are one step: the second it
// stands for (16 bits, they come round after 18 hours), requests (28 bits, at
// most 268 million a second) and retries (20 bits, a million).
const (
	retryBits   = 20
	requestBits = 28
	retryMask   = 1<<retryBits - 1
	requestMask = 1<<requestBits - 1
)

type slot uint64

func newSlot(second uint64) slot { return slot(second << (retryBits + requestBits)) }

func (s slot) second() uint64   { return uint64(s >> (retryBits + requestBits)) }
func (s slot) requests() uint64 { return uint64(s>>retryBits) & requestMask }
func (s slot) retries() uint64  { return uint64(s) & retryMask }

// NewRetryBudget allows retries up to percent of requests plus perSecond.
func NewRetryBudget(percent, perSecond int) (*RetryBudget, error) {
	if percent < 0 || percent > 100 {
		return nil, fmt.Errorf("a retry budget of %d percent: use 0 to 100", percent)
	}
	if perSecond < 0 || perSecond > retryMask/budgetWindow {
		return nil, fmt.Errorf("a retry floor of %d/s: use 0 to %d", perSecond, retryMask/budgetWindow)
	}
	return &RetryBudget{
		percent: uint64(percent),
		floor:   uint64(perSecond) * budgetWindow,
		start:   time.Now(),
	}, nil
}

// Request counts one request. Retries are not requests.
func (b *RetryBudget) Request() {
	second, at := b.now()
	for {
		old := at.Load()
		s := slot(old).in(second)
		if s.requests() == requestMask || at.CompareAndSwap(old, uint64(s+1<<retryBits)) {
			return
		}
	}
}

// Allow says whether one more retry is within the budget, and counts it if so.
// Two callers never share the last one: both count in the same word.
func (b *RetryBudget) Allow() bool {
	second, at := b.now()
	for {
		old := at.Load()
		s := slot(old).in(second)
		requests, retries := s.requests(), s.retries()
		for i := range b.slots {
			if o := slot(b.slots[i].Load()); &b.slots[i] != at && o.recent(second) {
				requests += o.requests()
				retries += o.retries()
			}
		}
		if retries*100 >= requests*b.percent+b.floor*100 || s.retries() == retryMask {
			b.refused.Add(1)
			return false
		}
		if at.CompareAndSwap(old, uint64(s+1)) {
			return true
		}
	}
}

// Refused is how many retries were not allowed.
func (b *RetryBudget) Refused() uint64 { return b.refused.Load() }

func (b *RetryBudget) now() (second uint64, at *atomic.Uint64) {
	n := uint64(time.Since(b.start) / time.Second)
	return n & 0xffff, &b.slots[n%budgetWindow]
}

// in is s if it stands for this second, else an empty slot that does.
func (s slot) in(second uint64) slot {
	if s.second() != second {
		return newSlot(second)
	}
	return s
}

func (s slot) recent(second uint64) bool {
	return (second-s.second())&0xffff < budgetWindow
}
