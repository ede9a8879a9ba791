package main

import (
	"strings"
	"testing"
)

func TestTheDemonstrationFitsTheDescriptorsThatThereAre(t *testing.T) {
	for _, c := range []int{1, 32, 400, 10_000} {
		all, err := demoClients(c, 1<<20)
		if err != nil || all != max(2000, 4*c) {
			t.Errorf("-c %d: %d clients, %v", c, all, err)
		}
		_, err = demoClients(c, 1)
		if err == nil || !strings.Contains(err.Error(), "lower -c") {
			t.Errorf("-c %d: %v", c, err)
		}
		last := 0
		for _, limit := range []uint64{300, 600, 1000, 2500, 20_000, 120_000} {
			clients, err := demoClients(c, limit)
			if err != nil {
				if last != 0 {
					t.Fatalf("-c %d: refused with %d descriptors and not with fewer", c, limit)
				}
				continue
			}
			cfg, err := demoConfig("127.0.0.1:1", c, clients)
			if err != nil {
				t.Fatal(err)
			}
			if clients < 2*c || clients < last || uint64(cfg.Descriptors()+c) > limit || cfg.Backends[0].Queue.Max < c {
				t.Fatalf("-c %d, %d descriptors: %d clients after %d, %d descriptors needed", c, limit, clients, last, cfg.Descriptors())
			}
			last = clients
		}
	}
}
