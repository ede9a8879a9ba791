package admin

import (
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/hist"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "write testdata/metrics.golden anew")

// sample is a snapshot in which every metric has a value.
func sample() Snapshot {
	var h hist.Hist
	h.Observe(3 * time.Microsecond)
	h.Observe(time.Millisecond)
	h.Observe(time.Hour)
	return Snapshot{
		Listeners: []ListenerSnapshot{{
			Name: "web", Accepting: true, Queued: 3, Clients: 7, ClientsTotal: 20007,
			Closed:      []Count{{"quiet", 20000}, {"active", 0}},
			Shed:        []Count{{"queue_full", 12}},
			Requests:    []RequestCount{{"api", "2xx", 19000}, {"", "bad_request", 3}},
			RequestTime: h.Snapshot(),
		}, {Name: "db", MySQL: true, Logins: 3}},
		Backends: []BackendSnapshot{{
			Name: "api", Idle: 3, Leased: 4, Dialing: 1,
			Dials:        []Count{{"ok", 64}, {"refused", 2}},
			Closed:       []Count{{"idle", 5}},
			StaleRetries: 1, Mode: 3, ModeByHand: true, ModeChanges: []Count{{"shedding", 2}}, InFlightMax: 12, BreakerOpen: true,
			AcquireWait: h.Snapshot(),
		}, {
			Name: "orders",
			MySQL: &MySQLSnapshot{
				IdleAttached: 11, Resets: []Count{{"later", 40}, {"closed", 0}}, Users: []UserSnapshot{{"app", 5, 40}},
				Pinned: []Count{{"variables", 3}, {"locks", 0}}, Pins: []Count{{"variables", 12}, {"locks", 1}},
			},
		}},
		SlowLogDropped:   8,
		Pressure:         []Share{{"memory", 0.25}, {"descriptors", 0}},
		Reloads:          []Count{{"ok", 2}, {"refused", 1}},
		AccessLogDropped: 9,
		Sockets: SocketsSnapshot{
			Groups: []SocketGroup{{
				Side: "backend", Name: "api", Sockets: []SocketCount{{"established", "ours", 7}, {"time_wait", "other", 320}},
				ClosedFirst: []Count{{"us", 4}, {"peer", 1}}, TimeWaitAvoided: 4,
			}},
			Ports:  []PortsSnapshot{{"api", 0.2, 41}, {"orders", 1, math.Inf(1)}},
			Listed: true, AgeSeconds: 1.5, ListSeconds: 0.25,
		},
	}
}

// exposition is what a scrape shows of weir_* metrics, in our own few lines: the
// text format proper is the library's business.
func exposition(t *testing.T, opt Options) (heads, values []string) {
	t.Helper()
	families, err := newRegistry(opt).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "weir_") {
			continue
		}
		var labels []string
		for _, m := range f.GetMetric() {
			var pairs []string
			labels = labels[:0]
			for _, l := range m.GetLabel() {
				pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
				labels = append(labels, l.GetName())
			}
			name := f.GetName() + "{" + strings.Join(pairs, ",") + "}"
			switch {
			case m.Counter != nil:
				values = append(values, fmt.Sprint(name, " ", m.Counter.GetValue()))
			case m.Gauge != nil:
				values = append(values, fmt.Sprint(name, " ", m.Gauge.GetValue()))
			case m.Histogram != nil:
				h := m.Histogram
				for _, b := range h.GetBucket() {
					if n := b.GetCumulativeCount(); n > 0 && b.GetUpperBound() < 0.002 {
						values = append(values, fmt.Sprint(name, " le=", b.GetUpperBound(), " ", n))
					}
				}
				values = append(values, fmt.Sprint(name, " count=", h.GetSampleCount(), " sum=", h.GetSampleSum(), " buckets=", len(h.GetBucket())))
			}
		}
		heads = append(heads, fmt.Sprintf("%s %s {%s}\n    %s", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ","), f.GetHelp()))
	}
	return heads, values
}

func TestNamesHelpTypesAndLabelsAreTheGoldenFiles(t *testing.T) {
	heads, _ := exposition(t, Options{Snapshot: sample, Version: "test"})
	got := strings.Join(heads, "\n") + "\n"
	const file = "testdata/metrics.golden"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("dashboards and alerts rest on these names; if the change is meant, run with -update and list it in CHANGELOG.md (-golden +now):\n%s", d)
	}
	if len(heads) != len(metrics)+len(timings)+1 {
		t.Errorf("%d of %d metrics show", len(heads), len(metrics)+len(timings)+1)
	}
}

