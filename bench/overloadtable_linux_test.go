//go:build bench

package bench

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tables go to the standard output as they are, to be pasted.

// printOverload writes a line for each step of each row.
func (sc *scene) printOverload(t *testing.T, capacity float64, rows []overloadRow) {
	var b strings.Builder
	sc.heading(t, &b, capacity)
	fmt.Fprint(&b, "\n| | offered | answered in time/s | of capacity | p50, p99 of admitted, ms | p99 from 1 s on | refused/s | broken/s | given up/s | connections opened/s | settled after, s | CPU of the proxy by request, µs |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		for i, s := range r.steps {
			name, cpu := "", "-"
			if i == 0 {
				name = overloadLabel(t, r.overloadKind)
			}
			if r.start != nil {
				cpu = fmt.Sprintf("%.1f", float64(s.used.proxy.Microseconds())/float64(s.offered))
			}
			fmt.Fprintf(&b, "| %s | %gx | %s | %.3f | %s | %s | %s | %s | %s | %s | %s | %s |\n", name, s.times, s.rate(s.good), float64(s.good)/s.length.Seconds()/capacity,
				s.latencies(), s.settledLatency(), s.refusals(), s.rate(s.broken), s.gaveUp(), s.rate(s.used.opened), s.settling(), cpu)
		}
	}
	notes(t, &b, rows)
	fmt.Fprintln(os.Stdout, b.String())
}

// printPriority writes what became of the requests that matter more, and of the
// others.
func (sc *scene) printPriority(t *testing.T, capacity float64, rows []overloadRow) {
	var b strings.Builder
	sc.heading(t, &b, capacity)
	fmt.Fprint(&b, "\n| | offered | class 1 offered, of capacity | class 1 answered in time | the others | answered in time, of capacity | p50, p99 of admitted, ms |\n|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		for i, s := range r.steps {
			name := ""
			if i == 0 {
				name = overloadLabel(t, r.overloadKind)
			}
			fmt.Fprintf(&b, "| %s | %gx | %.2f | %s | %s | %.3f | %s |\n", name, s.times, float64(s.first)/s.length.Seconds()/capacity,
				percent(s.firstGood, s.first), percent(s.good-s.firstGood, s.offered-s.first), float64(s.good)/s.length.Seconds()/capacity, s.latencies())
		}
	}
	notes(t, &b, rows)
	fmt.Fprintln(os.Stdout, b.String())
}

func (sc *scene) heading(t *testing.T, b *strings.Builder, capacity float64) {
	fmt.Fprintf(b, "\n%s\nThe backend: %s, measured %s/s. The load: Poisson arrivals, %s clients, each gives up after %v.\n",
		machine(t), sc.backend, thousands(int(capacity)), thousands(sc.clients), deadline)
}

// notes say which rows were not run, and how good the load was: one that comes
// late, or that takes the cores, measures itself.
func notes(t *testing.T, b *strings.Builder, rows []overloadRow) {
	fmt.Fprintln(b)
	for _, r := range rows {
		name := overloadLabel(t, r.overloadKind)
		if r.refused != nil {
			fmt.Fprintf(b, "%s: not run: %v\n", name, r.refused)
			continue
		}
		fmt.Fprintf(b, "%s: cores taken by clients, proxy, backend:", name)
		for _, s := range r.steps {
			cores := func(d time.Duration) float64 { return d.Seconds() / s.length.Seconds() }
			fmt.Fprintf(b, " %gx %.2f, %.2f, %.2f;", s.times, cores(s.used.own), cores(s.used.proxy), cores(s.used.backend))
		}
		quiet := r.before[len(r.before)-1]
		fmt.Fprintf(b, " p50, p99 before, at %gx, ms: %s;", quiet.times, quiet.latencies())
		fmt.Fprint(b, " p99 of an arrival's wait to be sent, ms:")
		for _, s := range r.steps {
			fmt.Fprintf(b, " %s", millis(s.late99))
		}
		fmt.Fprintln(b)
	}
}

// overloadLabel is a row's name with the version of its program.
func overloadLabel(t *testing.T, k overloadKind) string {
	t.Helper()
	k.program = label(t, kind{name: k.program})
	return k.String()
}

func (s *overloadStep) rate(n int) string { return thousands(int(float64(n)/s.length.Seconds() + 0.5)) }

func (s *overloadStep) latencies() string {
	if s.p99 == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f, %.1f", float64(s.p50)/1e6, float64(s.p99)/1e6)
}

func (s *overloadStep) settledLatency() string {
	if s.settled99 == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(s.settled99)/1e6)
}

func (s *overloadStep) refusals() string {
	var list []string
	for _, status := range slices.Sorted(maps.Keys(s.refused)) {
		list = append(list, fmt.Sprintf("%d: %s", status, s.rate(s.refused[status])))
	}
	if list == nil {
		return "0"
	}
	return strings.Join(list, ", ")
}

func (s *overloadStep) gaveUp() string {
	text := s.rate(s.timedOut + s.unsent)
	if s.unsent > 0 {
		text += fmt.Sprintf(" (%s without a connection)", s.rate(s.unsent))
	}
	return text
}

// settling is of the step's own plateau, or of the first step's: then it is how
// long the recovery took. There is none on the ground.
func (s *overloadStep) settling() string {
	text := fmt.Sprintf("%.1f", s.settled.Seconds())
	switch {
	case s.plateau < 0.05:
		text = "-"
	case s.settled == forever:
		text = fmt.Sprintf("not in %.1f", s.length.Seconds())
	}
	if s.backToBase {
		text += " (recovery)"
	}
	return text
}

func percent(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}
