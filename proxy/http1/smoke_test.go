package http1_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/proxy/http1"
)

// transport is a way for clients to come in and for weir to reach a backend.
type transport struct {
	name   string
	listen string
	wrap   func(net.Conn) net.Conn // the listener's layer
	over   func(net.Conn) net.Conn // the client's
	unix   bool                    // the backend is a unix socket
}

func transports(t *testing.T) []transport {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a"}}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	roots := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(parsed)
	return []transport{
		{name: "tcp"},
		{name: "tls", wrap: func(c net.Conn) net.Conn { return tls.Server(c, server) },
			over: func(c net.Conn) net.Conn { return tls.Client(c, &tls.Config{RootCAs: roots, ServerName: "a"}) }},
		{name: "unix", listen: "unix:" + filepath.Join(shortDir(t), "w"), unix: true},
	}
}

// shortDir: the path of a unix socket may have about 100 bytes.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// backendFor starts an HTTP server on the transport's kind of socket.
func (tr transport) backend(t *testing.T, h http.HandlerFunc) string {
	network, address := "tcp", "127.0.0.1:0"
	if tr.unix {
		network, address = "unix", filepath.Join(shortDir(t), "b")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	if tr.unix {
		return "unix:" + address
	}
	return l.Addr().String()
}

func (tr transport) client(r *rig) *client {
	c := r.dial()
	if tr.over != nil {
		c = tr.over(c)
	}
	return newClient(r.t, c)
}

// The same small tour on every kind of socket.
func TestEveryTransportCarriesTheSame(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 20_000)
	for _, tr := range transports(t) {
		t.Run(tr.name, func(t *testing.T) {
			release := make(chan struct{})
			address := tr.backend(t, func(w http.ResponseWriter, req *http.Request) {
				switch req.URL.Path {
				case "/large":
					io.WriteString(w, large)
				case "/events":
					for range 3 {
						io.WriteString(w, "event\n")
						w.(http.Flusher).Flush()
						<-release
					}
				case "/ws":
					c, rw, err := w.(http.Hijacker).Hijack()
					if err != nil {
						return
					}
					defer c.Close()
					io.WriteString(c, switched)
					io.Copy(c, rw)
				default:
					body, _ := io.ReadAll(req.Body)
					fmt.Fprintf(w, "%s %d", req.URL.Path, len(body))
				}
			})
			r := newRig(t, rigOptions{backend: address, listen: tr.listen, wrap: tr.wrap, settings: func(s *http1.Settings) {
				s.SendTimeout = 5 * time.Second
			}})
			c := tr.client(r)
			for i := range 20 {
				want := fmt.Sprintf("/%d 0", i)
				if a := c.ask(want[:len(want)-2]); a.status != 200 || a.body != want {
					t.Fatalf("got %q %q", a.head, a.body)
				}
			}
			for _, size := range []int{10, 10_000, 60_000, 500_000} {
				go io.WriteString(c.Conn, fmt.Sprintf("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size)))
				if a := c.answer("POST"); a.body != fmt.Sprintf("/p %d", size) {
					t.Fatalf("got %q %q", a.head, a.body)
				}
			}
			c.send(expect(5))
			if a := c.answer("POST"); a.status != 100 {
				t.Fatalf("got %q", a.head)
			}
			c.send("hello")
			if a := c.answer("POST"); a.body != "/x 5" {
				t.Fatalf("got %q %q", a.head, a.body)
			}
			if a := c.ask("/large"); a.body != large {
				t.Fatalf("got %q and %d bytes", a.head, len(a.body))
			}
			c.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n")
			if a, b := c.answer("GET"), c.answer("GET"); a.body != "/a 0" || b.body != "/b 0" {
				t.Fatalf("got %q and %q", a.body, b.body)
			}
			c.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
			for i := range 3 {
				for line := ""; line != "event\n"; {
					var err error
					if line, err = c.br.ReadString('\n'); err != nil {
						t.Fatalf("event %d: %v", i, err)
					}
				}
				release <- struct{}{}
			}
			if rest, err := c.br.Discard(len("\r\n0\r\n\r\n")); err != nil {
				t.Fatal(rest, err)
			}
			c.send("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			if a := c.answer("GET"); a.body != "/last 0" || a.get("Connection") != "close" {
				t.Fatalf("got %q %q", a.head, a.body)
			}
			c.closed()

			d := tr.client(r)
			d.send("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + smuggled)
			if a := d.answer("GET"); a.status != 400 {
				t.Errorf("got %q", a.head)
			}
			d.Close()

			ws := tr.client(r)
			ws.send(handshake)
			if a := ws.answer("GET"); a.status != 101 {
				t.Fatalf("got %q", a.head)
			}
			ws.send("ping")
			if b, err := ws.br.Peek(4); string(b) != "ping" {
				t.Errorf("got %q, %v", b, err)
			}
			ws.Close()
			testnet.WaitFor(t, testWait, "all clients ended", func() bool { return r.l.Stats().Open == 0 })
			if n := r.opened(); n > 3 {
				t.Errorf("%d backend connections", n)
			}
		})
	}
}

// A client that is parked and comes back, and one whose request is in pieces,
// on every kind of socket.
func TestEveryTransportParksAndResumes(t *testing.T) {
	for _, tr := range transports(t) {
		t.Run(tr.name, func(t *testing.T) {
			address := tr.backend(t, func(w http.ResponseWriter, req *http.Request) { io.WriteString(w, req.URL.Path) })
			r := newRig(t, rigOptions{backend: address, listen: tr.listen, wrap: tr.wrap})
			c := tr.client(r)
			for i := range 3 {
				want := fmt.Sprintf("/%d", i)
				if a := c.ask(want); a.body != want {
					t.Fatalf("got %q", a.head)
				}
				testnet.WaitFor(t, testWait, "the client is parked", func() bool { return r.l.Stats().Parked == 1 })
			}
			for _, piece := range []string{"GET /pi", "eces HTTP/1.1\r\nHo", "st: a\r\n\r", "\n"} {
				c.send(piece)
				testnet.Pace(nil, 20*time.Millisecond) // a slow client, so that weir reads each by itself
			}
			if a := c.answer("GET"); a.body != "/pieces" {
				t.Errorf("got %q", a.head)
			}
		})
	}
}
