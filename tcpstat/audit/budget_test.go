package audit

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// budget is what port_budget says of a scene.
func (s *scene) budget() Finding { return s.run()["port_budget"] }

// A backend that only might run short does not hide one that must, whichever asks
// for more at worst.
func TestTheVerdictOnPortsIsTheWorstOfAllDestinations(t *testing.T) {
	s := aScene()
	s.plan.Backends = []Backend{
		{Endpoint: "10.0.0.5:80", MaxOpen: 65535, DialRate: 1},
		{Endpoint: "10.0.0.6:80", MaxOpen: 1, DialRate: 1e6},
	}
	if f := s.budget(); f.Verdict != Fail || f.Found != "28,232 ports for each destination; 10.0.0.5:80 needs 65,535, at worst 65,595" ||
		f.Wanted != "at least 131,070, as connect() is slower from half on" || !strings.HasPrefix(f.Remedy.Do, "and, as that range is not enough either, lower pool.max_open") {
		t.Errorf("%+v, %+v", f, f.Remedy)
	}
	for i := range 4 {
		s.plan.Backends = append(s.plan.Backends, Backend{Endpoint: fmt.Sprintf("10.0.1.%d:80", i), MaxOpen: 28233})
	}
	if f := s.budget(); f.Verdict != Fail || !strings.HasSuffix(f.Found, "; 10.0.0.5:80 needs 65,535, at worst 65,595; 10.0.1.0:80 needs 28,233, at worst 28,233; 10.0.1.1:80 needs 28,233, at worst 28,233; 2 more") {
		t.Errorf("five that fail: %s, %q", f.Verdict, f.Found)
	}
	s.plan.Backends = []Backend{{Endpoint: "10.0.0.5:80", MaxOpen: 14116}, {Endpoint: "10.0.0.6:80", MaxOpen: 1, DialRate: 400}}
	if f := s.budget(); f.Verdict != Pass || f.Wanted != "at least 28,232, as connect() is slower from half on" {
		t.Errorf("at the limit: %s, %+v", f.Verdict, f)
	}
	s.plan.Backends[0].MaxOpen++
	if f := s.budget(); f.Verdict != Warn || !strings.Contains(f.Found, "10.0.0.5:80 needs 14,117") || strings.Contains(f.Found, "10.0.0.6") || !strings.HasPrefix(f.Remedy.Do, "or lower") {
		t.Errorf("one over half: %s, %+v", f.Verdict, f)
	}
}

// However an endpoint is written, its connections take the ports of the address
// that they go to.
func TestEndpointsOfOneAddressShareItsPorts(t *testing.T) {
	resolved := map[string][]netip.AddrPort{
		"localhost:80": {netip.MustParseAddrPort("127.0.0.1:80"), netip.MustParseAddrPort("[::1]:80")},
		"mapped:80":    {netip.MustParseAddrPort("[::ffff:127.0.0.1]:80"), netip.MustParseAddrPort("127.0.0.1:80")},
	}
	for _, tc := range []struct {
		backends string // endpoint, or endpoint=source
		want     int64
		title    string
	}{
		{"127.0.0.1:80 localhost:80", 200, "127.0.0.1:80 (also localhost:80)"},
		{"localhost:80 [::1]:80", 200, "localhost:80 (also [::1]:80)"},
		{"127.0.0.1:80 [::ffff:127.0.0.1]:80 mapped:80", 300, "127.0.0.1:80 (also [::ffff:127.0.0.1]:80, mapped:80)"},
		{"[::1]:80 [0:0:0:0:0:0:0:1]:80", 200, "[::1]:80 (also [0:0:0:0:0:0:0:1]:80)"},
		{"127.0.0.1:80 127.0.0.1:80=127.0.0.1", 200, "127.0.0.1:80 from 127.0.0.1"},
		{"127.0.0.9:80 127.0.0.9:80=127.0.0.1", 200, "127.0.0.9:80 from 127.0.0.1"},
		{"127.0.0.1:80=127.0.0.1 localhost:80", 200, "127.0.0.1:80 (also localhost:80) from 127.0.0.1"},
		{"[::1]:80=::1 localhost:80", 200, "[::1]:80 (also localhost:80) from ::1"},
		{"localhost:80=127.0.0.1 [::1]:80", 100, "localhost:80 from 127.0.0.1"}, // no way to ::1
		{"127.0.0.1:80 127.0.0.1:80=127.0.0.5", 100, "127.0.0.1:80"},
		{"127.0.0.1:80 localhost:81 [::1]:80 127.0.0.2:80", 100, "127.0.0.1:80"},
		{"10.0.0.5:80 10.0.0.5:80=10.0.0.1", 100, "10.0.0.5:80"}, // which the kernel chooses is not known
		{"[fe80::1%a]:80 [fe80::1%b]:80", 100, "[fe80::1%a]:80"},
	} {
		p := &Plan{Resolved: resolved}
		for word := range strings.FieldsSeq(tc.backends) {
			endpoint, source, bound := strings.Cut(word, "=")
			b := Backend{Endpoint: endpoint, MaxOpen: 40, DialRate: 1}
			if bound {
				b.Source = netip.MustParseAddr(source)
			}
			p.Backends = append(p.Backends, b)
		}
		if d := p.demands()[0]; d.worst != tc.want || d.open != tc.want*2/5 || d.title() != tc.title {
			t.Errorf("%s: %q needs %d, at worst %d", tc.backends, d.title(), d.open, d.worst)
		}
	}
	s := aScene()
	s.plan.Backends = []Backend{{Endpoint: "localhost:80", MaxOpen: 30000}}
	s.plan.Resolved = resolved
	if f := s.budget(); f.Verdict != Fail || strings.Count(f.Found, "localhost:80 needs") != 1 {
		t.Errorf("a name of two addresses is told twice: %q", f.Found)
	}
}

