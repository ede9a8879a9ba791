//go:build !race

package fault

import "testing"

func TestARefusalAllocatesNothing(t *testing.T) {
	var b []byte
	n := testing.AllocsPerRun(1000, func() { b = QueueFull.Response(false) })
	if n != 0 || b == nil {
		t.Errorf("a refusal made %v allocations, want 0", n)
	}
}

func BenchmarkResponse(b *testing.B) {
	for b.Loop() {
		if QueueFull.Response(false) == nil {
			b.Fatal("no answer")
		}
	}
}
