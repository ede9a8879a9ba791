package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"weir/internal/oplog"
)

// busyPage is a page with something in every column, and what a hostile backend
// would write to a terminal.
func busyPage(listeners, backends int) *statusPage {
	left := 90.5
	p := &statusPage{Status: Status{
		Version: "v1.2.3", UptimeSeconds: 200000, Config: "/etc/weir/\x1b]0;owned\a" + strings.Repeat("long", 40),
		NotAccepting: []string{"clients are not accepted: short of memory"}, Pressure: map[string]PressureStatus{"memory": {Used: 95, Bound: 100, Short: true}, "descriptors": {}},
	}}
	p.Recent = &sample{Listeners: map[string]listenerSample{}, Backends: map[string]backendSample{}}
	for i := range listeners {
		name := fmt.Sprintf("listener-%d-%s", i, strings.Repeat("n", i))
		p.Listeners = append(p.Listeners, ListenerStatus{
			Name: name, Protocol: "mysql", Accepting: i != listeners/2, Clients: 123456789,
			Requests: map[string]map[string]uint64{"backend-0-": {"2xx": 1000, "queue_full": 10, "5xx": 5}},
		})
		p.Recent.Listeners[name] = listenerSample{Requests: 1e7, Shed: 0.2, P50: 0.00123, P99: 100}
		p.Sockets.Listeners = append(p.Sockets.Listeners, SocketGroup{Name: name, States: map[string]map[string]int{
			"established": {"ours": 70000, "other": 3}, "time_wait": {"unknown": 1234567},
		}})
	}
	for i := range backends {
		name := fmt.Sprintf("backend-%d-%s", i, strings.Repeat("n", i))
		p.Backends = append(p.Backends, BackendStatus{
			Name: name, MaxOpen: 65535, Open: 65535, Leased: 65535, Waiting: 1000000, Dials: map[string]uint64{"ok": 20, "refused": 5}, Served: 2030,
			Mode: ModeStatus{Now: []string{"normal", "queueing", "shedding"}[i%3]},
		})
		p.Recent.Backends[name] = backendSample{Dials: 1234.5}
		p.Sockets.Backends = append(p.Sockets.Backends, SocketGroup{Name: name, Ports: []PortsStatus{
			{Free: 20000, Headroom: 0.9}, {Free: 28000, Headroom: 0.7, SecondsLeft: &left}, {Free: 10, Headroom: 0.1},
		}})
	}
	p.LastEvent = &oplog.Event{Time: time.Now().Add(-time.Minute), Level: "WARN", Message: "mode changed", Attrs: [][2]string{{"cause", "\x1b[2J\n\u202e"}}}
	return p
}

func TestTheScreenFitsEveryTerminal(t *testing.T) {
	for _, rows := range [][2]int{{1, 1}, {2, 3}, {20, 50}, {0, 0}} {
		p := busyPage(rows[0], rows[1])
		if rows[0] == 0 {
			p.LastEvent = nil
		}
		now := time.Now()
		v := &statusView{page: p, rates: ratesOf(nil, p, 0), at: now, now: now}
		for width := range 200 {
			for _, height := range []int{0, 1, 2, 5, 10, 24, 40} {
				lines := render(v, width, height)
				if height > 0 && len(lines) > height {
					t.Fatalf("%v on %d x %d: %d lines", rows, width, height, len(lines))
				}
				for _, l := range lines {
					if utf8.RuneCountInString(l.text) > width || strings.ContainsFunc(l.text, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r > 0xff }) {
						t.Fatalf("%v on %d x %d: %q", rows, width, height, l.text)
					}
				}
				if plain := write(lines, false); strings.Contains(plain, "\x1b") {
					t.Fatalf("escape sequences without color: %q", plain)
				}
			}
		}
	}
}

