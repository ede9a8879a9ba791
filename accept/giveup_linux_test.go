package accept

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/tcpstat"
)

// A client that gives up and one that half-closes look the same until they
// answer to the response. Only after the second is its address closed
// gracefully. Weir is 20 ms away, so that the answer is not there at once.
func TestAcceptAClientThatGivesUpCostsNobodyTheQuietClose(t *testing.T) {
	delay := testnet.Impairment{Delay: 10 * time.Millisecond}
	link := testnet.NewLink(t, testnet.LinkOptions{AtoB: delay, BtoA: delay})
	l, err := link.B.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	arrived, free := make(chan struct{}), make(chan struct{})
	backend := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			arrived <- struct{}{}
			<-free
		}
		io.WriteString(w, "hello")
	})}
	go backend.Serve(l) // ends with Close
	t.Cleanup(func() { backend.Close() })
	prefix := link.B.Command("x").Args
	w := start(t, fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "%s", backend: api}
backends:
  - {name: api, endpoints: ["%s"]}
`, netip.AddrPortFrom(link.AddrB, 0), l.Addr()), prefix[:len(prefix)-1]...)

	connect := func() *net.TCPConn {
		c, err := link.A.Dial("tcp", w.addr["web"])
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(30 * time.Second))
		return c.(*net.TCPConn)
	}
	closed := func() map[string]uint64 { return w.statusFrom(link.B).Listeners[0].Closed }
	ended := func(n int) {
		testnet.WaitFor(t, 20*time.Second, "the end of every connection", func() bool {
			sum := uint64(0)
			for _, c := range closed() {
				sum += c
			}
			return sum == uint64(n)
		})
	}
	// early sends a request and its FIN, and lets the backend answer when both
	// have been read.
	early := func(fin func(*net.TCPConn) error) *net.TCPConn {
		c := connect()
		io.WriteString(c, "GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		<-arrived
		if err := fin(c); err != nil {
			t.Fatal(err)
		}
		closeWait := func(s *tcpstat.Socket) bool { return s.State == tcpstat.CloseWait }
		if !shown(t, link.B, c.RemoteAddr(), c.LocalAddr(), closeWait) {
			t.Fatal("the FIN did not reach weir")
		}
		free <- struct{}{}
		return c
	}
	short := func() {
		c := connect()
		defer c.Close()
		io.WriteString(c, saysClose)
		if body, err := readResponse(c, make([]byte, 4096)); err != nil || body != "hello" {
			t.Fatalf("%q, %v", body, err)
		}
	}

	early((*net.TCPConn).Close)
	ended(1)
	if got := closed(); got["reset"] != 1 {
		t.Errorf("a client that gave up is counted as %v", got)
	}
	for range 3 {
		short()
	}
	ended(4)
	if got := closed(); got["quiet"] != 3 {
		t.Errorf("after a client that gave up others were closed %v", got)
	}

	c := early((*net.TCPConn).CloseWrite)
	if body, err := readResponse(c, make([]byte, 4096)); err != nil || body != "hello" {
		t.Errorf("a client that half-closed got %q, %v", body, err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("and then %d bytes and %v", n, err)
	}
	c.Close()
	ended(5)
	short()
	ended(6)
	if got := closed(); got["quiet"] != 3 || got["peer_first"] != 1 || got["half_closed"] != 1 {
		t.Errorf("after a client that half-closed its address was closed %v", got)
	}
	figure(t, "one client gave up, 3 left after their response, one half-closed, one more left: closed %v", closed())
}