func TestAScrapeShowsTheSnapshotsValues(t *testing.T) {
	_, values := exposition(t, Options{Snapshot: sample, Version: "test"})
	for _, want := range []string{
		`weir_client_connections{listener="web"} 7`,
		`weir_client_connections_total{listener="web"} 20007`,
		`weir_client_closed_total{how="quiet",listener="web"} 20000`,
		`weir_client_closed_total{how="active",listener="web"} 0`,
		`weir_accepting{listener="web"} 1`,
		`weir_accept_queue{listener="web"} 3`,
		`weir_pressure{resource="memory"} 0.25`,
		`weir_pressure{resource="descriptors"} 0`,
		`weir_requests_total{backend="api",listener="web",outcome="2xx"} 19000`,
		`weir_requests_total{backend="",listener="web",outcome="bad_request"} 3`,
		`weir_shed_total{listener="web",reason="queue_full"} 12`,
		`weir_backend_connections{backend="api",state="idle"} 3`,
		`weir_backend_connections{backend="api",state="leased"} 4`,
		`weir_backend_connections{backend="api",state="dialing"} 1`,
		`weir_backend_dials_total{backend="api",result="refused"} 2`,
		`weir_backend_closed_total{backend="api",reason="idle"} 5`,
		`weir_stale_retries_total{backend="api"} 1`,
		`weir_tcp_sockets{name="api",owner="ours",side="backend",state="established"} 7`,
		`weir_tcp_sockets{name="api",owner="other",side="backend",state="time_wait"} 320`,
		`weir_closes_total{first="us",name="api",side="backend"} 4`,
		`weir_time_wait_avoided_total{name="api",side="backend"} 4`,
		`weir_port_headroom{backend="api"} 0.2`,
		`weir_port_exhaustion_seconds{backend="api"} 41`,
		`weir_port_exhaustion_seconds{backend="orders"} +Inf`,
		`weir_socket_list_age_seconds{} 1.5`,
		`weir_socket_list_seconds_total{} 0.25`,
		`weir_config_reloads_total{result="ok"} 2`,
		`weir_access_log_dropped_total{} 9`,
		`weir_slow_query_log_dropped_total{} 8`,
		`weir_mysql_logins{listener="db"} 3`,
		`weir_mysql_idle_attached{backend="orders"} 11`,
		`weir_mysql_resets_total{backend="orders",kind="later"} 40`,
		`weir_mysql_resets_total{backend="orders",kind="closed"} 0`,
		`weir_backend_user_connections{backend="orders",user="app"} 5`,
		`weir_backend_user_max_open{backend="orders",user="app"} 40`,
		`weir_request_seconds{listener="web"} le=4.096e-06 1`,
		`weir_request_seconds{listener="web"} le=0.001048576 2`,
		`weir_request_seconds{listener="web"} count=3 sum=3600.001003 buckets=28`,
		`weir_acquire_wait_seconds{backend="api"} count=3 sum=3600.001003 buckets=28`,
	} {
		if !slices.Contains(values, want) {
			t.Errorf("the scrape lacks %s; it has\n%s", want, strings.Join(values, "\n"))
		}
	}
}

func TestMySQLMetricsAreShownForMySQLAlone(t *testing.T) {
	_, values := exposition(t, Options{Snapshot: sample, Version: "test"})
	n := 0
	for _, v := range values {
		if !strings.HasPrefix(v, "weir_mysql_") && !strings.HasPrefix(v, "weir_backend_user_") {
			continue
		}
		if n++; strings.Contains(v, `"web"`) || strings.Contains(v, `"api"`) {
			t.Errorf("of what speaks HTTP: %s", v)
		}
	}
	if n != 10 {
		t.Errorf("%d values are shown, want 10", n)
	}
}

func TestNamesFollowTheConventions(t *testing.T) {
	form := regexp.MustCompile(`^weir_[a-z][a-z_]*[a-z]$`)
	for _, m := range metrics {
		if !form.MatchString(m.name) || (m.kind == counter) != strings.HasSuffix(m.name, "_total") {
			t.Errorf("%s: _total is for counters, and for all of them", m.name)
		}
		if !strings.HasSuffix(m.help, ".") {
			t.Errorf("%s: the help is no sentence", m.name)
		}
	}
	for _, m := range timings {
		if !form.MatchString(m.name) || !strings.HasSuffix(m.name, "_seconds") || !strings.HasSuffix(m.help, ".") {
			t.Errorf("%s: a histogram of times ends in _seconds and has a sentence of help", m.name)
		}
	}
}

func TestOneBadValueDoesNotHideTheOthers(t *testing.T) {
	bad := func() Snapshot {
		s := sample()
		s.Reloads = []Count{{"\xff", 1}} // no UTF-8, so no label
		return s
	}
	_, tcp, _, base := start(t, Options{Snapshot: bad})
	status, body, _ := ask(t, tcp, "GET", base+"/metrics")
	if status != 200 || !strings.Contains(body, `weir_client_connections{listener="web"} 7`) {
		t.Errorf("a scrape with one bad label: %d %.200q", status, body)
	}
}

func TestEveryMetricIsInTheManualWithItsQuestionAndAlert(t *testing.T) {
	b, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 7 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`weir_") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		documented[strings.Trim(cells[1], "`")] = cells[2:6]
	}
	check := func(name, kind string, labels []string) {
		t.Helper()
		row := documented[name]
		delete(documented, name)
		if row == nil {
			t.Errorf("docs/metrics.md has no row for %s", name)
			return
		}
		var marked []string
		for _, l := range labels {
			marked = append(marked, "`"+l+"`")
		}
		if row[0] != kind || row[1] != strings.Join(marked, " ") {
			t.Errorf("%s is a %s of %v; docs/metrics.md says %q of %q", name, kind, marked, row[0], row[1])
		}
		if !strings.HasSuffix(row[2], "?") || row[3] == "" {
			t.Errorf("%s: a row has the question it answers, and the alert or \"none\"", name)
		}
	}
	for _, m := range metrics {
		kind := "gauge"
		if m.kind == prometheus.CounterValue {
			kind = "counter"
		}
		check(m.name, kind, m.labels)
	}
	for _, m := range timings {
		check(m.name, "histogram", m.labels)
	}
	check(buildName, "gauge", []string{"version", "go"})
	for name := range documented {
		t.Errorf("docs/metrics.md has a row for %s, which does not exist", name)
	}
}
