package mysql_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"weir/internal/testnet"
)

// Every connection to the server has the source address: the first, by which weir
// gets to know it, those of clients, and the one that a KILL goes over.
func TestEveryConnectionToTheServerComesFromTheSource(t *testing.T) {
	const source = "127.0.0.5"
	from := func(o rigOptions) *rig {
		o.source = netip.MustParseAddr(source)
		return newRig(t, o)
	}
	f := newFake(t, echo)
	r := from(rigOptions{backend: f.address()})
	a, b := r.login(loginAs{}), r.login(loginAs{})
	a.alive()
	b.alive()
	if k := b.query(fmt.Sprint("KILL ", a.greet.ConnID)); k.code != 0 {
		t.Fatalf("got %v", k)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.conns) < 4 {
		t.Errorf("%d connections, want 4: to get to know it, two clients', and the KILL's", len(f.conns))
	}
	for _, c := range f.conns {
		if host, _, _ := net.SplitHostPort(c.RemoteAddr().String()); host != source {
			t.Errorf("connection %d came from %s", c.id, host)
		}
	}

	m := testnet.StartMariaDB(t)
	c := from(rigOptions{backend: m.Address(), users: accounts("app")}).login(loginAs{})
	if got := c.do("SELECT USER()").one(); got != "app@"+source {
		t.Errorf("the server sees %s", got)
	}
}
