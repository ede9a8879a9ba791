package accept

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/testnet"
)

// cpu is the processor time that weir has used.
func (w *weir) cpu() time.Duration {
	w.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.cmd.Process.Pid))
	if err != nil {
		w.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(after) // f[0] is the third field of proc(5)
	var user, system int64
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err != nil {
		w.t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 everywhere
}

func (w *weir) openFiles() int {
	w.t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.cmd.Process.Pid))
	if err != nil {
		w.t.Fatal(err)
	}
	return len(all)
}

// shortage asks over one kept connection, for a new one would need a file: whether
// weir accepts, and how often accepting has failed.
func (w *weir) shortage(c *http.Client) (accepting bool, acceptErrors uint64) {
	w.t.Helper()
	resp, err := c.Get("http://" + w.admin + "/api/status")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	var s struct {
		Listeners []struct {
			Accepting    bool
			AcceptErrors uint64 `json:"accept_errors"`
		}
	}
	if err := json.Unmarshal(b, &s); err != nil || len(s.Listeners) != 1 {
		w.t.Fatalf("status %s: %v", b, err)
	}
	return s.Listeners[0].Accepting, s.Listeners[0].AcceptErrors
}

func TestAcceptClientsBeyondTheFileLimitAreServedAfterOthersLeave(t *testing.T) {
	const clients, room = 90, 40
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer backend.Close()
	w := start(t, oneBackend(backend.Listener.Addr().String(), "", "pool: {max_open: 4, min_idle: 4}"))
	testnet.WaitFor(t, 10*time.Second, "min_idle", func() bool { return w.status().Backends[0].Idle == 4 })
	admin := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer admin.CloseIdleConnections()
	w.shortage(admin)
	limit := uint64(w.openFiles() + room)
	if err := unix.Prlimit(w.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
		t.Fatal(err)
	}

	answered := make([]chan error, clients)
	conns := make([]net.Conn, clients)
	for i := range clients {
		c, err := net.DialTimeout("tcp", w.addr["web"], 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(60 * time.Second))
		conns[i], answered[i] = c, make(chan error, 1)
		go func() { // ends by the deadline
			_, err := io.WriteString(c, justLeaves)
			if err == nil {
				_, err = readResponse(c, make([]byte, 4096))
			}
			answered[i] <- err
		}()
	}
	// Between two looks at its descriptors weir may use up all there are: then
	// accepting fails, and is tried again. At the next look it stops.
	testnet.WaitFor(t, 20*time.Second, "accepting to stop", func() bool { accepting, _ := w.shortage(admin); return !accepting })
	// It stays so: the clients that were served keep their connections.
	shards := uint64(len(listeningSockets(t, w.cmd.Process.Pid, portOf(t, w.addr["web"]))))
	before, looked := w.cpu(), time.Now()
	_, failed := w.shortage(admin)
	asked := time.Now()
	goesOn := testnet.Poll(2*time.Second, func() bool {
		if time.Since(asked) < 100*time.Millisecond {
			return false // to be asked is what weir's CPU would go into
		}
		asked = time.Now()
		accepting, failures := w.shortage(admin)
		return accepting || failures > failed+shards // of those who were just at it
	})
	used, window := w.cpu()-before, time.Since(looked)
	if goesOn {
		t.Error("weir accepts, or tries to, while it has no files for clients")
	}
	waiting := 0
	for i := range clients {
		if len(answered[i]) == 0 {
			waiting++
		}
	}
	if waiting < clients-room-2 || waiting == clients {
		t.Errorf("%d of %d clients wait, with %d files for them", waiting, clients, room)
	}
	// One after the other leaves, and so there is a file for each in turn.
	left := make([]bool, clients)
	gone := 0
	testnet.WaitFor(t, 50*time.Second, "an answer for every client", func() bool {
		for i := range clients {
			if left[i] || len(answered[i]) == 0 {
				continue
			}
			if err := <-answered[i]; err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			conns[i].Close()
			left[i] = true
			gone++
		}
		return gone == clients
	})
	figure(t, "%d clients and files for %d: %d waited and were served, %d accept errors at %d sockets",
		clients, room, waiting, failed, shards)
	speed(t, used <= window/4, "CPU of weir while it cannot accept: %v in %v, at most a quarter", used, window.Round(time.Millisecond))
	testnet.WaitFor(t, 10*time.Second, "descriptors to suffice", func() bool { accepting, _ := w.shortage(admin); return accepting })
	ends := w.logLines("no longer short of descriptors")
	if stops := w.logLines("short of descriptors: clients are not accepted, and wait in the kernel's queue"); stops != ends {
		t.Errorf("the log says %d times that descriptors are short, and %d times that they are no longer", stops, ends)
	}
	if code, body := get(t, w.url("/")); code != 200 || body != "hello" {
		t.Errorf("afterwards: %d %q", code, body)
	}
}
