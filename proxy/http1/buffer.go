package http1

import (
	"sync"
	"sync/atomic"
)

// Budget bounds the memory of all buffers beyond the small ones that every
// session and every exchange has. Fronts share one.
type Budget struct {
	limit atomic.Int64
	used  atomic.Int64
	over  atomic.Uint64
}

// NewBudget makes a Budget of limit bytes.
func NewBudget(limit int64) *Budget {
	b := new(Budget)
	b.SetLimit(limit)
	return b
}

// SetLimit changes the bound for what is taken from now on.
func (b *Budget) SetLimit(limit int64) { b.limit.Store(limit) }

// Used returns the bytes in use and how often there were too few.
func (b *Budget) Used() (bytes int64, refused uint64) { return b.used.Load(), b.over.Load() }

func (b *Budget) take(n int) bool {
	if b.used.Add(int64(n)) > b.limit.Load() {
		b.used.Add(-int64(n))
		b.over.Add(1)
		return false
	}
	return true
}

// The sizes of buffers. A session has a small one for its requests' heads; an
// exchange one of answerSize for the response. Larger ones count in the Budget.
const (
	headSize   = 4 << 10
	answerSize = 16 << 10

	bodyAhead   = 64 << 10  // of a request's body is read before a backend connection is taken
	answerAhead = 256 << 10 // of a response is read for a slow client, so that the connection is given back
	writeBlock  = 16 << 10  // has to be taken by a slow peer within one timeout
)

var sizes = [...]int{headSize, answerSize, 64 << 10, 128 << 10, 320 << 10, 1152 << 10}

const freeClasses = 2 // of sizes, the first ones do not count in the Budget

var spares [len(sizes)]sync.Pool

// buffer is a window b[r:w] on pooled memory.
type buffer struct {
	b     []byte
	r, w  int
	class int
}

// newBuffer returns an empty buffer of at least n bytes, or nil if the budget
// does not allow it. Buffers of answerSize or less always succeed.
func newBuffer(n int, budget *Budget) *buffer {
	class := 0
	for class < len(sizes)-1 && sizes[class] < n {
		class++
	}
	if class >= freeClasses && !budget.take(sizes[class]) {
		return nil
	}
	if b, _ := spares[class].Get().(*buffer); b != nil {
		return b
	}
	return &buffer{b: make([]byte, sizes[class]), class: class}
}

func (b *buffer) free(budget *Budget) {
	if b == nil {
		return
	}
	if b.class >= freeClasses {
		budget.used.Add(-int64(sizes[b.class]))
	}
	b.r, b.w = 0, 0
	if len(b.b) == sizes[b.class] {
		spares[b.class].Put(b)
	}
}

func (b *buffer) bytes() []byte { return b.b[b.r:b.w] }
func (b *buffer) room() []byte  { return b.b[b.w:] }
func (b *buffer) len() int      { return b.w - b.r }

// skip drops n bytes from the front.
func (b *buffer) skip(n int) {
	b.r += n
	if b.r == b.w {
		b.r, b.w = 0, 0
	}
}

// compact moves the window to the front.
func (b *buffer) compact() {
	if b.r > 0 {
		b.w = copy(b.b, b.b[b.r:b.w])
		b.r = 0
	}
}

// ensure returns b, or a larger buffer with its content, that can hold n bytes
// in all, or nil if the budget does not allow it; b is then as before.
func (b *buffer) ensure(n int, budget *Budget) *buffer {
	b.compact()
	if len(b.b) >= n {
		return b
	}
	big := newBuffer(n, budget)
	if big == nil || len(big.b) < n {
		big.free(budget)
		return nil
	}
	big.w = copy(big.b, b.bytes())
	b.free(budget)
	return big
}

// shrink returns a small buffer with b's content, if that fits in one. Those that
// count in no Budget stay what they are while they are in use.
func (b *buffer) shrink(size int, budget *Budget) *buffer {
	if b.class < freeClasses {
		return b
	}
	return b.fit(size, budget)
}

// fit is shrink for a buffer that will be kept for a while.
func (b *buffer) fit(size int, budget *Budget) *buffer {
	if len(b.b) <= size || b.len() > size {
		return b
	}
	small := newBuffer(size, budget)
	small.w = copy(small.b, b.bytes())
	b.free(budget)
	return small
}
