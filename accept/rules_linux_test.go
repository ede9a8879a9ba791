package accept

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"weir/internal/testnet"
	"weir/proxy/fault"
)

const (
	rulesFile   = "../configs/prometheus-rules.yaml"
	grafanaFile = "../configs/grafana-dashboard.json"
)

// ruleFile is the part of a file of alert rules that is looked at.
type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr         string
			Labels, Annotations map[string]string
		}
	}
}

func readRules(t *testing.T) (f ruleFile) {
	t.Helper()
	data, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// grafanaDashboard is the part of a Grafana dashboard that is looked at.
type grafanaDashboard struct {
	UID, Title string
	Panels     []grafanaPanel
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
	Annotations struct {
		List []struct {
			Expr   string
			Target struct{ Expr string }
		}
	}
}

type grafanaPanel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ H, W, X, Y int }
	Datasource               struct{ UID string }
	Targets                  []struct {
		RefID, Expr, LegendFormat string
		Datasource                struct{ UID string }
	}
	FieldConfig struct{ Defaults struct{ Unit string } }
}

func readGrafana(t *testing.T) (d grafanaDashboard) {
	t.Helper()
	data, err := os.ReadFile(grafanaFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// promtool runs Prometheus' own checker.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), testnet.NeedProgram(t, "promtool"), args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestAcceptThePrometheusRulesDoWhatTheySay(t *testing.T) {
	promtool(t, "check", "rules", rulesFile)
	promtool(t, "test", "rules", "testdata/prometheus-rules-test.yaml")
}

// Each alert tells what is wrong, how much of it, and what to do.
func TestAcceptEveryAlertSaysWhatToDo(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			if !strings.HasPrefix(r.Alert, "Weir") || seen[r.Alert] {
				t.Errorf("%q: is no name, or one that is taken", r.Alert)
			}
			seen[r.Alert] = true
			a := r.Annotations
			if a["summary"] == "" || a["description"] == "" || a["action"] == "" || len(a) != 4 {
				t.Errorf("%s: annotations %v; want summary, description, action, runbook", r.Alert, a)
			}
			// Where the value is always the same there is nothing to say of it.
			constant := strings.HasSuffix(r.Expr, "== 0") || strings.HasSuffix(r.Expr, "== 1") || strings.Contains(r.Expr, "refused")
			if !strings.Contains(a["description"], "$value") && !constant {
				t.Errorf("%s: the description is without the value", r.Alert)
			}
			if s := r.Labels["severity"]; s != "page" && s != "ticket" {
				t.Errorf("%s: severity %q", r.Alert, s)
			}
			path, heading, _ := strings.Cut(a["runbook"], "#")
			if !slices.Contains(headings(t, path), heading) {
				t.Errorf("%s: there is no %s", r.Alert, a["runbook"])
			}
		}
	}
}

// headings are the anchors of a document, as those who show it make them, and ""
// for its beginning.
func headings(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		t.Error(err)
		return nil
	}
	out := []string{""}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(data), -1) {
		h := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(h, " ", "-"))
	}
	return out
}

// What docs/metrics.md advises to watch is watched.
func TestAcceptEveryAlertOfTheDocumentIsARule(t *testing.T) {
	data, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			all.WriteString(r.Expr + "\n")
		}
	}
	advised := 0
	for _, m := range regexp.MustCompile("(?m)^\\| `(weir_[a-z_]+)` \\|.*\\| ([^|]*) \\|$").FindAllStringSubmatch(string(data), -1) {
		if m[2] == "none" {
			continue
		}
		advised++
		if !strings.Contains(all.String(), m[1]) {
			t.Errorf("no rule has %s, of which docs/metrics.md says: %s", m[1], m[2])
		}
	}
	if advised < 20 {
		t.Errorf("found %d alerts in docs/metrics.md", advised)
	}
}

// promMetric is what admin's golden file says of one.
type promMetric struct {
	kind   string
	labels []string
}

func goldenMetrics(t *testing.T) map[string]promMetric {
	t.Helper()
	data, err := os.ReadFile("../admin/testdata/metrics.golden")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]promMetric{}
	for _, m := range regexp.MustCompile(`(?m)^(weir_\w+) (\w+) \{(.*)\}$`).FindAllStringSubmatch(string(data), -1) {
		out[m[1]] = promMetric{m[2], append(strings.Split(m[3], ","), "job", "instance")}
	}
	return out
}

