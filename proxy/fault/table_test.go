package fault

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// want repeats the decisions of the table in one line each: a change of a status
// or of a retry class is a change of what clients see, and must be made twice.
var want = []struct {
	kind   Kind
	label  string
	status int
	side   Side
	retry  Retry
	ran    bool // the backend may have carried the request out
	after  bool // Retry-After
	closes bool
}{
	{BadRequest, "bad_request", 400, Client, Never, false, false, true},
	{URITooLong, "uri_too_long", 414, Client, Never, false, false, true},
	{HeaderTooLarge, "header_too_large", 431, Client, Never, false, false, true},
	{BodyTooLarge, "body_too_large", 413, Client, Never, false, false, false},
	{Expectation, "expectation", 417, Client, Never, false, false, true},
	{NotImplemented, "not_implemented", 501, Client, Never, false, false, true},
	{Version, "version", 505, Client, Never, false, false, true},
	{NoRoute, "no_route", 404, Client, Never, false, false, false},
	{AmbiguousPath, "ambiguous_path", 400, Client, Never, false, false, false},
	{NotAllowed, "not_allowed", 403, Client, Never, false, false, true},
	{BadProxyHeader, "bad_proxy_header", 400, Client, Never, false, false, true},
	{HeaderTimeout, "header_timeout", 408, Client, Never, false, false, true},
	{BodyTimeout, "body_timeout", 408, Client, Never, true, false, true},
	{ClientGone, "client_gone", 499, Client, Never, true, false, true},
	{LoginTimeout, "login_timeout", 0, Client, Never, false, false, true},
	{LoginAborted, "login_aborted", 0, Client, Never, false, false, true},
	{BadLogin, "bad_login", 0, Client, Never, false, false, true},
	{AccessDenied, "access_denied", 0, Client, Never, false, false, true},
	{TLSRequired, "tls_required", 0, Client, Never, false, false, true},
	{BadPacket, "bad_packet", 0, Client, Never, false, false, true},
	{UnknownCommand, "unknown_command", 0, Client, Never, false, false, false},
	{IdleAttached, "idle_attached", 0, Client, Never, false, false, true},
	{MaxClients, "max_clients", 503, Weir, Never, false, true, true},
	{QueueFull, "queue_full", 503, Weir, Never, false, true, false},
	{QueueTimeout, "queue_timeout", 503, Weir, Never, false, true, false},
	{Draining, "draining", 503, Weir, Never, false, true, true},
	{NoMemory, "no_memory", 503, Weir, Never, false, true, false},
	{DialLocal, "dial_local", 503, Weir, Never, false, true, false},
	{Internal, "internal", 500, Weir, Never, true, false, true},
	{LoginFlood, "login_flood", 0, Weir, Never, false, false, true},
	{ServerUnknown, "server_unknown", 0, Weir, Never, false, false, true},
	{LimitRate, "limit_rate", 503, Weir, Never, false, true, false},
	{LimitPerRate, "limit_per_rate", 429, Weir, Never, false, true, false},
	{LimitInFlight, "limit_in_flight", 503, Weir, Never, false, true, false},
	{Shed, "shed", 503, Weir, Never, false, true, false},
	{BreakerOpen, "breaker_open", 503, Weir, Never, false, true, false},
	{ClientConnections, "client_connections", 429, Weir, Never, false, true, true},
	{ConnectionRate, "connection_rate", 429, Weir, Never, false, true, true},
	{DialRefused, "dial_refused", 502, Backend, Never, false, false, false},
	{DialTimeout, "dial_timeout", 504, Backend, Never, false, false, false},
	{BackendClosed, "backend_closed", 502, Backend, ReusedOnly, true, false, false},
	{BackendReset, "backend_reset", 502, Backend, ReusedOnly, true, false, false},
	{StaleUnsafe, "stale_unsafe", 502, Backend, Never, true, false, false},
	{ResponseTimeout, "response_timeout", 504, Backend, Never, true, false, false},
	{ResponseStalled, "response_stalled", 504, Backend, Never, true, false, true},
	{BadResponse, "bad_response", 502, Backend, Never, true, false, false},
	{SessionLost, "session_lost", 0, Backend, Never, false, false, true},
	{QueryTimeout, "query_timeout", 0, Backend, Never, true, false, false},
	{BackendRefused, "backend_refused", 0, Backend, Never, false, false, false},
}

