//go:build bench

package bench

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// footprint is a row of the last two tables.
type footprint struct {
	kind
	firstLeft, lastLeft [4]int // TIME_WAIT where the client closes first, and where it does not
	idle                idle
	short, keepalive    []call
}

// The tables go to the standard output as they are, to be pasted.

// printRequests writes medians, and below the table the ratios of all rounds:
// how far they are apart shows how quiet the machine was.
func printRequests(l *lab, closing bool, samples map[string][]sample) {
	title := "keepalive"
	if closing {
		title = "one request per connection"
	}
	var b, all strings.Builder
	fmt.Fprintf(&b, "\n| %s | requests/s | CPU of the proxy, µs | to nginx's | to HAProxy's | CPU of the backend, µs | p50, p99, ms | dials per 1,000 |\n|---|---|---|---|---|---|---|---|\n", title)
	for _, p := range l.proxies {
		of := samples[p.name]
		own, toNginx, toHAProxy := "-", "-", "-"
		if p.pids != nil {
			a, b := ratios(of, samples["nginx"]), ratios(of, samples["HAProxy"])
			own = fmt.Sprintf("%.1f", median(of, func(s sample) float64 { return s.proxyCPU }))
			toNginx, toHAProxy = fmt.Sprintf("%.2f", a[len(a)/2]), fmt.Sprintf("%.2f", b[len(b)/2])
			if p.name == "weir" {
				fmt.Fprintf(&all, "weir's CPU to nginx's in each round, sorted: %.2f; to HAProxy's: %.2f\n", a, b)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %.1f | %s, %s | %.1f |\n", label(l.t, p.kind),
			thousands(int(median(of, func(s sample) float64 { return s.perSecond }))), own, toNginx, toHAProxy,
			median(of, func(s sample) float64 { return s.backendCPU }),
			millis(median(of, func(s sample) time.Duration { return s.p50 })), millis(median(of, func(s sample) time.Duration { return s.p99 })),
			median(of, func(s sample) float64 { return s.backendDialed }))
	}
	fmt.Fprintf(os.Stdout, "%s\n%s", b.String(), all.String())
}

// printFootprint writes memory and what was left behind.
func printFootprint(t *testing.T, rows []footprint) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| | an idle client, bytes | with %s of them, MiB | TIME_WAIT of %s: the client closes first | it waits for the close |\n|---|---|---|---|---|\n",
		thousands(size.idle), thousands(size.storm))
	for _, r := range rows {
		client, total := "-", "-"
		if r.start != nil {
			client, total = thousands(r.idle.client), fmt.Sprintf("%.1f", float64(r.idle.total)/(1<<20))
		}
		if r.idle.heap != 0 {
			client += fmt.Sprintf(" (in use: %d)", r.idle.heap)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", label(t, r.kind), client, total, where(r.firstLeft), where(r.lastLeft))
	}
	fmt.Fprint(os.Stdout, b.String())
}

// printCalls writes the system calls of a request, and the most frequent ones.
func printCalls(t *testing.T, rows []footprint) {
	const shown = 5
	var b strings.Builder
	fmt.Fprint(&b, "\n| system calls of a request | all | the most frequent |\n|---|---|---|\n")
	for _, r := range rows {
		for _, of := range []struct {
			name string
			list []call
		}{{"one per connection", r.short}, {"keepalive", r.keepalive}} {
			if of.list == nil {
				continue
			}
			sum, most := 0.0, []string(nil)
			for i, c := range of.list {
				sum += c.n
				if i >= shown {
					continue
				}
				text := fmt.Sprintf("%s %.2f", c.name, c.n)
				if c.failed >= 0.05 {
					text += fmt.Sprintf(" (%.2f in vain)", c.failed)
				}
				most = append(most, text)
			}
			fmt.Fprintf(&b, "| %s, %s | %.1f | %s |\n", label(t, r.kind), of.name, sum, strings.Join(most, ", "))
		}
	}
	fmt.Fprintln(os.Stdout, b.String())
}

// ratios are those of CPU per request, round by round, sorted.
func ratios(a, b []sample) []float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i].proxyCPU / b[i].proxyCPU
	}
	slices.Sort(r)
	return r
}

// middle is the element that is the median by key.
func middle[E any, K cmp.Ordered](of []E, key func(E) K) E {
	sorted := slices.SortedFunc(slices.Values(of), func(a, b E) int { return cmp.Compare(key(a), key(b)) })
	return sorted[len(sorted)/2]
}

func median[T cmp.Ordered](of []sample, get func(sample) T) T { return get(middle(of, get)) }

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/1e6) }

// thousands writes 20000 as 20,000.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
