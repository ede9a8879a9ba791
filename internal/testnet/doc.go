// Package testnet is the network that weir's tests run on: network namespaces, a
// link between two of them that delays, drops and reorders, backends that
// misbehave on purpose, connections that fail on purpose, and real nginx and
// HAProxy processes.
//
// It is for tests only. Everything that is made with a testing.TB is torn down
// in its Cleanup, which waits for every goroutine and process.
package testnet
