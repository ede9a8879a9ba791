package hist

import "time"

// Snapshot is a histogram's content at one moment: a plain value, to be copied,
// added and subtracted. Counts[i] is how many were over Bound(i-1) and at most
// Bound(i).
type Snapshot struct {
	Sum    time.Duration
	Counts [Buckets]uint64
}

// Count returns the number of observations.
func (s *Snapshot) Count() uint64 {
	var n uint64
	for _, c := range s.Counts {
		n += c
	}
	return n
}

// Mean returns the average, or 0 of nothing.
func (s *Snapshot) Mean() time.Duration {
	n := s.Count()
	if n == 0 {
		return 0
	}
	return time.Duration(uint64(s.Sum) / n)
}

// Merge adds o to s, as for one figure over all backends.
func (s *Snapshot) Merge(o Snapshot) {
	s.Sum += o.Sum
	for i, c := range o.Counts {
		s.Counts[i] += c
	}
}

// Since returns what came between the older snapshot and s, of the same Hist.
func (s *Snapshot) Since(older Snapshot) Snapshot {
	out := Snapshot{Sum: s.Sum - older.Sum}
	for i, c := range s.Counts {
		out.Counts[i] = c - older.Counts[i]
	}
	return out
}

// Quantile returns the duration that a share q (0 to 1) of the observations did
// not exceed, interpolated inside its bucket. Of nothing it returns 0. Of
// observations over the last bound, 137 s, it returns that bound: they took at
// least so long.
func (s *Snapshot) Quantile(q float64) time.Duration {
	n := s.Count()
	if n == 0 {
		return 0
	}
	rank := min(max(q, 0), 1) * float64(n)
	var below, share float64
	at := 0
	for i, c := range s.Counts {
		if c == 0 {
			continue
		}
		at, share = i, max(rank-below, 0)/float64(c)
		below += float64(c)
		if below >= rank {
			break
		}
	}
	if at == 0 {
		return time.Duration(share * float64(Bound(0)))
	}
	lo := Bound(at - 1)
	if at == Buckets-1 {
		return lo
	}
	return lo + time.Duration(share*float64(Bound(at)-lo))
}

// Octave is a bound and how many observations did not exceed it.
type Octave struct {
	Bound time.Duration
	Count uint64
}

// Octaves returns cumulative counts at each doubling, 1.024 us to 137 s: 28
// bounds instead of 109. A time series for each quarter would cost its reader
// four times as much, for figures that a scrape every 15 s blurs anyway.
func (s *Snapshot) Octaves() []Octave {
	out := make([]Octave, 0, lastExp-firstExp+1)
	var n uint64
	for i, c := range s.Counts[:Buckets-1] {
		n += c
		if i%perOct == 0 {
			out = append(out, Octave{Bound(i), n})
		}
	}
	return out
}
