package main

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"weir/tcpstat/audit"
)

const (
	// lookupLimit bounds all lookups of a run: what is not known by then is
	// said to be not known.
	lookupLimit = 2 * time.Second
	lookups     = 16 // at one time
)

// resolve finds the addresses of the endpoints that are names, by endpoint. What
// has none, or none in time, is not in the result. It returns when every lookup
// has.
func resolve(ctx context.Context, lookup func(ctx context.Context, network, host string) ([]netip.Addr, error), backends []audit.Backend) map[string][]netip.AddrPort {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	var (
		mu    sync.Mutex
		out   = map[string][]netip.AddrPort{}
		seen  = map[string]bool{}
		group sync.WaitGroup
		slots = make(chan struct{}, lookups)
	)
	for _, b := range backends {
		host, p, err := net.SplitHostPort(b.Endpoint)
		port, perr := strconv.ParseUint(p, 10, 16)
		if _, ip := netip.ParseAddr(host); err != nil || perr != nil || ip == nil || seen[b.Endpoint] {
			continue
		}
		seen[b.Endpoint] = true
		slots <- struct{}{} // for as long as a lookup takes, at most
		group.Go(func() {
			defer func() { <-slots }()
			all, err := lookup(ctx, "ip", host)
			if err != nil || len(all) == 0 {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, a := range all {
				out[b.Endpoint] = append(out[b.Endpoint], netip.AddrPortFrom(a, uint16(port)))
			}
		})
	}
	group.Wait()
	return out
}
