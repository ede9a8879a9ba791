//go:build !race

package lex

import "testing"

// The race detector allocates on its own, so this holds without it.
func TestNothingIsAllocatedPerStatement(t *testing.T) {
	dst := make([]byte, 0, 1<<12)
	for _, s := range seeds {
		sql := []byte(s)
		for name, f := range map[string]func(){
			"Scan":         func() { Scan(sql, true) },
			"Kill":         func() { Kill(sql) },
			"ConnectionID": func() { ConnectionID(sql) },
			"Digest":       func() { dst = Digest(dst[:0], sql, 1000) },
			"DigestHash":   func() { DigestHash(dst) },
		} {
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("%s of %q: %v allocations", name, s, n)
			}
		}
	}
}
