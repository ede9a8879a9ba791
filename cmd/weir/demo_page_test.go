package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/internal/demo"
	"weir/internal/oplog"
	"weir/internal/testnet"
)

func TestThePageOfADemonstrationLives(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer backend.Close()
	w, err := startDemo("http", demo.Backend{Address: netip.MustParseAddrPort(backend.Listener.Addr().String())}, 4, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	c := http.Client{Timeout: 10 * time.Second}
	defer c.CloseIdleConnections()
	read := func() (p statusPage) {
		resp, err := c.Get("http://" + w.Admin + "/api/status")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if e := read().LastEvent; e == nil || e.Message != "started" {
		t.Errorf("the last event is %+v", e)
	}
	for range 3 {
		resp, err := c.Get("http://" + w.Address + "/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	testnet.WaitFor(t, 3*historyTick, "the first sample", func() bool { return read().Recent != nil })
	if p := read(); p.Recent.Total.Requests <= 0 || p.Backends[0].Served != 3 {
		t.Errorf("%+v, %d served, of 3 requests", p.Recent.Total, p.Backends[0].Served)
	}
}

func TestADemonstrationsTerminalIsLeftToItsTable(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		var out bytes.Buffer
		log := oplog.New(warningsOf{&out}, slog.LevelInfo, terminal, notable...)
		log.Info("started", "x", "level=WARN")
		log.Warn("dial failed", "x", "level=INFO")
		log.Close()
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "dial failed") {
			t.Errorf("got %q", got)
		}
	}
}
