// Package bench runs weir side by side with nginx and HAProxy: the same backend,
// the same client, in turn, on the same machine. It measures what a request
// costs each proxy in CPU time, what it costs the backend, and what is left
// behind. Ratios within one run are what counts: absolute times on a shared
// machine are noise.
//
// The runs are tests behind the build tag bench; make bench starts them.
package bench