func TestTheUsualScreenHoldsAllOfASmallWeir(t *testing.T) {
	p := busyPage(2, 3)
	now := time.Now()
	v := &statusView{page: p, rates: ratesOf(nil, p, 0), at: now, now: now}
	text := write(render(v, screenWidth, screenHeight), false)
	for _, want := range []string{
		"weir v1.2.3, up 2d, /etc/weir/?]0;owned?", "NOT ACCEPTING: short of memory, memory 95%",
		"LISTENER ", "123.5M       yes   10.0M      0    0.2   1.2ms   1m40s\n", "123.5M        NO",
		"OPEN/MAX", "65535/65~", "99.01%    1235 ", // 20 dials that were ok, for 2030 requests
		" 28000   1m30s\n", // the pair of addresses whose ports end first
		"SOCKETS", "> listener-0-", "< backend-2-", "70000", "1.2M", "    3\n",
		"kernel 0 ago: ", "last event: 1m00s ago, mode changed cause=?[2J ?",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, " more") {
		t.Errorf("rows are missing:\n%s", text)
	}
	// Of too many rows those in trouble stay.
	p = busyPage(20, 50)
	v.page, v.rates = p, ratesOf(nil, p, 0)
	text = write(render(v, screenWidth, screenHeight), false)
	for _, want := range []string{" NO ", "... and 16 more", "shedding"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, " normal ") {
		t.Errorf("a backend in mode normal is shown before one that sheds:\n%s", text)
	}
	v.lost, v.now = fmt.Errorf("x: nobody answers"), now.Add(3*time.Second)
	if text := write(render(v, screenWidth, screenHeight), true); !strings.Contains(text, sgr[badLine]+"NO ANSWER for 3.0s: x: nobody answers") {
		t.Errorf("a weir that is gone looks like this:\n%s", text)
	}
}

func TestARedrawClearsWhatWasThereAndNothingElse(t *testing.T) {
	lines := []screenLine{{"full", headLine}, {"abc", plainLine}}
	for _, tc := range []struct {
		height int
		want   string
	}{
		{2, "\x1b[H\x1b[1mfull\x1b[0m\nabc\x1b[K"},
		{3, "\x1b[H\x1b[1mfull\x1b[0m\nabc\x1b[K\n\x1b[J"},
	} {
		if got := redraw(lines, true, 4, tc.height); got != tc.want {
			t.Errorf("on %d lines: %q, want %q", tc.height, got, tc.want)
		}
	}
}

func TestRatesAreDifferencesOfWhatIsCounted(t *testing.T) {
	page := func(requests, shed, full, dials uint64, uptime int64) *statusPage {
		return &statusPage{Status: Status{
			UptimeSeconds: uptime,
			Listeners:     []ListenerStatus{{Name: "web", RefusedFull: full, Requests: map[string]map[string]uint64{"api": {"2xx": requests}, "": {"limit_rate": shed}}}},
			Backends:      []BackendStatus{{Name: "api", Dials: map[string]uint64{"ok": dials, "timeout": dials}}},
		}}
	}
	r := ratesOf(page(100, 10, 0, 1, 5), page(300, 30, 2, 4, 7), 2)
	if l := r.listeners["web"]; l.Requests != 110 || l.Shed != 11 || l.Errors != 0 || r.dials["api"] != 3 {
		t.Errorf("%+v %v; want 110 requests, 11 of them shed, and 3 dials a second", l, r.dials)
	}
	// Started anew between the two: its counters say nothing about this second.
	if r := ratesOf(page(100, 0, 0, 9, 50), page(300, 0, 0, 10, 1), 2); len(r.listeners) != 0 || len(r.dials) != 0 {
		t.Errorf("rates over a restart: %v", r)
	}
}