// A name without an address may be that of any other backend.
func TestANameWithoutAnAddressIsNoPassForItsPorts(t *testing.T) {
	const says = "; no address is known for no.such.invalid:9001, so whether"
	s := aScene()
	s.named("no.such.invalid:9001")
	if f := s.budget(); f.Verdict != Unknown || !strings.Contains(f.Found, "no.such.invalid:9001 needs 66, at worst 15,426"+says) {
		t.Errorf("%s, %q", f.Verdict, f.Found)
	}
	s.plan.Backends = append(s.plan.Backends, Backend{Endpoint: "10.0.0.5:80", MaxOpen: 28233}, Backend{Endpoint: "no.such.invalid:9001", MaxOpen: 1})
	if f := s.budget(); f.Verdict != Fail || !strings.Contains(f.Found, "; 10.0.0.5:80 needs 28,233") || !strings.Contains(f.Found, says) {
		t.Errorf("beside one that fails: %s, %q", f.Verdict, f.Found)
	}
	s.plan.Backends[0].MaxOpen = 28232 // of both backends of the name
	s.plan.Backends = []Backend{s.plan.Backends[0], s.plan.Backends[2]}
	if f := s.budget(); f.Verdict != Fail || !strings.Contains(f.Found, "no.such.invalid:9001 needs 28,233") {
		t.Errorf("too many by itself: %s, %q", f.Verdict, f.Found)
	}
}

// A wide range has the ports of weir's own listeners in it. What reserves them is
// said before it is made wide, and no other remedy takes it back.
func TestARangeIsMadeWideWithoutTheListenersPorts(t *testing.T) {
	s := aScene()
	s.set(rangeKey, "60000 65535")
	s.set(reservedKey, "30000,50000-50009")
	s.plan.Listeners = nil
	for _, port := range []uint16{8080, 20000, 61000, 20000, 50005, 10240, 10239} {
		s.plan.Listeners = append(s.plan.Listeners, Listener{Port: port})
	}
	s.sockets.towards("10.0.0.5:3306", 5000)
	const reserve = "sysctl -w net.ipv4.ip_local_reserved_ports=30000,50000-50009,20000,61000,10240"
	got := s.run()
	for _, name := range []string{"port_budget", "ports_now"} {
		r := got[name].Remedy
		if r == nil || len(r.Host) != 4 || r.Host[0] != reserve || !strings.HasPrefix(r.Host[2], "sysctl -w net.ipv4.ip_local_port_range='10240 65535'") ||
			!strings.HasSuffix(r.Do, "; reserve the listeners' ports (net.ipv4.ip_local_reserved_ports) before the range is made wider, as they lie in it: 20000, 61000, 10240") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if f := got["ports_reserved"]; f.Remedy == nil || f.Remedy.Host[0] != reserve || !strings.HasPrefix(f.Found, "port 61000 inside") {
		t.Errorf("%+v, %+v", f, f.Remedy)
	}

	s.plan.Listeners = []Listener{{Port: 8080}, {Port: 50000}}
	if r := s.budget().Remedy; r == nil || len(r.Settings) != 1 || strings.Contains(r.Do, "reserve") {
		t.Errorf("nothing to reserve: %+v", r)
	}
	s.set(rangeKey, "1024 65535")
	s.plan.Backends[0].MaxOpen = 40000
	if r := s.budget().Remedy; r == nil || len(r.Settings) != 0 || !strings.HasPrefix(r.Do, "lower pool.max_open") {
		t.Errorf("a range that is wide already is made narrower: %+v", r)
	}
	s.plan = nil
	s.set(rangeKey, "60000 65535")
	if r := s.budget().Remedy; r == nil || !strings.Contains(r.Do, "; reserve the ports from 10240 on that servers here listen on (net.ipv4.ip_local_reserved_ports)") {
		t.Errorf("without a configuration: %+v", r)
	}
}
