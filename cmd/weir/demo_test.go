package main

import (
	"net/netip"
	"strings"
	"testing"

	"weir/internal/demo"
)

func TestTheDemonstrationFitsTheDescriptorsThatThereAre(t *testing.T) {
	for _, protocol := range []string{"http", "mysql"} {
		for _, c := range []int{1, 32, 400, 10_000} {
			fits(t, protocol, c)
		}
	}
}

func fits(t *testing.T, protocol string, c int) {
	all, err := demoClients(protocol, c, 1<<20)
	if err != nil || all != max(2000, 4*c) {
		t.Errorf("%s, -c %d: %d clients, %v", protocol, c, all, err)
	}
	_, err = demoClients(protocol, c, 1)
	if err == nil || !strings.Contains(err.Error(), "lower -c") {
		t.Errorf("%s, -c %d: %v", protocol, c, err)
	}
	last := 0
	for _, limit := range []uint64{300, 600, 1000, 2500, 20_000, 120_000} {
		clients, err := demoClients(protocol, c, limit)
		if err != nil {
			if last != 0 {
				t.Fatalf("%s, -c %d: refused with %d descriptors and not with fewer", protocol, c, limit)
			}
			continue
		}
		b := demo.Backend{Address: netip.MustParseAddrPort("127.0.0.1:1"), User: "user", Password: "1e10"}
		cfg, err := demoConfig(protocol, b, c, clients)
		if err != nil {
			t.Fatal(err)
		}
		if clients < 2*c || clients < last || uint64(cfg.Descriptors()+c) > limit || cfg.Backends[0].Queue.Max < c {
			t.Fatalf("%s, -c %d, %d descriptors: %d clients after %d, %d descriptors needed", protocol, c, limit, clients, last, cfg.Descriptors())
		}
		if protocol == "mysql" && (cfg.Listeners[0].MaxLogins < c || len(cfg.Backends[0].Users) != 1) {
			t.Fatalf("-c %d: %d logins at one time, %d users", c, cfg.Listeners[0].MaxLogins, len(cfg.Backends[0].Users))
		}
		last = clients
	}
}