func TestStatusSaysWhatToDoWhenItGetsNone(t *testing.T) {
	answers := func(status int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if status == 401 && r.Header.Get("Authorization") == "" {
				body = "weir: send it"
			}
			w.WriteHeader(status)
			w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const graph = "listeners: [{name: web, protocol: http, address: \"127.0.0.1:0\", backend: api}]\nbackends: [{name: api, endpoints: [\"127.0.0.1:1\"]}]\n"
	token := file("token", "0123456789abcdef\n")
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-admin", closed.Addr().String()}, exitFailed, "nobody answers; is weir running"},
		{[]string{"-admin", "unix:" + dir + "/none"}, exitFailed, "there is no such socket; is weir running"},
		{[]string{"-admin", "https://" + answers(200, "")}, exitFailed, "ask without https://"},
		{[]string{"-admin", answers(401, "")}, exitFailed, "give its file with -token-file"},
		{[]string{"-admin", answers(401, "weir: the token is wrong"), "-token-file", token}, exitFailed, ": the token is wrong"},
		{[]string{"-admin", answers(404, "")}, exitFailed, "there is no /api/status; is this weir"},
		{[]string{"-admin", answers(403, "weir: \x1b[2Jno")}, exitFailed, "answers 403: ?[2Jno"},
		{[]string{"-admin", answers(200, "<html>")}, exitFailed, "what answers there is not weir"},
		{[]string{"-admin", answers(200, "{}")}, exitFailed, "what answers there is not weir"},
		{[]string{"-admin", "nonsense"}, exitUsage, "write host:port"},
		{[]string{"-admin", "x:1", "-config", "y"}, exitUsage, "leave one out"},
		{[]string{"-config", "y", "-token-file", "z"}, exitUsage, "it is admin.token_file"},
		{[]string{"-watch", "-json"}, exitUsage, "-json prints once"},
		{[]string{"-config", dir + "/none"}, exitUsage, "or say where to ask, with -admin"},
		{[]string{"-token-file", file("short", "x")}, exitUsage, "has 1 characters"},
		{[]string{"-config", file("socket.yaml", graph+"admin: {socket: unix:"+dir+"/s}\n")}, exitFailed, "admin.socket unix:" + dir + "/s: there is no such socket"},
		{[]string{"-config", file("edited.yaml", "backends: [{queue: {maxx: 6}}]\nadmin: {socket: unix:"+dir+"/s}\n")}, exitFailed, "admin.socket unix:" + dir + "/s: there is no such socket"},
		{[]string{"-config", file("broken.yaml", "admin: {socket: unix:"+dir+"/s")}, exitUsage, "or say where to ask, with -admin unix:/path or -admin host:port\n"},
		{[]string{"-config", file("plain.yaml", graph+"admin: {address: \""+closed.Addr().String()+"\"}\n")}, exitFailed, "admin.address " + closed.Addr().String() + ": nobody answers"},
	} {
		var out, errs bytes.Buffer
		code := runStatus(tc.args, &out, &errs)
		if code != tc.code || !strings.Contains(errs.String(), tc.says) || out.Len() > 0 || strings.Contains(errs.String(), "\x1b") {
			t.Errorf("%v: %d, %s%s; want %d with %q", tc.args, code, &out, &errs, tc.code, tc.says)
		}
	}
	// Nobody else gets the token: a redirection is not followed.
	var seen string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Get("Authorization") + "asked" }))
	defer elsewhere.Close()
	there := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer there.Close()
	var out, errs bytes.Buffer
	if code := runStatus([]string{"-admin", there.Listener.Addr().String(), "-token-file", token}, &out, &errs); code != exitFailed || seen != "" {
		t.Errorf("a redirection: %d %s, %q", code, &errs, seen)
	}
}

func TestWithoutATerminalStatusIsPlainAndPrintedOnce(t *testing.T) {
	body, err := json.Marshal(busyPage(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(body) }))
	defer s.Close()
	at := s.Listener.Addr().String()
	for _, args := range [][]string{{"-admin", at}, {"-admin", "http://" + at + "/", "-watch"}} {
		var out, errs bytes.Buffer
		if code := runStatus(args, &out, &errs); code != exitOK || !strings.HasPrefix(out.String(), "weir v1.2.3") || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%v: %d %s%s", args, code, &out, &errs)
		}
		if noted := strings.Contains(errs.String(), "needs a terminal"); noted != (len(args) == 3) {
			t.Errorf("%v: %s", args, &errs)
		}
	}
	var out, errs bytes.Buffer
	if code := runStatus([]string{"-admin", at, "-json"}, &out, &errs); code != exitOK || !bytes.Equal(out.Bytes(), body) {
		t.Errorf("-json: %d %s, and not what the page has", code, &errs)
	}
}

func TestEveryNameOfTheStatusIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/status.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, want := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z][^`]*)` \\|").FindAllSubmatch(doc, -1) {
		rows[string(m[1])] = true
	}
	all := map[string]bool{}
	jsonNames(reflect.TypeFor[statusPage](), "", all)
	// The same object in two places is described in one.
	once := strings.NewReplacer("sockets.listeners[].", "sockets.backends[].", "recent.listeners[].", "recent.total.", "slow_query_log.", "access_log.")
	for name := range all {
		want[once.Replace(name)] = true
	}
	for name := range want {
		if !rows[name] {
			t.Errorf("docs/status.md has no row for %s", name)
		}
	}
	for name := range rows {
		if !want[name] {
			t.Errorf("docs/status.md has a row for %s, which is not in the status", name)
		}
	}
}

// jsonNames collects the paths of a type as JSON, lists and maps as name[].
func jsonNames(typ reflect.Type, path string, out map[string]bool) {
	switch typ.Kind() {
	case reflect.Pointer:
		jsonNames(typ.Elem(), path, out)
	case reflect.Slice, reflect.Map:
		if e := typ.Elem(); e.Kind() == reflect.Struct || e.Kind() == reflect.Map {
			jsonNames(e, path+"[]", out)
		}
	case reflect.Struct:
		if typ == reflect.TypeFor[time.Time]() {
			return
		}
		for f := range typ.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			p := path
			if name != "" {
				p = strings.TrimPrefix(path+"."+name, ".")
				out[p] = true
			}
			jsonNames(f.Type, p, out)
		}
	}
}
