package tcpstat

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// crowd is a table with clients at a listener and, towards a backend, so many
// sockets of strangers, who hold them.
func crowd(clients, towards int) *table {
	k := &table{sockets: []Socket{socket(Listen, "10.0.0.1:8080", "0.0.0.0:0"), socket(Listen, "10.0.0.1:45001", "0.0.0.0:0")}}
	for i := range clients {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), uint16(1024+i>>16))
		k.sockets = append(k.sockets, Socket{State: Established, Local: ap("10.0.0.1:8080"), Remote: from})
	}
	k.dial(towards)
	return k
}

func (k *table) dial(n int) {
	for range n {
		k.towards++
		k.sockets = append(k.sockets, Socket{State: Established, Local: netip.AddrPortFrom(here, uint16(45001+k.towards)), Remote: there})
	}
}

// narrowSurvey is a Survey of such a table, as one over sock_diag.
func narrowSurvey(k *table) *Survey {
	v := newSurvey(k)
	v.filters = true
	return v
}

func crowdPlans() ([]ListenerPlan, []BackendPlan) {
	return []ListenerPlan{{Name: "web", Addresses: []netip.AddrPort{ap("10.0.0.1:8080")}}},
		[]BackendPlan{{Name: "db", Ledger: NewLedger(), Endpoints: []Pair{{here, there}}}}
}

func TestBetweenTwoLooksAtEverythingTheBackendsAreLookedAt(t *testing.T) {
	k := crowd(20000, 100)
	v := narrowSurvey(k)
	ls, bs := crowdPlans()
	ports := testPorts(t, "45000 49999", "")
	all, narrow := 0, 0
	for i := range 100 {
		k.asked = nil
		r := mustLook(t, v, All, ports, ls, bs)
		if len(k.asked) != 1 {
			t.Fatalf("look %d made %d lists, want one", i, len(k.asked))
		}
		if k.asked[0].RemotePort == there.Port() {
			narrow++
		} else {
			all++
		}
		web, db := r.Listeners[0], r.Backends[0]
		if web.Count[Ours][Established] != 20000 || web.Count[Ours][Listen] != 1 || len(web.Top) != topShown || r.Sockets < 20102 {
			t.Errorf("look %d: the listener has %v and %d clients, of %d sockets", i, web.Count[Ours], len(web.Top), r.Sockets)
		}
		if p := db.Pairs[0]; db.Count[Other][Established] != 100+i || p.InUse != 100+i || p.Bound != 1 {
			t.Errorf("look %d: %d others, %+v, want %d and a port that is listened on", i, db.Count[Other][Established], p, 100+i)
		}
		k.dial(1)
	}
	// A narrow one costs a tenth, so nine come to each: the whole ones are half the cost.
	if all < 10 || all > 12 {
		t.Errorf("%d looks at everything and %d at the backend, want one of ten", all, narrow)
	}
}

func TestALookIsAtEverythingWhereLessWouldSaveLittleOrMissSomething(t *testing.T) {
	ports := testPorts(t, "45000 49999", "")
	for _, tc := range []struct {
		name   string
		k      *table
		change func(v *Survey, mask *Mask, ports **LocalPorts, ls *[]ListenerPlan, bs *[]BackendPlan)
		narrow bool
	}{
		{"nothing else", crowd(20000, 100), nil, true},
		{"few sockets", crowd(3000, 100), nil, false},
		{"most are the backend's", crowd(6000, 4500), nil, false},
		{"with those that are only bound", crowd(20000, 100), func(_ *Survey, m *Mask, _ **LocalPorts, _ *[]ListenerPlan, _ *[]BackendPlan) {
			*m |= MaskOf(Bound)
		}, false},
		{"/proc, which has no filter", crowd(20000, 100), func(v *Survey, _ *Mask, _ **LocalPorts, _ *[]ListenerPlan, _ *[]BackendPlan) {
			v.filters = false
		}, false},
		{"no ports to forecast", crowd(20000, 100), func(_ *Survey, _ *Mask, p **LocalPorts, _ *[]ListenerPlan, _ *[]BackendPlan) {
			*p = nil
		}, false},
		{"no backend", crowd(20000, 100), func(_ *Survey, _ *Mask, _ **LocalPorts, _ *[]ListenerPlan, bs *[]BackendPlan) {
			*bs = nil
		}, false},
		{"a new listener", crowd(20000, 100), func(_ *Survey, _ *Mask, _ **LocalPorts, ls *[]ListenerPlan, _ *[]BackendPlan) {
			*ls = append(*ls, ListenerPlan{Name: "new", Addresses: []netip.AddrPort{ap("10.0.0.1:8081")}})
		}, false},
		{"backends on many ports", crowd(20000, 100), func(_ *Survey, _ *Mask, _ **LocalPorts, _ *[]ListenerPlan, bs *[]BackendPlan) {
			for i := range uint16(6) {
				*bs = append(*bs, BackendPlan{Name: fmt.Sprint(i), Ledger: NewLedger(), Endpoints: []Pair{{here, netip.AddrPortFrom(there.Addr(), 80+i)}}})
			}
		}, false},
	} {
		v, mask, p := narrowSurvey(tc.k), All, ports
		ls, bs := crowdPlans()
		mustLook(t, v, mask, p, ls, bs)
		tc.k.asked = nil
		if tc.change != nil {
			tc.change(v, &mask, &p, &ls, &bs)
		}
		mustLook(t, v, mask, p, ls, bs)
		if got := tc.k.asked[0].RemotePort != 0; got != tc.narrow {
			t.Errorf("%s: narrow is %v, want %v", tc.name, got, tc.narrow)
		}
	}
}

