package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// screenOf is the screen of a page, read without -watch, or a second after older.
func screenOf(older, p *statusPage) string {
	now := time.Now()
	v := &statusView{page: p, rates: ratesOf(older, p, 1), at: now, now: now}
	return write(render(v, screenWidth, screenHeight), false)
}

func TestABackendThatCannotBeDialledSaysSoInItsRow(t *testing.T) {
	p := busyPage(2, 3)
	b := &p.Backends[0] // of mode normal
	b.Open, b.Leased, b.Idle, b.Dialing, b.Served = 1, 0, 0, 1, 0
	b.LastError = `backend "` + b.Name + `": dial 192.0.2.1:80: i/o timeout`
	text := screenOf(nil, p)
	row := "\n" + b.Name
	for _, want := range []string{row, "\n  dials fail: dial 192.0.2.1:80: i/o timeout\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	line, _, _ := strings.Cut(text[strings.Index(text, row)+1:], "\n")
	if cells := strings.Fields(line); cells[6] != "-" {
		t.Errorf("a reuse of a backend that served nobody: %s", line)
	}
	b.ErrorAge = 75
	if text := screenOf(nil, p); !strings.Contains(text, "\n  dials fail, 1m15s ago: dial 192.0.2.1:80: i/o timeout\n") {
		t.Errorf("no age of the error in\n%s", text)
	}
	b.Idle = 1 // one is left: the others may be served
	if text := screenOf(nil, p); strings.Contains(text, "dials fail") {
		t.Errorf("dials fail beside an idle connection:\n%s", text)
	}
	// Backends that are not shown are counted, and not their lines.
	p = busyPage(1, 9)
	for i := range p.Backends {
		p.Backends[i].Leased, p.Backends[i].LastError = 0, "no"
	}
	tab := backendTable(p, ratesOf(nil, p, 0))
	for rows, want := range map[int]string{17: "... and 1 more", 10: "... and 4 more", 18: "  dials fail: no"} {
		if lines := tab.lines(screenWidth, rows); len(lines) != rows+1 || lines[rows].text != want {
			t.Errorf("in %d rows: %q at the end of %d lines, want %q", rows, lines[rows].text, len(lines), want)
		}
	}
}

// Nobody may have come so far that a dial was made for.
func TestAServerThatWasNeverReachedSaysSoInItsRow(t *testing.T) {
	p := busyPage(1, 1)
	b := &p.Backends[0]
	b.Leased, b.MySQL = 0, &MySQLStatus{ServerError: "connect: connection refused"}
	tab := backendTable(p, ratesOf(nil, p, 0))
	if len(tab.rows) != 2 || tab.rows[1].note != "  dials fail: connect: connection refused" || tab.rows[0].style != badLine {
		t.Errorf("got %+v", tab.rows)
	}
	b.MySQL.ServerError = ""
	if tab := backendTable(p, ratesOf(nil, p, 0)); len(tab.rows) != 1 || tab.rows[0].style == badLine {
		t.Errorf("of one that was reached: %+v", tab.rows)
	}
}

func TestReuseIsCutAndCountsDialsThatSucceeded(t *testing.T) {
	for _, tc := range []struct {
		ok, served uint64
		want       string
	}{{0, 10, "100%"}, {1, 1e6, "99.99%"}, {20, 2030, "99.01%"}, {1, 8, "87.50%"}, {9, 3, "0.00%"}} {
		b := &BackendStatus{Dials: map[string]uint64{"ok": tc.ok, "refused": 50, "denied": 50}, Served: tc.served}
		if s, _ := b.reuse(); share(s) != tc.want {
			t.Errorf("%d dials for %d requests are %s, want %s", tc.ok, tc.served, share(s), tc.want)
		}
	}
}

func TestAModeThatWasSetByHandSaysSoUnderItsRow(t *testing.T) {
	p := busyPage(1, 2)
	b := &p.Backends[0] // of mode normal
	if text := screenOf(nil, p); strings.Contains(text, "by hand") {
		t.Errorf("nobody set a mode:\n%s", text)
	}
	b.Mode.ByHand = true
	if text, want := screenOf(nil, p), "\n  mode by hand; weir mode -config FILE "+b.Name+" auto ends it\n"; !strings.Contains(text, want) {
		t.Errorf("no %q in\n%s", want, text)
	}
	if row := backendTable(p, ratesOf(nil, p, 0)).rows[0]; row.style != warnLine {
		t.Errorf("normal by hand has style %d, want %d: it stays so under any load", row.style, warnLine)
	}
}

func TestOnlyRequestsThatGotAConnectionCountAsServed(t *testing.T) {
	all := map[string]uint64{
		"2xx": 1, "5xx": 2, "ok": 4, "error": 8, "response_timeout": 16, "backend_reset": 32,
		"queue_full": 100, "queue_timeout": 100, "shed": 100, "dial_refused": 100, "dial_timeout": 100, "dial_local": 100, "breaker_open": 100, "backend_refused": 100,
		"limit_rate": 100, "no_route": 100, "body_timeout": 100, "draining": 100, "internal": 100,
	}
	if got := served(all); got != 63 {
		t.Errorf("%d of %v, want 63", got, all)
	}
}

func TestWhatWasNotMeasuredIsNoZero(t *testing.T) {
	p := busyPage(1, 1)
	p.Recent.Listeners[p.Listeners[0].Name] = listenerSample{Requests: 0}
	if text := screenOf(nil, p); !strings.Contains(text, "       -       -\n") {
		t.Errorf("latencies of no requests:\n%s", text)
	}
}

func TestTheKernelsLineFitsAndTellsOldOverflowsFromNew(t *testing.T) {
	was, p := busyPage(1, 1), busyPage(1, 1)
	s := &p.Sockets
	s.AgeSeconds, s.Kernel = 3599, KernelStatus{TimeWait: 99999, Orphans: 99999, ListenOverflows: 99999}
	line := func(older *statusPage) string {
		text := screenOf(older, p)
		text, _, _ = strings.Cut(text[strings.Index(text, "\nkernel")+1:], "\n")
		return text
	}
	if got := line(nil); got != "kernel 59m59s ago: 99999 TIME-WAIT, 99999 orphans, 99999 accept overflows ever" || utf8.RuneCountInString(got) > screenWidth {
		t.Errorf("once: %q", got)
	}
	for grown, want := range map[uint64]string{0: " orphans, 0 accept overflows/s", 7: " orphans, 7.0 accept overflows/s"} {
		was.Sockets.Kernel.ListenOverflows = 99999 - grown
		if got := line(was); !strings.HasSuffix(got, want) {
			t.Errorf("%d more: %q", grown, got)
		}
	}
}
