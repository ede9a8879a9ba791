package demo

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/storm"
	"weir/tcpstat"
)

// good is the comparison that the demo is made for.
func good() *comparison {
	ok := func(timeWait int) *storm.Result {
		r := &storm.Result{Requests: 1000, Elapsed: time.Second}
		r.After.Client[tcpstat.TimeWait] = timeWait
		return r
	}
	return &comparison{
		words: new(web).words(), requests: 1000, direct: ok(1000), through: ok(10),
		directSeen: seen{opened: 1000}, throughSeen: seen{opened: 21},
	}
}

func TestNoLineOfTheTableEndsInABlank(t *testing.T) {
	var b strings.Builder
	good().print(&b)
	for line := range strings.Lines(b.String()) {
		if line = strings.TrimSuffix(line, "\n"); line != strings.TrimRight(line, " ") {
			t.Errorf("%q", line)
		}
	}
	if !strings.Contains(b.String(), "TIME-WAIT, 1 s later\n") {
		t.Errorf("got\n%s", b.String())
	}
}

func TestTheConclusionIsDrawnOnlyFromWhatSupportsIt(t *testing.T) {
	const conclusion = "close is answered so that neither side keeps one"
	for name, test := range map[string]struct {
		change func(*comparison)
		want   error
		text   string
	}{
		"good": {func(*comparison) {}, nil, conclusion},
		"direct failed": {func(c *comparison) { c.direct.Errors = map[string]int{"network is unreachable": 1000} }, errFailed,
			"\n  direct: 1,000 of 1,000 requests failed: network is unreachable\n"},
		"weir refused": {func(c *comparison) { c.through.Errors = map[string]int{"status 503 (queue_full)": 1} }, errFailed,
			"\n  through weir: 1 of 1,000 requests failed: status 503 (queue_full)\n"},
		"cut": {func(c *comparison) {
			c.through.Errors, c.through.NotBegun = map[string]int{storm.CutByLimit: 32}, 968
		}, errFailed, "\n  through weir: 968 of 1,000 requests not begun after 1s, the most that such a storm may take\n"},
		"no ports": {func(c *comparison) { c.direct.Errors = map[string]int{storm.NoPort: 5} }, errFailed, "make fewer requests with -n"},
		"TIME-WAIT at the clients": {func(c *comparison) { c.through.After.Client[tcpstat.TimeWait] = 11 }, errTimeWait,
			"\n  through weir: 11 sockets in TIME-WAIT are left by 1,000 requests"},
		"TIME-WAIT at weir":        {func(c *comparison) { c.through.After.Server[tcpstat.TimeWait] = 11 }, errTimeWait, "too busy"},
		"TIME-WAIT at the backend": {func(c *comparison) { c.backend.Server[tcpstat.TimeWait] = 11 }, errTimeWait, "too busy"},
		"without timestamps": {func(c *comparison) { c.backend.Client[tcpstat.TimeWait], c.noTimestamps = 11, true }, errTimeWait,
			"sysctl -w net.ipv4.tcp_timestamps=1\n"},
	} {
		var b strings.Builder
		c := good()
		test.change(c)
		err := c.print(&b)
		if !errors.Is(err, test.want) || !strings.Contains(b.String(), test.text) || strings.Contains(b.String(), conclusion) != (test.want == nil) {
			t.Errorf("%s: %v\n%s", name, err, b.String())
		}
	}
}

func TestNoLatencyIsShownWhereNothingWasAnswered(t *testing.T) {
	var b strings.Builder
	c := &comparison{words: new(web).words(), requests: 1, direct: &storm.Result{}, through: &storm.Result{}}
	c.print(&b)
	if strings.Contains(b.String(), " ms") {
		t.Errorf("got\n%s", b.String())
	}
}

// proxy is in place of a weir: one that keeps TIME-WAIT.
func proxy(b Backend) (*Weir, error) {
	s := httptest.NewServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: b.Address.String()}))
	return &Weir{Address: s.Listener.Addr().String(), Stop: s.Close}, nil
}

func TestATableThatShowsNoGainIsAnError(t *testing.T) {
	var b strings.Builder
	o := Options{Requests: 200, Concurrency: 4, Out: &b, Start: proxy} // without Once it must not serve on either
	if err := Run(t.Context(), o); !errors.Is(err, errTimeWait) || !strings.Contains(b.String(), "  requests answered ") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// trip is a writer that calls at when it has seen text.
type trip struct {
	mu   sync.Mutex
	seen strings.Builder
	text string
	at   func()
}

func (w *trip) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Write(p)
	if strings.Contains(w.seen.String(), w.text) {
		w.at()
	}
	return len(p), nil
}

func TestAnInterruptedStormHasNoTable(t *testing.T) {
	for _, text := range []string{"requests, each", "through weir  "} { // before the first storm, and in the second
		ctx, cancel := context.WithCancel(t.Context())
		w := &trip{text: text, at: cancel}
		err := Run(ctx, Options{Requests: 2000, Concurrency: 4, Out: w, Terminal: true, Start: proxy})
		if !errors.Is(err, ErrInterrupted) || strings.Contains(w.seen.String(), "TIME-WAIT") {
			t.Errorf("%q: %v\n%s", text, err, w.seen.String())
		}
		cancel()
	}
}

// failing is a writer that fails from the nth write on.
type failing struct{ n int }

var errWrite = errors.New("no space")

func (w *failing) Write(p []byte) (int, error) {
	if w.n--; w.n < 0 {
		return 0, errWrite
	}
	return len(p), nil
}

func TestATableThatCannotBeWrittenIsAnError(t *testing.T) {
	for n := range 2 {
		o := Options{Requests: 10, Concurrency: 1, Once: true, Out: &failing{n}, Start: proxy}
		if err := Run(t.Context(), o); !errors.Is(err, errWrite) {
			t.Errorf("after %d writes: %v", n, err)
		}
	}
}

func TestABackendThatIsStoppedAtOnceEnds(t *testing.T) {
	for range 1000 {
		s, err := startBackend()
		if err != nil {
			t.Fatal(err)
		}
		s.stop()
	}
}
