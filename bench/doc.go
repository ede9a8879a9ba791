// Package bench runs weir side by side with others on the same machine, in turn,
// with the same client and the same server behind them: HTTP with nginx and
// HAProxy, MySQL with HAProxy in TCP mode, and both without any proxy. It
// measures what a request or a connection costs each proxy in CPU time, what it
// costs the backend, what an idle client costs in memory, and which sockets are
// left behind. Ratios within one run are what counts: absolute times on a shared
// machine are noise.
//
// The overload runs ask for more than a backend of known capacity can answer, at
// moments that no answer can delay, and measure what comes through in time: HTTP
// with nginx and HAProxy, MySQL in mode transaction.
//
// The runs are tests behind the build tag bench; make bench starts them.
// docs/bench.md says how each figure is measured.
package bench
