package sock

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// clash finds n addresses that share one set of the table.
func clash(m *memory, n int) (out []netip.Addr) {
	want := -1
	for i := uint32(0); len(out) < n; i++ {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 10<<24+i)
		a := netip.AddrFrom4(b)
		set := int(maphash.Comparable(m.seed, a) % memorySets)
		if want < 0 {
			want = set
		}
		if set == want {
			out = append(out, a)
		}
	}
	return out
}

func TestPatienceFollowsWhatAnAddressDid(t *testing.T) {
	const start, wait = int64(1_800_000_000_000_000_000), 10 * time.Millisecond
	a, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, row := range []struct {
		name  string
		did   string // m: a wait ran out; c: it closed first; h: it half-closed
		after time.Duration
		want  time.Duration
		half  bool
	}{
		{"nothing known", "", 0, wait, false},
		{"two misses", "mm", 0, wait, false},
		{"three misses", "mmm", 0, 0, false},
		{"many misses", "mmmmmmmmmm", 0, 0, false},
		{"shortly before the minute is over", "mmm", missFor - 1, 0, false},
		{"the minute is over", "mmm", missFor, wait, false},
		{"misses and a close", "mmmmc", 0, wait, false},
		{"a close between misses", "mmcm", 0, wait, false},
		{"two closes", "cc", 0, wait, false},
		{"three closes", "ccc", 0, knownCloserWait, false},
		{"three closes stay known", "ccc", time.Hour, knownCloserWait, false},
		{"three closes and a miss", "cccm", 0, wait, false},
		{"three closes and three misses", "cccmmm", 0, 0, false},
		{"half-closed", "h", 0, wait, true},
		{"half-closed shortly before ten minutes", "h", halfFor - 1, wait, true},
		{"half-closed ten minutes ago", "h", halfFor, wait, false},
		{"half-closed and misses", "hmmm", missFor - 1, 0, true},
		{"half-closed and closes", "hccc", 0, knownCloserWait, true},
	} {
		m := newMemory()
		for _, d := range row.did {
			switch d {
			case 'm':
				m.missed(a, start)
			case 'c':
				m.closedFirst(a)
			case 'h':
				m.sawHalfClose(a, start)
			}
		}
		now := start + int64(row.after)
		if got := m.patience(a, now, wait); got != row.want {
			t.Errorf("%s: waits %s, want %s", row.name, got, row.want)
		}
		if got := m.halfCloses(a, now); got != row.half {
			t.Errorf("%s: half-closes %t", row.name, got)
		}
		if m.patience(other, now, wait) != wait || m.halfCloses(other, now) {
			t.Errorf("%s: another address is touched by it", row.name)
		}
	}
	m := newMemory()
	if got := m.patience(a, start, time.Second); got != time.Second {
		t.Error("a long wait was shortened")
	}
	m.closedFirst(a)
	m.closedFirst(a)
	m.closedFirst(a)
	if got := m.patience(a, start, time.Second); got != time.Second {
		t.Errorf("the wait of %s for a known closer was shortened to %s", time.Second, got)
	}
}

func TestTheMemoryIsBoundedAndForgetsTheLeastUseful(t *testing.T) {
	m := newMemory()
	as := clash(m, memoryWays+2)
	now := int64(1_800_000_000_000_000_000)
	for _, a := range as[:memoryWays] { // free places are taken first
		for range closesToWait {
			m.closedFirst(a)
		}
	}
	for _, a := range as[:memoryWays] {
		if m.patience(a, now, 1) != knownCloserWait {
			t.Errorf("%s was forgotten although there was room", a)
		}
	}
	m = newMemory()
	as = clash(m, memoryWays+2)
	m.sawHalfClose(as[0], now)
	m.missed(as[1], now)
	m.closedFirst(as[2])
	m.sawHalfClose(as[3], now+1)
	m.sawHalfClose(as[4], now) // in place of the closer, who has no time to run
	if !m.halfCloses(as[0], now) || !m.halfCloses(as[3], now) || !m.halfCloses(as[4], now) {
		t.Error("a half-closer was forgotten before one that closes first")
	}
	m.sawHalfClose(as[5], now) // in place of the one with less time to run
	if !m.halfCloses(as[0], now) || !m.halfCloses(as[3], now) || !m.halfCloses(as[4], now) || !m.halfCloses(as[5], now) {
		t.Error("a half-closer was forgotten before one whose wait ran out")
	}
	m.sawHalfClose(as[1], now+5) // now the oldest goes
	if !m.halfCloses(as[1], now) || !m.halfCloses(as[3], now) {
		t.Error("a newer one was forgotten before an older one")
	}
}

func TestAnAddressThatIsAskedAboutTakesNoPlace(t *testing.T) {
	m := newMemory()
	a := netip.MustParseAddr("192.0.2.1")
	m.patience(a, 1, 1)
	m.halfCloses(a, 1)
	for i := range m.sets {
		for _, h := range m.sets[i].ways {
			if h.addr.IsValid() {
				t.Fatalf("%s has a place", h.addr)
			}
		}
	}
	m.missed(netip.Addr{}, 1) // a unix client has no address
	m.sawHalfClose(netip.Addr{}, 1)
	if m.patience(netip.Addr{}, 1, 5) != 5 || m.halfCloses(netip.Addr{}, 1) {
		t.Error("something is remembered of nobody")
	}
}

func TestTheMemoryMayBeUsedByMany(t *testing.T) {
	m := newMemory()
	as := clash(m, 2*memoryWays)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 2000 {
				a := as[(i+j)%len(as)]
				now := int64(j)
				switch j % 4 {
				case 0:
					m.missed(a, now)
				case 1:
					m.sawHalfClose(a, now)
				case 2:
					m.closedFirst(a)
				}
				if w := m.patience(a, now, minWait); w != 0 && w != minWait && w != knownCloserWait {
					t.Errorf("a wait of %s", w)
				}
			}
		})
	}
	wg.Wait()
}
