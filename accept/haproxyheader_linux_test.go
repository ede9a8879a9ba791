package accept

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/internal/testnet"
)

// HAProxy in TCP mode knows no X-Forwarded-For; it says who connects in a PROXY
// header.
func TestAcceptTheBackendSeesWhoIsBehindHAProxy(t *testing.T) {
	const client, n, c = "127.0.0.77", 500, 8
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	}))
	defer backend.Close()
	// A socket's path has to be short, which a test's own directory is not.
	dir, err := os.MkdirTemp("", "weir-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "weir")
	behind := fmt.Sprintf("max_clients: 1000, proxy_protocol: true, trusted_proxies: [127.0.0.1], allow: [127.0.0.1, %s]", client)
	w := start(t, fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "127.0.0.1:0", backend: api, %[1]s}
  - {name: local, protocol: http, address: "unix:%[2]s", backend: api, %[1]s}
backends:
  - {name: api, endpoints: ["%[3]s"]}
`, behind, socket, backend.Listener.Addr()))
	for i, server := range []string{
		w.addr["web"] + " send-proxy check inter 50ms",
		w.addr["web"] + " send-proxy-v2 check inter 50ms",
		"unix@" + socket + " send-proxy-v2 check inter 50ms",
	} {
		listener := 1 - i/2 // they are in the order of their names
		already := w.status().Listeners[listener].Accepted
		front, stats := startTCPProxy(t, server)
		before := stats() // of the look whether it listens
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
		conn, err := d.Dial("tcp", front)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		br := bufio.NewReader(conn)
		for range 2 {
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatalf("%s: %v", server, err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 200 || string(body) != client {
				t.Errorf("%s: %d, the backend saw %q, %v; want %s", server, resp.StatusCode, body, err, client)
			}
		}
		conn.Close()
		bad := shortStorm(t, n, c, front, saysClose, "127.0.0.1")
		testnet.WaitFor(t, 10*time.Second, "HAProxy's checks have come", func() bool {
			return w.status().Listeners[listener].Accepted-already > n+1+3
		})
		after, st := stats(), w.status().Listeners[listener]
		for k := range after {
			after[k] -= before[k]
		}
		figure(t, "server %s: %d short connections: %v; closed %v", server, n, after, st.Closed)
		if bad > 0 || after["stot"] < n {
			t.Errorf("%s: %d of %d requests failed; HAProxy counted %d sessions", server, bad, n, after["stot"])
		}
		for _, k := range []string{"econ", "eresp", "wretr", "wredis", "srv_abrt"} { // the look may be a cli_abrt, later
			if after[k] != 0 {
				t.Errorf("%s: HAProxy counted %s %d", server, k, after[k])
			}
		}
		if st.Closed["quiet"] > 0 || st.Requests[""]["bad_proxy_header"] > 0 {
			t.Errorf("%s: closed %v, refused %v", server, st.Closed, st.Requests[""])
		}
	}
	// The same header from somebody else is bad input.
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
	conn, err := d.Dial("tcp", w.addr["web"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, "PROXY TCP4 127.0.0.1 127.0.0.1 7 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 400 {
		t.Errorf("a client that says it is another got %v, %v", resp, err)
	}
}
