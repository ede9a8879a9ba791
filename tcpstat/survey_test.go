package tcpstat

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// table is a kernel's table of sockets. Lists of it are said to have changed as
// often as changed says.
type table struct {
	sockets []Socket
	one     Socket // handed to the callback
	changed int
	lists   int
	asked   []Filter

	towards       int // see dial
	shown, passed int // of all lists
}

func (k *table) Each(f Filter, fn func(*Socket) bool) error {
	k.lists++
	k.asked = append(k.asked, f)
	for i := range k.sockets {
		k.one = k.sockets[i]
		if !f.match(&k.one) {
			k.passed++
			continue
		}
		k.shown++
		if !fn(&k.one) {
			return nil
		}
	}
	if k.lists <= k.changed {
		return ErrChanged
	}
	return nil
}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// socket is one in a state, from local to remote.
func socket(st State, local, remote string) Socket {
	return Socket{State: st, Local: ap(local), Remote: ap(remote)}
}

func testPorts(t *testing.T, span, reserved string) *LocalPorts {
	t.Helper()
	p := &LocalPorts{Timestamps: true, ReuseDelay: time.Second}
	if err := p.SetRange([]byte(span), []byte(reserved)); err != nil {
		t.Fatal(err)
	}
	return p
}

func mustLook(t *testing.T, v *Survey, mask Mask, ports *LocalPorts, ls []ListenerPlan, bs []BackendPlan) *Report {
	t.Helper()
	r, err := v.Look(time.Now(), mask, ports, ls, bs)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A chain on one machine: a client, weir, and a backend that is weir's too, with
// a stranger who dials the same backend.
func TestTheFourEndsOfALoopbackPathAreKeptApart(t *testing.T) {
	lg := NewLedger()
	lg.Opened(ap("127.0.0.1:50001"), ap("127.0.0.1:9001"))
	k := &table{sockets: []Socket{
		socket(Listen, "127.0.0.1:8080", "0.0.0.0:0"),
		socket(Established, "127.0.0.1:40001", "127.0.0.1:8080"), // client
		socket(Established, "127.0.0.1:8080", "127.0.0.1:40001"), // accepted
		socket(Established, "127.0.0.1:50001", "127.0.0.1:9001"), // dialled
		socket(Established, "127.0.0.1:9001", "127.0.0.1:50001"), // backend's
		socket(CloseWait, "127.0.0.1:50002", "127.0.0.1:9001"),   // stranger
		socket(FinWait2, "127.0.0.1:9001", "127.0.0.1:50002"),
		socket(Established, "127.0.0.6:50001", "127.0.0.1:9001"), // another source: another stranger
		socket(Established, "127.0.0.2:8080", "127.0.0.1:7"),     // another address with the listener's port
	}}
	v := newSurvey(k)
	r := mustLook(t, v, All, testPorts(t, "50000 50009", ""),
		[]ListenerPlan{{Name: "web", Addresses: []netip.AddrPort{ap("127.0.0.1:8080")}}},
		[]BackendPlan{{Name: "api", Ledger: lg}})
	var web, api Owned
	web[Ours] = Counts{Listen: 1, Established: 1}
	api[Ours] = Counts{Established: 1}
	api[Other] = Counts{Established: 1, CloseWait: 1}
	if r.Listeners[0].Count != web || r.Backends[0].Count != api {
		t.Errorf("web %v, want %v; api %v, want %v", r.Listeners[0].Count, web, r.Backends[0].Count, api)
	}
	if p := r.Backends[0].Pairs[0]; p.InUse != 2 || p.Free != 8 || len(r.Backends[0].Pairs) != 1 {
		t.Errorf("the pair is %+v, want 2 in use and 8 free: another source has ports of its own", p)
	}
	if top := r.Listeners[0].Top; len(top) != 1 || top[0].Addr.String() != "127.0.0.1" || top[0].Sockets != 1 {
		t.Errorf("clients %v", top)
	}
}

func TestWhatOneBackendOwnsIsNoStrangerToAnotherWithTheSameAddress(t *testing.T) {
	a, b, gone := NewLedger(), NewLedger(), NewLedger()
	dest := ap("[2001:db8::9]:3306")
	a.Opened(ap("[2001:db8::1]:50001"), dest)
	b.Opened(ap("[2001:db8::1]:50002"), dest)
	gone.Opened(ap("[2001:db8::1]:50003"), dest)
	k := &table{}
	for _, port := range []string{"50001", "50002", "50003", "50004"} {
		k.sockets = append(k.sockets, socket(Established, "[2001:db8::1]:"+port, dest.String()))
	}
	r := mustLook(t, newSurvey(k), All, nil, nil, []BackendPlan{{Name: "a", Ledger: a}, {Name: "b", Ledger: b}, {Name: "gone", Ledger: gone, Hidden: true}})
	if len(r.Backends) != 2 {
		t.Fatalf("%d backends are shown, want 2", len(r.Backends))
	}
	for _, g := range r.Backends {
		if g.Count[Ours][Established] != 1 || g.Count[Other][Established] != 1 {
			t.Errorf("%s has %v, want one of its own and one stranger's", g.Name, g.Count)
		}
	}
}

func TestDialsUnderWayLeaveAsManyInDoubt(t *testing.T) {
	k := &table{sockets: []Socket{
		socket(SynSent, "127.0.0.1:50001", "127.0.0.1:9001"), socket(SynSent, "127.0.0.1:50002", "127.0.0.1:9001"),
		socket(Established, "127.0.0.1:50003", "127.0.0.1:9001"), socket(Established, "127.0.0.1:50004", "127.0.0.1:9001"),
	}}
	pair, _ := PairTo("127.0.0.1:9001")
	r := mustLook(t, newSurvey(k), All, nil, nil, []BackendPlan{{Name: "api", Ledger: NewLedger(), Endpoints: []Pair{pair}, Dialing: func() int { return 3 }}})
	want := Owned{Other: Counts{Established: 1}, Unknown: Counts{SynSent: 2, Established: 1}}
	if r.Backends[0].Count != want {
		t.Errorf("%v, want %v", r.Backends[0].Count, want)
	}
}

func TestAListThatChangedIsTakenAgainAndCountsOnce(t *testing.T) {
	k := &table{changed: 2, sockets: []Socket{socket(Listen, "127.0.0.1:8080", "0.0.0.0:0")}}
	plan := []ListenerPlan{{Name: "web", Addresses: []netip.AddrPort{ap("0.0.0.0:8080")}}}
	r := mustLook(t, newSurvey(k), All, nil, plan, nil)
	if k.lists != 3 || r.Changed || r.Listeners[0].Count[Ours][Listen] != 1 || r.Sockets != 1 {
		t.Errorf("%d lists, %+v: want the third alone", k.lists, r)
	}
	k.changed, k.lists = 1e9, 0
	if r = mustLook(t, newSurvey(k), All, nil, plan, nil); k.lists != 1+maxRepeats || !r.Changed {
		t.Errorf("%d lists, changed %v: want a bound, and the last list marked", k.lists, r.Changed)
	}
}

// What of TIME-WAIT keeps its port depends on the settings, the age, and whether
// the way is a loopback.
func TestTimeWaitThatTheKernelUsesAgainIsFree(t *testing.T) {
	young, old := 59500*time.Millisecond, 30*time.Second
	for _, tc := range []struct {
		name   string
		source string
		reuse  int
		stamps bool
		left   time.Duration
		free   int
	}{
		{"never used again", "10.0.0.1", 0, true, old, 9},
		{"always", "10.0.0.1", 1, true, old, 10},
		{"always, but too young", "10.0.0.1", 1, true, young, 9},
		{"always, without timestamps", "10.0.0.1", 1, false, old, 9},
		{"on loopback, and is none", "10.0.0.1", 2, true, old, 9},
		{"on loopback", "127.0.0.1", 2, true, old, 10},
	} {
		ports := testPorts(t, "50000 50009", "")
		ports.Reuse, ports.Timestamps = tc.reuse, tc.stamps
		dest := tc.source + ":9001"
		tw := socket(TimeWait, tc.source+":50003", dest)
		tw.Expires = tc.left
		pair := Pair{netip.MustParseAddr(tc.source), ap(dest)}
		r := mustLook(t, newSurvey(&table{sockets: []Socket{tw}}), All, ports, nil, []BackendPlan{{Name: "api", Ledger: NewLedger(), Endpoints: []Pair{pair}}})
		if p := r.Backends[0].Pairs[0]; p.Free != tc.free || p.TimeWaitOther != 1 || p.Ports != 10 {
			t.Errorf("%s: %+v, want %d free", tc.name, p, tc.free)
		}
	}
}

func TestARangeThatIsReservedWholeIsUsedUp(t *testing.T) {
	pair := Pair{netip.MustParseAddr("127.0.0.1"), ap("127.0.0.1:9001")}
	r := mustLook(t, newSurvey(&table{}), All, testPorts(t, "50000 50009", "50000-50009"), nil, []BackendPlan{{Name: "api", Ledger: NewLedger(), Endpoints: []Pair{pair}}})
	if p := r.Backends[0].Pairs[0]; p.Ports != 0 || p.Used() != 1 {
		t.Errorf("%+v: %v is used, want all", p, p.Used())
	}
}

func TestPortsThatAreReservedOrBoundAreNotFree(t *testing.T) {
	pair := Pair{netip.MustParseAddr("127.0.0.1"), ap("127.0.0.1:9001")}
	k := &table{sockets: []Socket{
		socket(Listen, "0.0.0.0:50001", "0.0.0.0:0"), socket(Listen, "0.0.0.0:50001", "0.0.0.0:0"), // two shards
		socket(Listen, "0.0.0.0:8080", "0.0.0.0:0"), socket(Listen, "0.0.0.0:50003", "0.0.0.0:0"), // out of the range, and reserved
		socket(Bound, "10.9.9.9:50002", "0.0.0.0:0"),
		socket(Established, "127.0.0.1:50007", "127.0.0.1:9001"),
		socket(Established, "127.0.0.1:1234", "127.0.0.1:9001"), // bound by hand, out of the range
	}}
	v, ports := newSurvey(k), testPorts(t, "50000\t50009\n", "22,50003-50004,50009\n")
	plan := []BackendPlan{{Name: "api", Ledger: NewLedger(), Endpoints: []Pair{pair}}}
	for _, mask := range []Mask{All | MaskOf(Bound), All} { // what was bound is remembered
		p := mustLook(t, v, mask, ports, nil, plan).Backends[0].Pairs[0]
		if p.Ports != 7 || p.Bound != 2 || p.InUse != 1 || p.Free != 4 {
			t.Errorf("%+v, want 7 ports, 2 of them bound, 1 in use, 4 free", p)
		}
	}
	k.sockets = k.sockets[:4]
	if p := mustLook(t, v, All|MaskOf(Bound), ports, nil, plan).Backends[0].Pairs[0]; p.Bound != 1 {
		t.Errorf("%d ports are bound, want 1: the other was given back", p.Bound)
	}
}

func TestTheClientsWithTheMostSocketsAreFoundInBoundedMemory(t *testing.T) {
	var tp top
	r := rand.New(rand.NewPCG(1, 2))
	for range 2 { // it is used again for every list
		tp.reset()
		for i := range 60_000 {
			switch {
			case i < 10_000: // all counters are taken when those come who count
				tp.add(netip.AddrFrom4([4]byte{12, 0, byte(i >> 8), byte(i)}))
			case i%10 == 0:
				tp.add(netip.AddrFrom4([4]byte{10, 0, 0, byte(i / 10 % 8)})) // 8 clients with 625 each
			case i%10 == 1: // one IPv6 customer with many addresses
				var a [16]byte
				copy(a[:], []byte{0x20, 0x01, 0xd, 0xb8, 1, 2, 3, 4, byte(i), byte(i >> 8), byte(r.Uint32())})
				tp.add(netip.AddrFrom16(a))
			default:
				tp.add(netip.AddrFrom4([4]byte{11, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}))
			}
		}
	}
	if len(tp.heap) > topCounters || len(tp.at) > topCounters {
		t.Fatalf("%d counters, the bound is %d", len(tp.heap), topCounters)
	}
	most := tp.most(10)
	if len(most) != 10 || most[0].Addr.String() != "2001:db8:102:304::" || most[0].Sockets < 5000 || most[0].Sockets > 5000+60_000/topCounters {
		t.Fatalf("%v, want the /64 first with 5000", most)
	}
	for _, c := range most[1:9] {
		if c.Addr.As4()[0] != 10 || c.Sockets < 625 || c.Sockets > 625+60_000/topCounters {
			t.Errorf("%v is among the first nine; want the eight with 625 each, too high by %d at most", c, 60_000/topCounters)
		}
	}
}

func TestListsTakeTheirShareHoweverDearTheyAre(t *testing.T) {
	var b Budget
	r := rand.New(rand.NewPCG(3, 4))
	start := time.Unix(1e9, 0)
	now, spent := start, time.Duration(0)
	for now.Sub(start) < time.Hour {
		tick := 50 * time.Microsecond
		b.Spend(tick)
		spent += tick
		if b.Due(now) {
			cost := time.Duration(r.ExpFloat64() * float64(40*time.Millisecond))
			spent += cost
			b.Listed(now, cost)
		}
		now = now.Add(time.Second)
	}
	if share := spent.Seconds() / now.Sub(start).Seconds(); share > 0.005 || share < 0.002 {
		t.Errorf("lists took %.4f of a processor, want under 0.005 and not much less", share)
	}
	if b.Spent() != spent {
		t.Errorf("%v are said to be spent, want %v", b.Spent(), spent)
	}
}
