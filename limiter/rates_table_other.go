//go:build !linux

package limiter

// newTable takes the buckets from Go's heap: their untouched pages count against
// GOMEMLIMIT, as on Linux they do not.
func newTable(buckets int, _ *rateShard) []rateBucket { return make([]rateBucket, buckets) }
