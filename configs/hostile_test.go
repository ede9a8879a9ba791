//go:build !race

package configs

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Each of these made a loader slow or deep somewhere. 1 MiB of it has to end in
// a small part of the time a person waits.
func TestHostileFilesEndSoon(t *testing.T) {
	fill := func(s string) string { return strings.Repeat(s, maxFile/len(s)) }
	numbered := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < maxFile-200; i++ {
			fmt.Fprintf(&b, format, i, i>>16&255, i>>8&255, i&255)
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"brackets":      fill("["),
		"dashes":        fill("- "),
		"question":      fill("? "),
		"flow list":     "a: [" + fill("a,")[:maxFile-8] + "]",
		"flow mapping":  "{" + fill("a: b,")[:maxFile-8] + "}",
		"comments":      fill("# c\n"),
		"documents":     fill("---\n"),
		"anchors":       fill("&a "),
		"long key":      strings.Repeat("a", maxFile-8) + ": 1\n",
		"long value":    "log: {level: " + strings.Repeat("a", maxFile-20) + "}\n",
		"unknown keys":  numbered("k%d_%[2]d: 1\n"),
		"set and cut":   "listeners: [{routes: [{set_header: {" + numbered("a%d: b%[2]d, ")[:maxFile/2] + "z: z}, remove_header: [" + numbered("a%d%[2]d, ")[:maxFile/3] + "z]}]}]\n",
		"no such":       "backends: [{name: api}]\nlisteners:\n" + numbered("- {backend: x%d-%[2]d}\n"),
		"users":         "backends:\n- users:\n" + numbered("  - {name: a%d, b%[2]d: c}\n"),
		"addresses":     "listeners:\n" + numbered("- {address: \"127.%[2]d.%d.%d:80\"}\n"),
		"bad addresses": "listeners:\n- address: [" + numbered("127.%[2]d.%d.%d:80x, ") + "]\n",
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			errorsOf(t, text[:min(len(text), maxFile)])
			if took := time.Since(began); took > time.Minute {
				t.Errorf("took %s", took)
			}
		})
	}
}
