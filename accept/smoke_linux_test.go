package accept

import (
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"
)

func TestAcceptSIGTERMEndsAnIdleWeirAtOnce(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello")) }))
	defer backend.Close()
	w := start(t, oneBackend(backend.Listener.Addr().String(), "", ""))
	if code, body := get(t, w.url("/")); code != 200 || body != "hello" {
		t.Fatalf("got %d %q", code, body)
	}
	began := time.Now()
	w.signal(syscall.SIGTERM)
	if code := w.wait(10 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	figure(t, "an idle weir stops %v after SIGTERM", time.Since(began).Round(time.Millisecond))
}
