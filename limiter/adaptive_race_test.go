//go:build race

package limiter

// Simulations run in one goroutine: under the race detector they only take longer.
var simSeeds = []uint64{1}
