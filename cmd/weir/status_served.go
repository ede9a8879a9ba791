package main

import "weir/proxy/fault"

// unserved are outcomes of requests that were over before they had a connection to
// the backend: what a client did wrong, what weir refused, dials that failed. Some
// clients leave, or fall silent, later than that, and are not told apart.
var unserved = func() map[string]bool {
	out := map[string]bool{}
	for _, k := range fault.Kinds() {
		switch k {
		case fault.DialRefused, fault.DialTimeout, fault.BackendRefused:
			out[k.String()] = true
		default:
			out[k.String()] = k.Side() != fault.Backend
		}
	}
	return out
}()

// served counts the requests, by outcome, that got a connection.
func served(outcomes map[string]uint64) (n uint64) {
	for outcome, of := range outcomes {
		if !unserved[outcome] {
			n += of
		}
	}
	return n
}
