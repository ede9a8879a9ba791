package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"weir/admin"
	"weir/limiter"
)

func TestAModeIsSetByHandOverTheSocketAndReleased(t *testing.T) {
	g := newTestGraph(t)
	cfg := configOf(t, `
listeners: [{name: web, protocol: http, address: "127.0.0.1:0", backend: api}]
backends: [{name: api, endpoints: ["127.0.0.1:1"]}]
`)
	if err := g.apply(cfg); err != nil {
		t.Fatal(err)
	}
	socket := t.TempDir() + "/admin"
	s := admin.New(admin.Options{Log: g.log, Actions: map[string]admin.Action{"mode": g.modeAction}, Status: func() any {
		_, _, m := g.backends["api"].governor.status()
		return Status{Version: "v1", Backends: []BackendStatus{{Name: "api", Mode: m}}}
	}})
	if _, err := s.Listen("unix:" + socket); err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	for _, tc := range []struct {
		args []string
		code int
		says string
		mode limiter.Mode
	}{
		{[]string{"api"}, exitOK, "backend api: mode normal, as weir found it\n", limiter.ModeNormal},
		{[]string{"api", "shedding"}, exitOK, "backend api: mode shedding\n", limiter.ModeShedding},
		{[]string{"api", "opne"}, exitFailed, "must be normal, paced, queueing, shedding, refusing, open, or auto", limiter.ModeShedding},
		{[]string{"apo", "open"}, exitFailed, "no backend is named \"apo\"", limiter.ModeShedding},
		{[]string{"api", ""}, exitFailed, "or auto to let weir find it", limiter.ModeShedding},
		{[]string{"api"}, exitOK, "backend api: mode shedding by hand; without that it would be normal\n", limiter.ModeShedding},
		{[]string{"apo"}, exitFailed, "no backend is named \"apo\"", limiter.ModeShedding},
		{[]string{}, exitUsage, "BACKEND is needed", limiter.ModeShedding},
		{[]string{"api", "auto"}, exitOK, "mode auto", limiter.ModeNormal},
	} {
		var out, errs bytes.Buffer
		code := runMode(append([]string{"-socket", socket}, tc.args...), &out, &errs)
		if code != tc.code || !strings.Contains(out.String()+errs.String(), tc.says) {
			t.Errorf("%v: %d, %s%s", tc.args, code, &out, &errs)
		}
		if got := g.backends["api"].Ladder.Stats(limiter.Nanos(time.Now())).Mode; got != tc.mode {
			t.Errorf("%v: mode %v, want %v", tc.args, got, tc.mode)
		}
	}
	var out, errs bytes.Buffer
	for _, args := range [][]string{{"api", "open"}, {"api"}} {
		errs.Reset()
		if code := runMode(append([]string{"-socket", socket + "x"}, args...), &out, &errs); code != exitFailed || !strings.Contains(errs.String(), "is weir running") {
			t.Errorf("%q at a socket that is not there: %d, %s", args, code, &errs)
		}
	}
	errs.Reset()
	if code := runMode([]string{"api", "open"}, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), "-config") || !strings.Contains(errs.String(), "-socket") {
		t.Errorf("without either flag: %d, %s", code, &errs)
	}
}
