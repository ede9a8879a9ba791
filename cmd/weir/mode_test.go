package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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
	// The file need not be good but for where the socket is: a hand that has to act
	// cannot mend it first.
	file := filepath.Join(t.TempDir(), "weir.yaml")
	for _, tc := range []struct {
		yaml string
		code int
		says string
	}{
		{"backends: [{name: api, queue: {maxx: 6}, overload: {file: not/here}}]\nadmin: {socket: \"unix:" + socket + "\"}\n", exitOK, "backend api: mode normal, as weir found it\n"},
		{"backends: [\nadmin: {socket: \"unix:" + socket + "\"}\n", exitUsage, "or name the socket of the running weir, with -socket /run/weir/weir.sock\n"},
		{"admin: {pprof: true}\n", exitUsage, "has no admin.socket"},
	} {
		if err := os.WriteFile(file, []byte(tc.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		if code := runMode([]string{"-config", file, "api"}, &out, &errs); code != tc.code || !strings.Contains(out.String()+errs.String(), tc.says) {
			t.Errorf("%q: %d, %s%s", tc.yaml, code, &out, &errs)
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

func TestTheLogHasNoChangeWhereNothingChanged(t *testing.T) {
	var lines bytes.Buffer
	g := newTestGraph(t)
	g.log = slog.New(slog.NewTextHandler(&lines, nil))
	apply := func(port int, more string) {
		t.Helper()
		mustApply(t, g, fmt.Sprintf(`
listeners: [{name: web, protocol: http, address: "127.0.0.1:0", backend: api}]
backends: [{name: api, endpoints: ["127.0.0.1:%d"]%s}]
`, port, more))
	}
	logged := func() string {
		defer lines.Reset()
		return lines.String()
	}
	apply(1, "")
	apply(2, "")
	apply(3, ", breaker: true")
	apply(4, ", breaker: true")
	if got := logged(); strings.Contains(got, "changed") || strings.Contains(got, "by hand") {
		t.Errorf("reloads of another endpoint: %s", got)
	}
	if err := g.backends["api"].Breaker.Force(limiter.Nanos(time.Now()), limiter.BreakerForceOpen); err != nil {
		t.Fatal(err)
	}
	logged()
	apply(5, ", breaker: true")
	if got := logged(); !strings.Contains(got, "from=open to=closed") || !strings.Contains(got, "another one") || strings.Contains(got, "by hand") {
		t.Errorf("a breaker that the reload closed: %s", got)
	}
	for _, step := range []struct{ mode, says string }{
		{"auto", ""},
		{"normal", `msg="mode set by hand" backend=api mode=normal`},
		{"normal", ""},
		{"auto", `msg="mode no longer set by hand" backend=api mode=normal`},
		{"auto", ""},
		{"open", `msg="mode changed" backend=api from=normal to=open cause="fixed by hand"`},
		{"auto", `msg="mode changed" backend=api from=open to=normal cause="released by hand"`},
	} {
		if err := g.setMode("api", step.mode); err != nil {
			t.Fatal(err)
		}
		if got := logged(); !strings.Contains(got, step.says) || strings.Count(got, "\n") != min(len(step.says), 1) {
			t.Errorf("%s: %q, want %q", step.mode, got, step.says)
		}
	}
}
