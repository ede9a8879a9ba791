package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"weir/internal/testnet"
)

func TestAReloadTakesThePageAsItIsThen(t *testing.T) {
	be := testnet.NewBackend(t, testnet.Echo)
	page := filepath.Join(t.TempDir(), "sorry.html")
	g := newTestGraph(t)
	apply := func(text string, modeHeader bool) {
		t.Helper()
		if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		mustApply(t, g, fmt.Sprintf(`
listeners: [{name: web, protocol: http, address: "127.0.0.1:0", mode_header: %v, routes: [{path: /a/, backend: api}, {backend: api}]}]
backends: [{name: api, endpoints: ["%s"], overload: {file: %q, content_type: text/plain, status: 200}}]
`, modeHeader, be.Addr(), page))
	}
	ask := func(path, body, mode string) {
		t.Helper()
		resp, err := http.Get("http://" + boundAddr(t, g, "web") + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || string(b) != body || resp.Header.Get("Content-Type") != "text/plain" || resp.Header.Get("X-Weir-Mode") != mode {
			t.Errorf("%d %q %v, %v", resp.StatusCode, b, resp.Header, err)
		}
	}
	apply("sorry", true)
	if err := g.setMode("api", "open"); err != nil {
		t.Fatal(err)
	}
	ask("/a/", "sorry", "open")
	ask("/", "sorry", "open")
	apply("later", false)
	ask("/a/", "later", "")
	ask("/", "later", "")
	if n := be.Requests(); n != 0 {
		t.Errorf("the backend got %d requests", n)
	}
}