var (
	promSeries   = regexp.MustCompile(`\b((?:weir|process|go)_\w+)(?:\{([^}]*)\})?`)
	promMatcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
	promGrouping = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right) \(([^)]*)\)`)
)

// checkQuery holds a query against what weir exports: the names, their labels, and
// that what is counted is not shown as it is.
func checkQuery(t *testing.T, where, expr string, known map[string]promMetric, live map[string]float64) {
	t.Helper()
	labels := map[string]bool{}
	for _, m := range promSeries.FindAllStringSubmatchIndex(expr, -1) {
		name := expr[m[2]:m[3]]
		base := name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if b, ok := strings.CutSuffix(name, suffix); ok && known[b].kind == "histogram" {
				base = b
			}
		}
		is, ok := known[base]
		if !strings.HasPrefix(name, "weir_") {
			_, ok = live[name]
			is.labels = []string{"job", "instance"}
		}
		if !ok {
			t.Errorf("%s: weir has no metric %s", where, name)
			continue
		}
		if base != name {
			is.labels = append(slices.Clone(is.labels), "le")
		}
		for _, l := range is.labels {
			labels[l] = true
		}
		before := strings.TrimSpace(expr[:m[0]])
		if counted := strings.HasSuffix(name, "_total") || base != name; counted && !strings.HasSuffix(before, "rate(") && !strings.HasSuffix(before, "increase(") {
			t.Errorf("%s: %s counts, and without rate or increase it only ever rises", where, name)
		}
		if m[4] < 0 {
			continue
		}
		for _, l := range promMatcher.FindAllStringSubmatch(expr[m[4]:m[5]], -1) {
			if !slices.Contains(is.labels, l[1]) {
				t.Errorf("%s: %s has no label %s", where, name, l[1])
			}
		}
	}
	for _, g := range promGrouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			if l = strings.TrimSpace(l); !labels[l] {
				t.Errorf("%s: no metric in it has the label %s", where, l)
			}
		}
	}
}

func TestAcceptRulesAndDashboardAskForWhatThereIs(t *testing.T) {
	known := goldenMetrics(t)
	if len(known) < 30 {
		t.Fatalf("found %d metrics in the golden file", len(known))
	}
	live := start(t, oneBackend("127.0.0.1:1", "", "")).metrics()
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			checkQuery(t, r.Alert, r.Expr, known, live)
		}
	}
	d := readGrafana(t)
	shown := ""
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			checkQuery(t, p.Title, q.Expr, known, live)
			shown += q.Expr + "\n"
		}
	}
	for _, v := range d.Templating.List {
		checkQuery(t, "variable "+v.Name, v.Definition, known, live)
		shown += v.Definition + "\n"
	}
	for _, a := range d.Annotations.List {
		checkQuery(t, "annotation", a.Expr, known, live)
		if a.Target.Expr != a.Expr {
			t.Errorf("an annotation asks newer Grafanas for %q and older ones for %q", a.Target.Expr, a.Expr)
		}
		shown += a.Expr + "\n"
	}
	for name := range known {
		if !strings.Contains(shown, name) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// outcomeSets are what a sum of requests is over. What weir refused, or a client did
// wrong, had no connection; query_timeout is counted beside another outcome.
func outcomeSets() (all []string, sets map[string]string) {
	of := map[string][]string{}
	add := func(outcome string, served, failed bool) {
		all = append(all, outcome)
		for name, in := range map[string]bool{"had a connection": served, "failed": failed, "were the backend's": served || failed} {
			if in {
				of[name] = append(of[name], outcome)
			}
		}
	}
	for outcome, failed := range map[string]bool{"1xx": false, "2xx": false, "3xx": false, "4xx": false, "5xx": true, "ok": false, "error": true} {
		add(outcome, true, failed)
	}
	for _, k := range fault.Kinds() {
		failed := k.Side() == fault.Backend && k != fault.QueryTimeout
		dial := k == fault.DialRefused || k == fault.DialTimeout || k == fault.BackendRefused
		add(k.String(), failed && !dial, failed || k == fault.Internal)
	}
	sets = map[string]string{}
	for name, outcomes := range of {
		slices.Sort(outcomes)
		sets[strings.Join(outcomes, " ")] = name
	}
	return all, sets
}

func TestAcceptFormulasCountTheRequestsTheyMean(t *testing.T) {
	all, sets := outcomeSets()
	used := map[string]int{}
	for _, path := range []string{rulesFile, grafanaFile, "../docs/metrics.md"} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), `\"`, `"`)
		for _, m := range regexp.MustCompile(`weir_requests_total\{[^}]*outcome=~"([^"]*)"`).FindAllStringSubmatch(text, -1) {
			re := regexp.MustCompile("^(?:" + m[1] + ")$")
			var have []string
			for _, outcome := range all {
				if re.MatchString(outcome) {
					have = append(have, outcome)
				}
			}
			slices.Sort(have)
			name := sets[strings.Join(have, " ")]
			if name == "" {
				t.Errorf("%s: %q is %v, which is none of %v", path, m[1], have, sets)
			}
			used[name]++
		}
		// A share of all requests is one that a flood of refusals hides.
		for _, m := range regexp.MustCompile(`/ sum[^(]*(?:\([a-z, ]*\) )?\(rate\(weir_requests_total[^\]]*`).FindAllString(text, -1) {
			if !strings.Contains(m, "outcome=~") {
				t.Errorf("%s: a share of all requests, those that weir refused too: %s", path, m)
			}
		}
	}
	if len(used) != 3 {
		t.Errorf("found formulas of %v", used)
	}
}