func TestANarrowListThatChangedIsTakenAgainWhole(t *testing.T) {
	k := crowd(20000, 100)
	v := narrowSurvey(k)
	ls, bs := crowdPlans()
	bs = append(bs, BackendPlan{Name: "api", Ledger: NewLedger(), Endpoints: []Pair{{here, ap("10.0.0.3:80")}}})
	k.sockets = append(k.sockets, socket(Established, "10.0.0.1:45000", "10.0.0.3:80"))
	ports := testPorts(t, "45000 49999", "")
	mustLook(t, v, All, ports, ls, bs)
	k.lists, k.changed = 0, 1<<30
	r := mustLook(t, v, All, ports, ls, bs)
	if !r.Changed || r.Backends[0].Count[Other][Established] != 100 || r.Backends[1].Count[Other][Established] != 1 || k.lists != 2*(1+maxRepeats) {
		t.Errorf("changed %v after %d lists, %v and %v", r.Changed, k.lists, r.Backends[0].Count, r.Backends[1].Count)
	}
}

// With 50,000 sockets, a ramp that is there at the start and one that begins later:
// at what a list costs there, both are forecast soon, and no minute costs too much.
func TestARampIsForecastSoonAlsoBesideManySockets(t *testing.T) {
	for _, begins := range []time.Duration{0, 3 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			k := crowd(50000, 1)
			v := narrowSurvey(k)
			ls, bs := crowdPlans()
			ports := testPorts(t, "45000 45999", "")
			var s spending
			looks, start, first, alarm := 0, time.Now(), time.Duration(-1), time.Duration(-1)
			s.list(begins+2*time.Minute, func() time.Duration {
				since := time.Since(start) - begins
				if n := 5 * int(since/time.Second); n > k.towards {
					k.dial(min(n, 1000) - k.towards)
				}
				mask := All
				if looks++; looks%8 == 1 {
					mask |= MaskOf(Bound)
				}
				k.shown, k.passed = 0, 0
				p := mustLook(t, v, mask, ports, ls, bs).Backends[0].Pairs[0]
				if since < 0 && (p.Alarm || !math.IsInf(p.SecondsLeft, 1)) {
					t.Errorf("%v before the ramp there are %v s left", -since, p.SecondsLeft)
				}
				if first < 0 && !math.IsInf(p.SecondsLeft, 1) {
					first = since
				}
				if alarm < 0 && p.SecondsLeft < 150 {
					alarm = since
				}
				return time.Duration(k.shown)*1090 + time.Duration(k.passed)*108 // measured, ns
			})
			t.Logf("a ramp that begins after %v: first forecast after %v, %d looks, at most %v in a minute", begins, first, looks, s.most(time.Minute))
			if most := 20 * time.Second; begins == 0 && first > most || first < 0 || first > 2*most || alarm < 0 || alarm > 3*most {
				t.Errorf("a ramp that begins after %v is forecast after %v, and near enough after %v", begins, first, alarm)
			}
			if got, most := s.most(time.Minute), time.Duration(float64(time.Minute)*BudgetMinute); got > most {
				t.Errorf("%v in one minute, want %v at most", got, most)
			}
		})
	}
}

// A pool that opens between two samples that are far apart is no ramp, however
// close the next ones come.
func TestAJumpBetweenSamplesFarApartIsNoTrend(t *testing.T) {
	for _, gap := range []int{6, 15, 30} {
		for _, step := range []int{1, 2} {
			var f Forecast
			at, held := time.Unix(1e9, 0), 0
			add := func(after int) {
				at = at.Add(time.Duration(after) * time.Second)
				f.Add(at, PortUse{Ports: 400, Held: held, Life: timeWait})
			}
			for range 3 {
				add(gap)
			}
			held = 330
			add(gap)
			for i := range 40 {
				if add(step); f.Alarm() || !math.IsInf(f.SecondsLeft(), 1) {
					t.Fatalf("gaps of %d s, then of %d: after %d samples alarm %v, %v s left", gap, step, i+1, f.Alarm(), f.SecondsLeft())
				}
			}
		}
	}
}
