//go:build !race

package proxyproto_test

import (
	"testing"

	"weir/internal/proxyproto"
)

// Version 1 has its addresses as text, which costs a small string each.
func TestABinaryHeaderIsReadWithoutAnAllocation(t *testing.T) {
	for _, row := range good {
		p, most := []byte(row.header), 0.0
		if p[0] == 'P' {
			most = 2
		}
		n := testing.AllocsPerRun(100, func() {
			if n, err := proxyproto.Len(p[:5]); err != nil || n <= 5 {
				t.Fatal(n, err)
			}
			if _, err := proxyproto.Parse(p); err != nil {
				t.Fatal(err)
			}
		})
		if n > most {
			t.Errorf("%s: %v allocations, want %v at most", row.name, n, most)
		}
	}
}
