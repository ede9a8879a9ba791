//go:build bench

package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/tcpstat"
)

// ends are where a socket can be left, in the order of lab.count.
var ends = [4]string{"client", "front", "backend side", "backend"}

// left counts TIME_WAIT at the four ends, a second after the last response of
// many short connections. With wait each client asks for the close and waits for
// it, else it closes when it has its response.
func left(t *testing.T, k kind, wait bool) (tw [4]int) {
	t.Helper()
	t.Run(fmt.Sprintf("time-wait/waits=%v", wait), func(t *testing.T) {
		l := newLab(t, k)
		p := l.proxies[0]
		l.visits(p, wait, size.storm)
		settle := time.NewTimer(time.Second) // closes come through; TIME_WAIT lasts for 60
		<-settle.C
		for i, c := range l.count(p) {
			tw[i] = c[tcpstat.TimeWait]
			for _, s := range tcpstat.States() {
				if c[s] > 0 && s != tcpstat.Listen {
					t.Logf("%s, %s: %d in %s", k.name, ends[i], c[s], s)
				}
			}
		}
		if sum := tw[0] + tw[1]; k.start == nil && sum != size.storm {
			t.Errorf("%d connections without a proxy have left %d TIME_WAIT, want one each: the count is wrong", size.storm, sum)
		}
	})
	return tw
}

// where writes a count with the ends at which there are any.
func where(tw [4]int) string {
	sum, at := 0, []string(nil)
	for i, n := range tw {
		if n > 0 {
			sum += n
			at = append(at, ends[i])
		}
	}
	if sum == 0 {
		return "0"
	}
	return thousands(sum) + " (" + strings.Join(at, ", ") + ")"
}
