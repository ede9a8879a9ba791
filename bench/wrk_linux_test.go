//go:build bench

package bench

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"weir/internal/testnet"
)

// sample is one run of wrk against one proxy.
type sample struct {
	requests      int
	perSecond     float64
	proxyCPU      float64 // microseconds a request
	backendCPU    float64
	p50, p99      time.Duration
	backendDialed float64 // per 1,000 requests
}

var (
	reRequests = regexp.MustCompile(`(\d+) requests in`)
	rePerSec   = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	reQuantile = regexp.MustCompile(`(50|99)%\s+([\d.]+)(us|ms|s)`)
	reRefused  = regexp.MustCompile(`Non-2xx.*`)
	reBroken   = regexp.MustCompile(`Socket errors:.*`)
)

// requests runs wrk at each proxy in turn, round by round. Each round begins
// with another one, so that none always comes after the same neighbour.
func (l *lab) requests(closing bool) map[string][]sample {
	samples := map[string][]sample{}
	for round := range size.rounds + 1 {
		for i := range l.proxies {
			p := l.proxies[(i+round)%len(l.proxies)]
			s := l.sample(p, closing)
			if round > 0 { // the first one warms up
				samples[p.name] = append(samples[p.name], s)
			}
		}
	}
	return samples
}

func (l *lab) sample(p *proxy, closing bool) (s sample) {
	proxyPIDs, backendPIDs := []int(nil), tree(l.backend.PID())
	if p.pids != nil {
		proxyPIDs = p.pids()
	}
	dialed := l.accepted()
	before, beforeBackend := cpu(proxyPIDs), cpu(backendPIDs)
	text := l.wrk(p, closing, size.duration)
	after, afterBackend := cpu(proxyPIDs), cpu(backendPIDs)

	s.requests = l.answered(text)
	n := float64(s.requests)
	s.perSecond, _ = strconv.ParseFloat(find(rePerSec, text), 64)
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
	s.backendDialed = float64(l.accepted()-dialed-1) / n * 1000
	if p.pids != nil && s.proxyCPU == 0 || s.backendCPU == 0 || s.p50 == 0 || s.p99 == 0 {
		l.t.Fatalf("%s: something was not measured: %+v\n%s", p.name, s, text)
	}
	return s
}

// wrk drives p and returns what wrk prints. closing makes every request a
// connection of its own: wrk then asks for a close, and closes when it has the
// response. When its time ends it drops the connections that it has, whatever
// is under way on them.
func (l *lab) wrk(p *proxy, closing bool, d time.Duration) string {
	l.t.Helper()
	args := []string{"-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%ds", int(d.Seconds())), "--latency"}
	if closing {
		args = append(args, "-H", "Connection: close")
	}
	out, err := l.ns.Command(testnet.NeedProgram(l.t, "wrk"), append(args, "http://"+p.addr.String()+"/")...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("wrk: %v\n%s", err, out)
	}
	if m := find(reBroken, string(out)); m != "" {
		l.t.Logf("%s: %s", p.name, m)
	}
	return string(out)
}

// answered is the number of requests in wrk's output. All must be 2xx: an error
// costs less than what was asked for.
func (l *lab) answered(text string) int {
	l.t.Helper()
	n, _ := strconv.Atoi(find(reRequests, text))
	if n == 0 || find(reRefused, text) != "" {
		l.t.Fatalf("wrk was not served:\n%s", text)
	}
	return n
}

// find returns what re matches in text, its first group if it has one, or "".
func find(re *regexp.Regexp, text string) string {
	m := re.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return strings.TrimSpace(m[len(m)-1])
}
