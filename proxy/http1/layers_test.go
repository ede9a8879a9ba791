package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/sock"
)

// tlsServer returns what a listener and its clients need to speak TLS: the
// certificate that httptest has for 127.0.0.1.
func tlsServer(t *testing.T) (wrap func(net.Conn) net.Conn, client *tls.Config) {
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	cfg := &tls.Config{Certificates: s.TLS.Certificates}
	client = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	client.ServerName = "127.0.0.1"
	return func(c net.Conn) net.Conn { return tls.Server(c, cfg) }, client
}

// echoBody answers with the request's body, or with a body of the size that
// the query asks for.
func echoBody(w http.ResponseWriter, req *http.Request) {
	var size int
	fmt.Sscan(req.URL.Query().Get("size"), &size)
	body, _ := io.ReadAll(req.Body)
	if size > 0 {
		body = pattern(size)
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.Write(body)
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7>>3) ^ byte(i>>13)
	}
	return b
}

func TestClientsAreServedOverTLS(t *testing.T) {
	wrap, cfg := tlsServer(t)
	r := newRig(t, rigOptions{backend: httpBackend(t, echoBody), wrap: wrap})
	tr := &http.Transport{TLSClientConfig: cfg, MaxConnsPerHost: 8, MaxIdleConnsPerHost: 8}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: 60 * time.Second}
	url := "https://" + r.l.Addr().String()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for _, size := range []int{1, 100, 5000, 70_000, 300_000} {
				want := pattern(size + w)
				resp, err := client.Post(url+"/", "text/plain", bytes.NewReader(want))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("an upload of %d came back as %d bytes, %v", len(want), len(got), err)
				}
				resp, err = client.Get(fmt.Sprintf("%s/?size=%d", url, 10*size))
				if err != nil {
					t.Error(err)
					return
				}
				got, err = io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !bytes.Equal(got, pattern(10*size)) {
					t.Errorf("a download of %d came as %d bytes, %v", 10*size, len(got), err)
				}
			}
		})
	}
	wg.Wait()
}

// tlsDial opens a connection of its own.
func (r *rig) tlsDial(cfg *tls.Config) *tls.Conn {
	r.t.Helper()
	return tls.Client(r.dial(), cfg)
}

func TestATLSClientIsClosedInOrderAfterItsLastResponse(t *testing.T) {
	wrap, cfg := tlsServer(t)
	r := newRig(t, rigOptions{backend: httpBackend(t, echoBody), wrap: wrap})
	for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
		c := r.tlsDial(cfg)
		fmt.Fprintf(c, "GET /?size=100000 %s\r\nHost: a\r\nConnection: close\r\n\r\n", proto)
		got, err := io.ReadAll(c) // an end without TLS's own alert would be an error
		if err != nil || !bytes.HasSuffix(got, pattern(100_000)) {
			t.Errorf("%s: %d bytes, %v", proto, len(got), err)
		}
	}
}

func TestAnIdleTLSClientParksAndResumesAndIsDrained(t *testing.T) {
	wrap, cfg := tlsServer(t)
	r := newRig(t, rigOptions{backend: httpBackend(t, echoBody), wrap: wrap})
	c := r.tlsDial(cfg)
	br := bufio.NewReader(c)
	for range 3 {
		fmt.Fprintf(c, "GET /?size=10 HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(resp.Body); err != nil || len(got) != 10 {
			t.Fatalf("%q, %v", got, err)
		}
		waitUntil(t, "parked", func() bool { return r.l.Stats().Parked == 1 })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.l.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(br); err != nil || len(got) != 0 {
		t.Errorf("after a drain: %q, %v", got, err)
	}
}

// waitUntil polls until cond holds.
func waitUntil(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("still not: %s", what)
		}
	}
}

func TestABrokenTLSResponseIsNotTakenForAWholeOne(t *testing.T) {
	wrap, cfg := tlsServer(t)
	addr := httpBackend(t, func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(200)
		w.Write(pattern(50_000))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	r := newRig(t, rigOptions{backend: addr, wrap: wrap})
	for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} { // the one chunked, the other ended by the close
		c := r.tlsDial(cfg)
		fmt.Fprintf(c, "GET / %s\r\nHost: a\r\n\r\n", proto)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			continue // nothing of it at all
		}
		got, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode == 200 {
			t.Errorf("%s: a response that broke off after %d bytes ended as if it were whole", proto, len(got))
		}
	}
}

func TestATLSClientThatSpeaksPlainHTTPDoesNoHarm(t *testing.T) {
	wrap, cfg := tlsServer(t)
	r := newRig(t, rigOptions{backend: httpBackend(t, echoBody), wrap: wrap})
	if got := r.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n"); strings.Contains(got, "HTTP/1.1") {
		t.Errorf("got %q", got)
	}
	silent := r.dial()
	defer silent.Close()
	c := r.tlsDial(cfg)
	fmt.Fprintf(c, "GET /?size=10 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if got, err := io.ReadAll(c); err != nil || !bytes.HasSuffix(got, pattern(10)) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestUnixSocketsOnBothSides(t *testing.T) {
	dir := t.TempDir()
	ln, err := net.Listen("unix", dir+"/backend")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(echoBody)}
	go s.Serve(ln)
	t.Cleanup(func() { s.Close() })
	r := newRig(t, rigOptions{backend: "unix:" + dir + "/backend", listen: "unix:" + dir + "/weir"})
	for i := range 20 {
		got := r.exchange(fmt.Sprintf("GET /?size=%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 1+i*9000))
		if !bytes.HasSuffix([]byte(got), pattern(1+i*9000)) {
			t.Fatalf("%d bytes", len(got))
		}
	}
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", dir+"/weir")
	}}
	defer tr.CloseIdleConnections()
	for _, size := range []int{10, 70_000, 1 << 20} {
		want := pattern(size)
		resp, err := (&http.Client{Transport: tr, Timeout: 60 * time.Second}).Post("http://weir/", "text/plain", bytes.NewReader(want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes came back, %v", len(got), len(want), err)
		}
	}
	if n := r.opened(); n != 1 {
		t.Errorf("%d backend connections were opened for one client after another", n)
	}
	if n := r.l.Stats().Closed[sock.HowReset]; n != 0 {
		t.Errorf("%d unix clients are counted as reset", n)
	}
}