func TestEveryKindHasTheConsequencesAgreedOn(t *testing.T) {
	all := Kinds()
	if len(want) != len(all) {
		t.Fatalf("the test lists %d kinds, there are %d", len(want), len(all))
	}
	for i, w := range want {
		if w.kind != all[i] {
			t.Errorf("row %d is %v, Kinds has %v there", i, w.kind, all[i])
		}
		r := w.kind.Row()
		if r.Label != w.label || r.Status != w.status || r.Side != w.side || r.Retry != w.retry ||
			r.MayHaveRun != w.ran || r.RetryAfter != w.after || r.Closes != w.closes {
			t.Errorf("%s: the table says %q %d %v %v ran=%v after=%v closes=%v, agreed was %+v",
				w.label, r.Label, r.Status, r.Side, r.Retry, r.MayHaveRun, r.RetryAfter, r.Closes, w)
		}
		if w.kind.String() != w.label || w.kind.Status() != w.status || w.kind.Side() != w.side ||
			w.kind.Retry() != w.retry || w.kind.Closes() != w.closes {
			t.Errorf("%s: a method disagrees with its column", w.label)
		}
	}
}

var (
	labelForm = regexp.MustCompile(`^[a-z][a-z_]{2,30}$`)
	// What would tell a client about the house: addresses, settings, names of
	// protocols' internals. 100-continue, HTTP/1.1 and the like are allowed.
	leak = regexp.MustCompile(`\d+\.\d+\.\d+|:\d+|\[\]|max_|timeout\b|weir|pool|endpoint|descriptor|port\b`)
)

func TestEveryRowIsUsableAndTeaches(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Kinds() {
		r := k.Row()
		if !labelForm.MatchString(r.Label) || seen[r.Label] {
			t.Errorf("%q is no label, or is there twice", r.Label)
		}
		seen[r.Label] = true
		if r.Status == 0 && r.Errno == 0 {
			t.Errorf("%s: no protocol has it", r.Label)
		}
		if r.Status != 0 && http.StatusText(r.Status) == "" && k != ClientGone {
			t.Errorf("%s: %d is not a registered status", r.Label, r.Status)
		}
		if r.Hint == "" || r.Text == "" || !printable(r.Text) || !printable(r.Hint) {
			t.Errorf("%s: text and hint must be there, in printable ASCII", r.Label)
		}
		if len(r.Text) > 160 {
			t.Errorf("%s: a text of %d bytes is not read; 160 at most", r.Label, len(r.Text))
		}
		if m := leak.FindString(r.Text); m != "" {
			t.Errorf("%s: the client's text holds %q, which is the operator's business", r.Label, m)
		}
		if strings.HasSuffix(r.Text, ".") || strings.ToLower(r.Text[:1]) != r.Text[:1] {
			t.Errorf("%s: texts start in lower case and have no full stop", r.Label)
		}
	}
}

func TestTheTextSaysWhetherTheRequestMayHaveRun(t *testing.T) {
	for _, k := range Kinds() {
		r := k.Row()
		if got := strings.Contains(r.Text, mayHaveRun); got != r.MayHaveRun && k != ClientGone {
			t.Errorf("%s: MayHaveRun is %v, the text %q says otherwise", k, r.MayHaveRun, r.Text)
		}
		if r.Status >= 502 && r.Status <= 504 && !r.MayHaveRun && !strings.Contains(r.Text, notSent) {
			t.Errorf("%s: nothing was sent, and the client is not told so", k)
		}
	}
}

func TestOnlyBackendFaultsAreRetriedAndOnlyLoadAsksToComeBack(t *testing.T) {
	for _, k := range Kinds() {
		r := k.Row()
		if r.Retry != Never && r.Side != Backend {
			t.Errorf("%s: retried, though it is the fault of %v", k, r.Side)
		}
		if r.RetryAfter != (r.Status == 503 || r.Status == 429) {
			t.Errorf("%s: status %d with RetryAfter %v", k, r.Status, r.RetryAfter)
		}
		if r.Side == Client && r.Log != LogNever {
			t.Errorf("%s: a client could fill the log with it", k)
		}
		if r.Side == Backend && r.Log == LogNever {
			t.Errorf("%s: a backend failed and nobody is told", k)
		}
	}
}

func TestAnUnknownKindIsInternal(t *testing.T) {
	for _, k := range []Kind{kinds, 255} {
		if k.String() != "internal" || k.Status() != 500 || k.Answer() != Internal.Answer() {
			t.Errorf("kind %d is %s %d, want internal 500", k, k, k.Status())
		}
	}
}

func TestNamesOfSidesRetriesAndLogs(t *testing.T) {
	got := []string{
		Nobody.String(), Client.String(), Weir.String(), Backend.String(),
		Never.String(), ReusedOnly.String(), LogNever.String(), LogFolded.String(), LogEach.String(),
	}
	if s := strings.Join(got, " "); s != "nobody client weir backend never reused_only never folded each" {
		t.Errorf("got %s", s)
	}
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
