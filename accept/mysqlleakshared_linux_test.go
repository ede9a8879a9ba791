package accept

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
)

// In mode transaction A and B are there at the same time and have one connection
// to share: what A has made is out of B's sight while A stays, or B waits for A's
// end, and when A has left it is gone as in mode session.
func TestAcceptNothingLeaksThroughAConnectionThatClientsShare(t *testing.T) {
	resets := []string{"always", "proven"}
	if len(buildTags) > 0 {
		resets = resets[:1] // as in mode session
	}
	for _, reset := range resets {
		t.Run(reset, func(t *testing.T) {
			t.Parallel()
			r := newLeakRig(t)
			w := startMySQLWeir(t, r.m, mysqlOptions{maxOpen: 1, mode: "transaction", reset: reset})
			var shared, waited int
			for _, k := range append(slices.Clone(leaks), leakVariables(t, r)...) {
				t.Run(k.name, func(t *testing.T) {
					want := k.want(t, r)
					if k.tracked() {
						want = k.wantOf(t, r, w.address)
					}
					if k.beside(t, r, w, want) {
						shared++
					} else {
						waited++
					}
					if t.Failed() {
						t.Fatal("A was there")
					}
					ways := k.allWays()
					if reset != "always" {
						ways = ways[:1] // how A leaves is another thing than what is left out then
					}
					for _, how := range ways {
						k.through(t, r, w.address, how, want)
						if t.Failed() {
							t.Fatalf("A %s", how)
						}
					}
				})
			}
			t.Logf("B was served beside A in %d rows, and waited for A's end in %d", shared, waited)
			if shared < 15 || waited < 200 {
				t.Errorf("B was served beside A in %d rows, and waited for A's end in %d; want at least 15 and 200", shared, waited)
			}
		})
	}
}

// beside runs a row with A still there when B comes. It reports whether B was
// served beside A; if not, A has something, and leaves.
func (k *leak) beside(t *testing.T, r *leakRig, w *mysqlWeir, want []string) (shared bool) {
	t.Helper()
	r.fixture(t, k)
	a := r.dial(t, w.address, k.a)
	k.make(t, a)
	before := r.oneBackend(t)
	seen := make(chan []string, 1)
	go func() {
		b, err := dialLeak(t, w.address, k.b) // the first login of its kind waits for the connection, too
		if err != nil {
			seen <- []string{"log in: " + err.Error()}
			return
		}
		defer b.leave(quits)
		seen <- b.view(k.see)
	}()
	var got []string
	testnet.Poll(besideWait, func() bool {
		select {
		case got = <-seen:
			return true
		default:
			return w.pinned(t) > 0
		}
	})
	shared = got != nil
	a.leave(quits)
	if !shared {
		got = <-seen // the client's own deadlines bound it
	}
	compare(t, got, want)
	if k.handedOn() { // else B's own may be closed already
		if after := r.oneBackend(t); before != after {
			t.Errorf("B has backend connection %s and A had %s: it was not handed on", after, before)
		}
	}
	k.free(t, r)
	return shared
}

// besideWait is how long B may take to be served where A is not known to be pinned:
// more than a connection lingers. In a transaction A keeps it beyond that.
const besideWait = 400 * time.Millisecond

// pinned is how many clients are.
func (w *mysqlWeir) pinned(t *testing.T) (n int64) {
	t.Helper()
	_, text := w.page("/api/status")
	var s struct {
		Backends []struct {
			MySQL struct{ Pinned map[string]int64 }
		}
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	for _, b := range s.Backends {
		for _, of := range b.MySQL.Pinned {
			n += of
		}
	}
	return n
}

// tracked says whether a row looks at what weir sets itself in mode transaction.
func (k *leak) tracked() bool { return strings.Contains(k.see[0], "session_track_") }

// wantOf is what B sees through weir on a connection that nobody had before.
func (k *leak) wantOf(t *testing.T, r *leakRig, address string) []string {
	t.Helper()
	for _, id := range r.backends(t) {
		r.m.Exec("KILL " + id)
	}
	testnet.WaitFor(t, soon, "the server to end what weir had", func() bool { return len(r.backends(t)) == 0 })
	b := r.dial(t, address, k.b)
	defer b.leave(quits)
	return b.view(k.see)
}
