package audit

import (
	"strings"
	"testing"
)

func TestTheCostIsTheMedianOfTheStepsAndSaysHowSureItIs(t *testing.T) {
	at := func(each ...int64) (out []Sample) {
		s := Sample{4096, 50 << 20}
		for _, e := range append([]int64{0}, each...) {
			if e != 0 {
				s = Sample{s.Sockets + 1000, s.Bytes + 1000*e}
			}
			out = append(out, s)
		}
		return out
	}
	c, err := CostOf("accepting", "test", at(250, 256, 260, 255, 258))
	if err != nil || c.Bytes != 256 || c.Low != 250 || c.High != 260 || c.Sockets != 5000 || !c.Sure {
		t.Errorf("got %+v, %v", c, err)
	}
	// One step met other work of the machine.
	c, err = CostOf("accepting", "test", at(250, 256, -4000, 255, 9000))
	if err != nil || c.Bytes != 255 || c.Sure {
		t.Errorf("got %+v, %v", c, err)
	}
	for why, samples := range map[string][]Sample{
		"cannot be":    at(1, 2, 1, 2, 1), // a sandbox's own meminfo
		"too few":      at(256, 256),
		"did not grow": {{1, 1}, {1000, 300000}, {1000, 300000}, {2000, 600000}, {3000, 900000}},
	} {
		if c, err := CostOf("accepting", "test", samples); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: got %+v, %v", why, c, err)
		}
	}
}
