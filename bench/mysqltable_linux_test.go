//go:build bench

package bench

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// bar is a promise about one figure, and what became of it.
type bar struct {
	what       string
	got, limit float64
	least      bool // limit is the least, else the most
	aim        float64
	rounds     []float64 // sorted; got is their median
}

// print says whether the bar was met. With -hold a missed one fails the test.
func (b bar) print(t *testing.T) {
	t.Helper()
	met, verdict, side := b.got <= b.limit, "met", "at most"
	if b.least {
		met, side = b.got >= b.limit, "at least"
	}
	if !met {
		verdict = "missed"
	}
	aim := ""
	if b.aim != 0 {
		aim = fmt.Sprintf(" (aim %.2f)", b.aim)
	}
	line := fmt.Sprintf("bar %s: %s: %.2f, %s %.2f%s; rounds: %.2f", verdict, b.what, b.got, side, b.limit, aim, b.rounds)
	fmt.Println(line)
	if !met && *hold {
		t.Error(line)
	}
}

// perRound makes figures of two runs of the same round, sorted, and their median.
func perRound(a, b []mysqlSample, f func(a, b mysqlSample) float64) (all []float64, middle float64) {
	for i := range a {
		all = append(all, f(a[i], b[i]))
	}
	slices.Sort(all)
	return all, all[len(all)/2]
}

func most(what string, limit, aim float64, all []float64, middle float64) bar {
	return bar{what: what, got: middle, limit: limit, aim: aim, rounds: all}
}

func least(what string, limit, aim float64, all []float64, middle float64) bar {
	return bar{what: what, got: middle, limit: limit, aim: aim, least: true, rounds: all}
}

// What is compared, within one round.
func dbToDirect(a, direct mysqlSample) float64   { return a.dbCPU / direct.dbCPU }
func rateToDirect(a, direct mysqlSample) float64 { return a.perSecond / direct.perSecond }
func ownToDatabase(a, direct mysqlSample) float64 {
	return a.proxyCPU / direct.dbCPU
}
func ownToOther(a, other mysqlSample) float64 { return a.proxyCPU / other.proxyCPU }

// connectionBars are those of short connections.
func connectionBars(s map[string][]mysqlSample) (bars []bar) {
	direct := s["direct"]
	for _, b := range []struct {
		name                       string
		cpu, cpuAim, rate, rateAim float64
	}{
		{"weir, reset always", 0.65, 0, 0.85, 0},
		{"weir, reset proven", 0.35, 0.2, 1.0, 1.3},
	} {
		all, middle := perRound(s[b.name], direct, dbToDirect)
		bars = append(bars, most(b.name+": CPU of the database to that of direct", b.cpu, b.cpuAim, all, middle))
		all, middle = perRound(s[b.name], direct, rateToDirect)
		bars = append(bars, least(b.name+": connections/s to those of direct", b.rate, b.rateAim, all, middle))
		all, middle = perRound(s[b.name], direct, ownToDatabase)
		bars = append(bars, most(b.name+": CPU of weir to the database's of direct", 0.75, 0, all, middle))
	}
	return bars
}

// selectBars are those of queries over long connections.
func selectBars(script sysbenchScript, s map[string][]mysqlSample) (bars []bar) {
	weir, haproxy := s["weir, reset always"], s["HAProxy"]
	all, middle := perRound(weir, haproxy, ownToOther)
	bars = append(bars, most(script.name+": CPU of weir to HAProxy's", 1.5, 0, all, middle))
	var ratios []float64
	for i, direct := range s["direct"] {
		// Where HAProxy adds nothing there is no ratio; a microsecond stands for it.
		other := max(haproxy[i].p50-direct.p50, time.Microsecond)
		ratios = append(ratios, float64(weir[i].p50-direct.p50)/float64(other))
	}
	slices.Sort(ratios)
	return append(bars, most(script.name+": added median of weir to HAProxy's", 1.5, 0, ratios, ratios[len(ratios)/2]))
}

// The tables go to the standard output as they are, to be pasted.

// printMySQLConnections writes medians; ratios are medians of the rounds' own.
func printMySQLConnections(l *mysqlLab, samples map[string][]mysqlSample, left map[string][4]int) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %s | connections/s | to direct | CPU of the database, µs | to direct | CPU of the proxy, µs | to the database's, direct | p50, p95, p99, ms | database connections per 1,000 | TIME_WAIT of %s |\n|---|---|---|---|---|---|---|---|---|---|\n",
		connectSelectQuit.name, thousands(size.storm))
	direct := samples["direct"]
	for _, p := range l.proxies {
		of := samples[p.name]
		_, rate := perRound(of, direct, rateToDirect)
		_, db := perRound(of, direct, dbToDirect)
		own, toDB := "-", "-"
		if p.pids != nil {
			_, r := perRound(of, direct, ownToDatabase)
			own, toDB = fmt.Sprintf("%.1f", mysqlMedian(of, func(s mysqlSample) float64 { return s.proxyCPU })), fmt.Sprintf("%.2f", r)
		}
		fmt.Fprintf(&b, "| %s | %s | %.2f | %.1f | %.2f | %s | %s | %s | %.1f | %s |\n", label(l.t, p.kind),
			thousands(int(mysqlMedian(of, func(s mysqlSample) float64 { return s.perSecond }))), rate,
			mysqlMedian(of, func(s mysqlSample) float64 { return s.dbCPU }), db, own, toDB, latencies(of),
			mysqlMedian(of, func(s mysqlSample) float64 { return s.fresh }), where(left[p.name]))
	}
	fmt.Fprintln(os.Stdout, b.String())
}

// printMySQLSelects writes medians; what is added is the median of the rounds'
// own differences.
func printMySQLSelects(l *mysqlLab, script sysbenchScript, samples map[string][]mysqlSample) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %s | queries/s | CPU of the proxy, µs | to HAProxy's | CPU of the database, µs | p50, p95, p99, ms | added to the median, ms |\n|---|---|---|---|---|---|---|\n", script.name)
	for _, p := range l.proxies {
		of := samples[p.name]
		own, toHAProxy, added := "-", "-", "-"
		if p.pids != nil {
			_, r := perRound(of, samples["HAProxy"], ownToOther)
			own, toHAProxy = fmt.Sprintf("%.1f", mysqlMedian(of, func(s mysqlSample) float64 { return s.proxyCPU })), fmt.Sprintf("%.2f", r)
			_, ns := perRound(of, samples["direct"], func(a, direct mysqlSample) float64 { return float64(a.p50 - direct.p50) })
			added = millis(time.Duration(ns))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.1f | %s | %s |\n", label(l.t, p.kind),
			thousands(int(mysqlMedian(of, func(s mysqlSample) float64 { return s.perSecond }))), own, toHAProxy,
			mysqlMedian(of, func(s mysqlSample) float64 { return s.dbCPU }), latencies(of), added)
	}
	fmt.Fprintln(os.Stdout, b.String())
}

func latencies(of []mysqlSample) string {
	return fmt.Sprintf("%s, %s, %s", millis(mysqlMedian(of, func(s mysqlSample) time.Duration { return s.p50 })),
		millis(mysqlMedian(of, func(s mysqlSample) time.Duration { return s.p95 })), millis(mysqlMedian(of, func(s mysqlSample) time.Duration { return s.p99 })))
}

func mysqlMedian[T float64 | time.Duration](of []mysqlSample, get func(mysqlSample) T) T {
	return get(middle(of, get))
}
