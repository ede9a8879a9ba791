package audit

import (
	"errors"
	"fmt"
	"slices"
)

// Sample is how much memory was in use at a number of TIME_WAIT sockets.
type Sample struct {
	Sockets int
	Bytes   int64
}

// Cost is what one TIME_WAIT socket takes of the kernel's memory.
type Cost struct {
	Side    string  `json:"side"`    // that closed first, and so holds the TIME_WAIT: connecting or accepting
	Sockets int     `json:"sockets"` // that were made between the first and the last sample
	Bytes   float64 `json:"bytes"`   // each: the median of the steps
	Low     float64 `json:"low"`     // in the step in which they took the least
	High    float64 `json:"high"`
	Sure    bool    `json:"sure"`   // the steps agree: no other work was in them
	Source  string  `json:"source"` // what the memory was read from
}

// Spread is how far the steps are apart, as a part of the cost.
func (c Cost) Spread() float64 { return (c.High - c.Low) / c.Bytes }

// sureSpread is what the noise of a quiet machine comes to.
const sureSpread = 0.25

// Bounds of what can be a socket's cost: the least object the kernel keeps for
// one (struct tcp_timewait_sock, over 100 bytes since 2.6), and far above any
// number that was ever told. A sandbox's meminfo need not be the kernel's.
const (
	leastCost = 100
	mostCost  = 16 << 10
)

// CostOf takes samples at growing numbers of sockets, four at least, so that one
// step that something else disturbed is not the median. What the kernel takes for
// the first ones, to fill the pages it then has, belongs before the first sample.
func CostOf(side, source string, samples []Sample) (Cost, error) {
	if len(samples) < 4 {
		return Cost{}, fmt.Errorf("%d samples are too few to tell a cost from noise", len(samples))
	}
	first, last := samples[0], samples[len(samples)-1]
	c := Cost{Side: side, Source: source, Sockets: last.Sockets - first.Sockets}
	each := make([]float64, 0, len(samples))
	for i, s := range samples[1:] {
		n := s.Sockets - samples[i].Sockets
		if n <= 0 {
			return Cost{}, errors.New("the number of TIME_WAIT sockets did not grow between two samples")
		}
		each = append(each, float64(s.Bytes-samples[i].Bytes)/float64(n))
	}
	slices.Sort(each)
	c.Low, c.Bytes, c.High = each[0], each[len(each)/2], each[len(each)-1]
	c.Sure = c.Spread() <= sureSpread
	if c.Bytes < leastCost || c.Bytes > mostCost {
		return Cost{}, fmt.Errorf("%.0f bytes for each socket, by %s: that cannot be, so it does not show this kernel's memory, or much else went on; try again on a quiet machine, or as root, who can read /sys/kernel/slab", c.Bytes, source)
	}
	return c, nil
}
