//go:build bench

package bench

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sample is one run of wrk against one proxy.
type sample struct {
	requests      int
	perSecond     float64
	proxyCPU      float64 // microseconds a request
	backendCPU    float64
	p50, p99      time.Duration
	backendDialed float64 // per 1,000 requests
	timeWait      int
	errors        string
}

var (
	reRequests = regexp.MustCompile(`(\d+) requests in`)
	rePerSec   = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	reQuantile = regexp.MustCompile(`(50|99)%\s+([\d.]+)(us|ms|s)`)
	reErrors   = regexp.MustCompile(`(?m)^\s*(Socket errors:.*|Non-2xx.*)$`)
)

// wrk drives p once. short makes every request a connection of its own.
func (l *lab) wrk(p *proxy, short bool) (s sample) {
	args := []string{"-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%ds", int(duration.Seconds())), "--latency"}
	if short {
		args = append(args, "-H", "Connection: close")
	}
	proxyPIDs, backendPIDs := []int(nil), tree(l.backend.PID())
	if p.pids != nil {
		proxyPIDs = p.pids()
	}
	dialed := l.accepted()
	before, beforeBackend := cpu(proxyPIDs), cpu(backendPIDs)
	out, err := l.ns.Command("wrk", append(args, "http://"+p.addr.String()+"/")...).CombinedOutput()
	after, afterBackend := cpu(proxyPIDs), cpu(backendPIDs)
	if err != nil {
		l.t.Fatalf("wrk: %v\n%s", err, out)
	}
	text := string(out)
	s.requests, _ = strconv.Atoi(find(reRequests, text))
	s.perSecond, _ = strconv.ParseFloat(find(rePerSec, text), 64)
	if s.requests == 0 {
		l.t.Fatalf("no requests were made:\n%s", text)
	}
	n := float64(s.requests)
	s.proxyCPU = float64(after-before) / 1e3 / n
	s.backendCPU = float64(afterBackend-beforeBackend) / 1e3 / n
	for _, m := range reQuantile.FindAllStringSubmatch(text, -1) {
		d, _ := time.ParseDuration(m[2] + m[3])
		if m[1] == "50" {
			s.p50 = d
		} else {
			s.p99 = d
		}
	}
	s.errors = strings.TrimSpace(find(reErrors, text))
	s.backendDialed = float64(l.accepted()-dialed-1) / n * 1000
	settle := time.NewTimer(time.Second)
	<-settle.C
	s.timeWait = l.left(p)
	return s
}

func find(re *regexp.Regexp, text string) string {
	if m := re.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// accepted is how many connections the backend has taken, this one included.
func (l *lab) accepted() int {
	out, err := l.ns.Command("curl", "-s", "http://"+l.backend.Addr.String()+"/").Output()
	if err != nil {
		l.t.Fatal(err)
	}
	lines := strings.Split(string(out), "\n")
	if len(lines) < 3 {
		l.t.Fatalf("stub_status: %s", out)
	}
	n, _ := strconv.Atoi(strings.Fields(lines[2])[0])
	return n
}

func median[T int | float64 | time.Duration](of []sample, get func(sample) T) T {
	v := make([]T, len(of))
	for i := range of {
		v[i] = get(of[i])
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func TestBenchRequests(t *testing.T) {
	l := newLab(t)
	for _, p := range l.proxies[1:] {
		t.Logf("%s: %s", p.name, p.version)
	}
	for _, short := range []bool{true, false} {
		samples := map[string][]sample{}
		for round := range rounds + 1 {
			for _, p := range l.proxies {
				s := l.wrk(p, short)
				if round > 0 { // the first one warms up
					samples[p.name] = append(samples[p.name], s)
				}
				if s.errors != "" {
					t.Logf("%s round %d: %s", p.name, round, s.errors)
				}
			}
		}
		l.print(short, samples)
	}
}

// print writes the table of medians, and the ratios within each round.
func (l *lab) print(short bool, samples map[string][]sample) {
	title := "keepalive"
	if short {
		title = "one request per connection"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %s | requests/s | CPU us/request: proxy | to nginx | to HAProxy | backend | p50 | p99 | backend dials per 1,000 | TIME_WAIT of the last minute |\n|---|---|---|---|---|---|---|---|---|---|\n", title)
	for _, p := range l.proxies {
		of := samples[p.name]
		cpu, toNginx, toHAProxy := "-", "-", "-"
		if p.pids != nil {
			cpu = fmt.Sprintf("%.1f", median(of, func(s sample) float64 { return s.proxyCPU }))
			toNginx = fmt.Sprintf("%.2f", ratio(of, samples["nginx"]))
			toHAProxy = fmt.Sprintf("%.2f", ratio(of, samples["HAProxy"]))
		}
		fmt.Fprintf(&b, "| %s | %.0f | %s | %s | %s | %.1f | %v | %v | %.1f | %d |\n", p.name,
			median(of, func(s sample) float64 { return s.perSecond }), cpu, toNginx, toHAProxy,
			median(of, func(s sample) float64 { return s.backendCPU }),
			median(of, func(s sample) time.Duration { return s.p50 }), median(of, func(s sample) time.Duration { return s.p99 }),
			median(of, func(s sample) float64 { return s.backendDialed }), median(of, func(s sample) int { return s.timeWait }))
	}
	l.t.Log(b.String())
}

// ratio is the median of the ratios of CPU per request, round by round.
func ratio(a, b []sample) float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i].proxyCPU / b[i].proxyCPU
	}
	slices.Sort(r)
	return r[len(r)/2]
}
