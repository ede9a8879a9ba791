package audit

import (
	"os"
	"strings"
	"testing"
)

func TestEveryCheckAndEveryPieceOfAdviceIsExplained(t *testing.T) {
	b, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	_, section, _ := strings.Cut(text, "\n## Checks\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, c := range checks {
		if !strings.Contains(section, "\n| `"+c.name+"` |") {
			t.Errorf("docs/doctor.md has no row for %s", c.name)
		}
	}
	if n := strings.Count(section, "\n| `"); n != len(checks) {
		t.Errorf("docs/doctor.md has %d rows of checks, there are %d", n, len(checks))
	}
	_, advice, _ := strings.Cut(text, "## Advice that goes around")
	for _, s := range sayings {
		if !strings.Contains(advice, "`"+s.key+"`") {
			t.Errorf("docs/doctor.md has no answer to %s", s.key)
		}
	}
}
