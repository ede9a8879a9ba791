// Package pool keeps connections to one endpoint of one backend: never more
// than it may, never one that is dead, never two users of one.
//
// A Pool has keys (for MySQL a user and database; HTTP has one). Connections of
// a key serve only that key, but all keys share one hard bound, counted where
// sockets are made. Who finds nothing idle waits in a bounded queue, and what
// comes free goes straight to a waiter.
//
// puddle holds the resources and idle stack of each key. What it leaves open is
// here: the bound over all keys, hand-over, pacing of dials, fairness between
// keys, liveness, lifetimes.
package pool
