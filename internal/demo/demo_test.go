package demo

import (
	"strings"
	"testing"

	"weir/internal/storm"
)

func TestNoLineOfTheTableEndsInABlank(t *testing.T) {
	var b strings.Builder
	c := comparison{requests: 1, direct: &storm.Result{}, through: &storm.Result{}}
	c.print(&b)
	for line := range strings.Lines(b.String()) {
		if line = strings.TrimSuffix(line, "\n"); line != strings.TrimRight(line, " ") {
			t.Errorf("%q", line)
		}
	}
	if !strings.Contains(b.String(), "TIME-WAIT, 1 s later\n") {
		t.Errorf("got\n%s", b.String())
	}
}
