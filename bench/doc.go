// Package bench runs weir side by side with nginx and HAProxy: the same backend,
// the same client, in turn, on the same machine. It measures what a request
// costs each proxy in CPU time and system calls, what it costs the backend, what
// an idle client costs in memory, and which sockets are left behind. Ratios
// within one run are what counts: absolute times on a shared machine are noise.
//
// The runs are tests behind the build tag bench; make bench starts them.
// docs/bench.md says how each figure is measured.
package bench