// Grafana's own types say what a dashboard is, and Prometheus' checker reads the
// queries. What neither knows are the rules of Grafana's linter, which cannot be had
// as a Go module here, and that panels do not lie on one another.
func TestAcceptTheGrafanaDashboardIsWhatGrafanaTakes(t *testing.T) {
	if len(buildTags) == 0 { // a file is the same however weir is built
		checkGrafanaTypes(t)
	}
	d := readGrafana(t)
	if d.UID == "" || d.Title == "" {
		t.Error("a dashboard needs a uid and a title")
	}
	variables := map[string]string{}
	for _, v := range d.Templating.List {
		variables[v.Name] = v.Type
	}
	if variables["datasource"] != "datasource" || variables["job"] != "query" || variables["instance"] != "query" {
		t.Errorf("variables %v; want datasource, job and instance", variables)
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	var queries strings.Builder
	queries.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 || p.Title == "" {
			t.Errorf("panel %q: the id %d is taken, or it has no title", p.Title, p.ID)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.X < 0 || g.X+g.W > 24 || g.W <= 0 || g.H <= 0 {
			t.Errorf("panel %q is not on the grid: %+v", p.Title, g)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, there := taken[at]; there {
					t.Fatalf("panel %q lies on %q", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q: want a description, a unit, a query and the data source ${datasource}", p.Title)
		}
		for _, q := range p.Targets {
			checkTarget(t, p.Title, q.Expr, variables)
			if q.LegendFormat == "" || q.RefID == "" || q.Datasource.UID != "${datasource}" {
				t.Errorf("panel %q: a query without a legend, an id or the data source", p.Title)
			}
			expr := regexp.MustCompile(`\$(\w+)`).ReplaceAllStringFunc(q.Expr, func(v string) string {
				if v == "$__rate_interval" {
					return "5m"
				}
				return "x"
			})
			fmt.Fprintf(&queries, "  - {record: 'panel:%d', expr: %q, labels: {query: %q}}\n", p.ID, expr, q.RefID)
		}
	}
	path := filepath.Join(t.TempDir(), "queries.yaml")
	if err := os.WriteFile(path, []byte(queries.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}

func checkTarget(t *testing.T, title, expr string, variables map[string]string) {
	t.Helper()
	for _, m := range promSeries.FindAllStringSubmatch(expr, -1) {
		if !strings.Contains(m[2], `job=~"$job"`) || !strings.Contains(m[2], `instance=~"$instance"`) {
			t.Errorf("panel %q: %s is not of $job and $instance", title, m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\[([^\]]*)\]`).FindAllStringSubmatch(expr, -1) {
		if m[1] != "$__rate_interval" {
			t.Errorf("panel %q: the range %s is not $__rate_interval", title, m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(expr, -1) {
		if m[1] != "__rate_interval" && variables[m[1]] == "" {
			t.Errorf("panel %q: there is no variable $%s", title, m[1])
		}
	}
}
