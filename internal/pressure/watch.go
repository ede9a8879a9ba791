package pressure

import "time"

// Report is what a look found. It is a value: one look's report may be read while
// the next is taken.
type Report [Resources]Finding

// Finding is what was found of one resource.
type Finding struct {
	Use
	Short bool
	Since time.Time // when Short changed last; zero: never
}

// Short says whether anything is short.
func (r *Report) Short() bool { return r[Memory].Short || r[Descriptors].Short }

// Watch takes looks and judges them. It belongs to one goroutine.
type Watch struct {
	read    func() Reading
	reclaim func()

	judges [Resources]judge
	report Report
	next   time.Time // when reclaim may be called again
}

// NewWatch makes a Watch of where the readings come from, such as Meter.Read, and
// of what gives back the memory that is not needed, such as debug.FreeOSMemory; nil
// if nothing does. Both are called by Look.
func NewWatch(read func() Reading, reclaim func()) *Watch {
	return &Watch{read: read, reclaim: reclaim}
}

// Reclaiming is a garbage collection. It may take a twentieth of the time, and
// comes once a second at most.
const (
	reclaimShare = 20
	reclaimGap   = time.Second
)

// Look takes a look. now is the time of it.
//
// The collector does not know of the cgroup's limit. It lets garbage grow to as
// much as there is live memory, or to GOMEMLIMIT, which one sets to nine tenths of
// that limit; and an idle process may not collect for two minutes. So memory is
// short only if it is still so after a collection; and while it is short there are
// more, or weir would wait for clients to bring about the one that lets them in.
func (w *Watch) Look(now time.Time) Report {
	r := w.read()
	most := shortAt
	if w.judges[Memory].state != enough {
		most = enoughAt
	}
	if w.reclaim != nil && r[Memory].Share() >= most && !now.Before(w.next) {
		began := time.Now()
		w.reclaim()
		w.next = now.Add(max(reclaimGap, reclaimShare*time.Since(began)))
		r = w.read()
	}
	for i := range w.judges {
		j, f := &w.judges[i], &w.report[i]
		j.look(now, r[i].Share())
		f.Use = r[i]
		if short := j.state != enough; short != f.Short {
			f.Short, f.Since = short, now
		}
	}
	return w.report
}
