// Package pool keeps connections to one endpoint of one backend: never more
// than it may, never one that is dead, never two users of one.
//
// A Pool has keys (for MySQL a user and database; HTTP has one). Connections of
// a key serve only that key, but all keys share one hard bound, counted where
// sockets are made. Who finds nothing idle waits in a bounded queue, and what
// comes free goes straight to a waiter.
//
// Keys may form groups (for MySQL, all keys of a user), each with a bound of its
// own beside the pool's and as hard. Who waits for a place in a full group is
// passed over, not waited for: others are dialled for as if it were not there,
// nothing of theirs is closed for it, and what makes room for it, idle or coming
// back, is its own group's.
//
// Who waits has a class: the most important is served first whom a connection
// fits, also before those who came earlier, and what is above applies within
// that. SetTarget lets classes shed whom they cannot serve soon; SetInFlight
// keeps leases below what is open. Neither takes a lease away.
//
// puddle holds the resources and idle stack of each key. What it leaves open is
// here: the bounds over all keys and over groups, hand-over, pacing of dials,
// fairness between keys, liveness, lifetimes.
package pool
