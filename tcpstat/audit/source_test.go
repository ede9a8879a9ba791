package audit

import (
	"net/netip"
	"strings"
	"testing"
)

// Two backends on one endpoint share the ports towards it, and do not with
// sources of their own. Another source's sockets say nothing of theirs.
func TestEachSourceHasTheRangeForItself(t *testing.T) {
	const endpoint = "10.0.0.5:3306"
	budget := func(sources ...string) (worst int64, name string) {
		p := &Plan{}
		for _, s := range sources {
			b := Backend{Endpoint: endpoint, MaxOpen: 20000}
			if s != "" {
				b.Source = netip.MustParseAddr(s)
			}
			p.Backends = append(p.Backends, b)
		}
		d := p.demands()
		return d[0].worst, d[0].title()
	}
	if n, name := budget("10.0.0.1", "10.0.0.1"); n != 40000 || name != endpoint+" from 10.0.0.1" {
		t.Errorf("one source: %d of %s", n, name)
	}
	if n, _ := budget("10.0.0.1", "10.0.0.2"); n != 20000 {
		t.Errorf("two sources: %d", n)
	}
	if n, name := budget("", ""); n != 40000 || name != endpoint {
		t.Errorf("no source: %d of %s", n, name)
	}

	s := aScene()
	s.sockets.towards(endpoint, 5000) // from 10.0.0.1
	s.plan.Backends[0].Source = netip.MustParseAddr("10.0.0.1")
	if f, seen := fullest(s.sockets, s.plan); f == nil {
		t.Errorf("the backend's own sockets are not seen: %s", seen)
	}
	s.plan.Backends[0].Source = netip.MustParseAddr("10.0.0.2")
	if f, _ := fullest(s.sockets, s.plan); f != nil {
		t.Errorf("sockets of another source are taken for the backend's: %v", f)
	}
	if f := s.run()["port_budget"]; !strings.Contains(f.Found, endpoint+" from 10.0.0.2 needs") {
		t.Errorf("found %q in %v", f.Found, f)
	}
}
