// Package reason names why weir opened and why it closed a connection. The
// words become metric labels and log fields, so they are a closed list: adding
// one is adding a label value, and docs/metrics.md lists them all.
package reason

// Open says why a backend connection was dialled.
type Open uint8

const (
	OpenDemand   Open = iota // a waiter had no idle connection to take
	OpenMinIdle              // the pool was below min_idle
	OpenFresh                // a request is sent again after its reused connection was found dead
	OpenReserved             // a kill or a check, outside max_open
	opens
)

var openNames = [opens]string{"demand", "min_idle", "fresh", "reserved"}

func (o Open) String() string { return name(openNames[:], uint8(o)) }

// Opens returns every Open, in order, for those who make labels of them.
func Opens() []Open { return all[Open](uint8(opens)) }

// Close says why a backend connection was closed.
type Close uint8

const (
	CloseIdle          Close = iota // idle longer than idle_timeout, or than the backend was seen to allow
	CloseAge                        // older than max_lifetime
	CloseBackendFIN                 // the backend's FIN was seen while the connection was idle
	CloseUnsolicited                // the backend sent bytes nobody asked for
	CloseBroken                     // the socket had an error while it was idle
	CloseSaidClose                  // the backend or the exchange said this was the last one
	CloseExtraBytes                 // bytes followed a complete response
	CloseStale                      // a reused connection died before its first response byte
	CloseBackendError               // the backend failed in mid-exchange
	CloseBadResponse                // the backend's answer was not understood
	CloseTimeout                    // the backend did not answer or went silent in time
	CloseClientGone                 // the client left in mid-exchange
	CloseSlow                       // the client was slow while others waited
	CloseEarlyResponse              // the backend answered before it had read the whole request
	CloseUpgraded                   // a tunnel ended
	CloseKeyNeeded                  // its place was needed for another key
	CloseResized                    // max_open was lowered
	CloseGeneration                 // the backend's settings changed by a reload
	CloseDrain                      // weir is stopping, or the backend was removed
	CloseConnect                    // the login did not succeed
	CloseReserved                   // a kill or a check is over
	CloseKilled                     // MySQL: a KILL was sent for it, or it was dedicated to a replica
	CloseNotReset                   // MySQL: what its session left could not be undone
	closes
)

var closeNames = [closes]string{
	"idle", "age", "backend_fin", "unsolicited", "broken", "said_close", "extra_bytes", "stale",
	"backend_error", "bad_response", "timeout", "client_gone", "slow", "early_response", "upgraded",
	"key_needed", "resized", "generation", "drain", "connect", "reserved", "killed", "not_reset",
}

func (c Close) String() string { return name(closeNames[:], uint8(c)) }

// Closes returns every Close, in order, for those who make labels of them.
func Closes() []Close { return all[Close](uint8(closes)) }

func name(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return "unknown"
}

func all[T ~uint8](n uint8) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = T(i)
	}
	return out
}
