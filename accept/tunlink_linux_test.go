package accept

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/tcpstat"
)

// far is a weir and its backend in one namespace, with clients in another:
// between them is a link that delays, loses and reorders.
type far struct {
	t       *testing.T
	link    *testnet.Link
	weir    *weir
	backend *testnet.Backend
	addr    string // of weir's listener
}

// startFar starts all of it. listener is more of the listener's configuration.
func startFar(t *testing.T, o testnet.LinkOptions, listener string) *far {
	t.Helper()
	l := testnet.NewLink(t, o)
	b := testnet.NewBackendAt(t, l.B.Listen, "127.0.0.1:0", farBackend)
	yaml := strings.Replace(oneBackend(b.Addr().String(), listener, "pool: {max_open: 64}, dial: {rate: 1000/s}, queue: {max: 1000, timeout: 10s}"),
		"127.0.0.1:0", netip.AddrPortFrom(l.AddrB, 0).String(), 1)
	prefix := l.B.Command("weir").Args
	w := start(t, yaml, prefix[:len(prefix)-1]...)
	return &far{t: t, link: l, weir: w, backend: b, addr: w.addr["web"]}
}

// farBackend answers GET /size/late with so many bytes after so many
// milliseconds, and a POST with its body.
func farBackend(c *testnet.BackendConn) {
	for {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		var size, late int
		fmt.Sscanf(r.Target, "/%d/%d", &size, &late)
		body := r.Body
		if r.Method == "GET" {
			body = farBytes[:size]
		}
		if late > 0 && !c.Pause(time.Duration(late)*time.Millisecond) || c.Send(testnet.Response(200, string(body))) != nil {
			return
		}
	}
}

var farBytes = func() []byte {
	b := make([]byte, 8<<20)
	for i := range b {
		b[i] = byte(i*7>>3) ^ byte(i>>11)
	}
	return b
}()

// dial opens a client's connection. from is its address, the link's own if zero.
func (f *far) dial(from netip.Addr, control func(fd uintptr)) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: 30 * time.Second}
	if from.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: from.AsSlice()}
	}
	if control != nil {
		d.Control = func(_, _ string, rc syscall.RawConn) error { return rc.Control(control) }
	}
	var c net.Conn
	var err error
	f.link.A.Do(func() { c, err = d.Dial("tcp", f.addr) })
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return c.(*net.TCPConn), nil
}

func farRequest(size, late int, last bool) string {
	more := ""
	if last {
		more = "Connection: close\r\n"
	}
	return fmt.Sprintf("GET /%d/%d HTTP/1.1\r\nHost: far\r\n%s\r\n", size, late, more)
}

// farWhole says whether raw is a whole response with size bytes of farBytes.
func farWhole(raw []byte, size int) bool {
	head, body, ok := bytes.Cut(raw, []byte("\r\n\r\n"))
	return ok && bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) && bytes.Equal(body, farBytes[:size])
}

// each runs n clients, so many at a time.
func (f *far) each(n, at int, client func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range at {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				client(i)
			}
		})
	}
	wg.Wait()
}

// status asks the weir in the other namespace.
func (f *far) status() (s status) {
	f.t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
		return f.link.B.Dial(network, addr)
	}}
	resp, err := (&http.Client{Transport: tr, Timeout: 30 * time.Second}).Get("http://" + f.weir.admin + "/api/status")
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		f.t.Fatal(err)
	}
	return s
}

// farTimeWaits is what stands in TIME_WAIT at the four ends.
type farTimeWaits struct{ client, listener, dialled, backend int }

func (e farTimeWaits) sum() int { return e.client + e.listener + e.dialled + e.backend }

func (f *far) timeWaits() (e farTimeWaits) {
	f.t.Helper()
	count := func(ns *testnet.Netns, side tcpstat.Side, addr netip.AddrPort) int {
		var r *tcpstat.Reader
		var err error
		ns.Do(func() { r, err = tcpstat.Open() })
		if err != nil {
			f.t.Fatal(err)
		}
		defer r.Close()
		filter := tcpstat.Filter{States: tcpstat.MaskOf(tcpstat.TimeWait)}
		if side == tcpstat.Local {
			filter.LocalPort = addr.Port()
		} else {
			filter.RemotePort = addr.Port()
		}
		c, err := r.Counts(filter)
		if err != nil {
			f.t.Fatal(err)
		}
		return c[tcpstat.TimeWait]
	}
	listener := netip.MustParseAddrPort(f.addr)
	e.client = count(f.link.A, tcpstat.Remote, listener)
	e.listener = count(f.link.B, tcpstat.Local, listener)
	e.dialled = count(f.link.B, tcpstat.Remote, f.backend.Addr())
	e.backend = count(f.link.B, tcpstat.Local, f.backend.Addr())
	return e
}

// shown waits until the kernel shows the socket that leads from local to remote
// in a namespace as ok wants it, and says whether it did.
func shown(t *testing.T, ns *testnet.Netns, local, remote net.Addr, ok func(*tcpstat.Socket) bool) bool {
	from, to := netip.MustParseAddrPort(local.String()), netip.MustParseAddrPort(remote.String())
	var r *tcpstat.Reader
	var err error
	ns.Do(func() { r, err = tcpstat.Open() })
	if err != nil {
		t.Error(err)
		return false
	}
	defer r.Close()
	f := tcpstat.Filter{LocalPort: from.Port(), RemotePort: to.Port()}
	return testnet.Poll(20*time.Second, func() (found bool) {
		r.Each(f, func(s *tcpstat.Socket) bool { // a list that fails is asked for again
			found = s.Local == from && s.Remote == to && ok(s)
			return !found
		})
		return found
	})
}

// perfect fails the test if the link dropped packets that it should not have.
func (f *far) perfect() {
	f.t.Helper()
	for _, d := range []testnet.Direction{testnet.AtoB, testnet.BtoA} {
		tr := f.link.Traffic(d)
		if tr.Overflow+tr.Unroutable != 0 || f.link.DeviceDrops(f.t, d) != 0 {
			f.t.Errorf("direction %d: %+v, %d dropped by the device", d, tr, f.link.DeviceDrops(f.t, d))
		}
	}
}

// farOne makes one request as short clients do: it reads the response, no
// further, and closes.
func (f *far) farOne(size int) error {
	c, err := f.dial(netip.Addr{}, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, farRequest(size, 0, true)); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	got := make([]byte, size)
	if _, err := io.ReadFull(resp.Body, got); err != nil {
		return err
	}
	if resp.StatusCode != 200 || !bytes.Equal(got, farBytes[:size]) {
		return fmt.Errorf("status %d and other bytes", resp.StatusCode)
	}
	return nil
}

const farDelay = 20 * time.Millisecond

func delayed(d time.Duration) testnet.LinkOptions {
	return testnet.LinkOptions{AtoB: testnet.Impairment{Delay: d}, BtoA: testnet.Impairment{Delay: d}}
}
