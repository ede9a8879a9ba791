package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const separator = "----------\n"

// TestMessages reads each file of testdata: a configuration, a line of dashes,
// and the messages expected for it. -update writes what it got.
func TestMessages(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files in testdata", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			input, want, found := strings.Cut(string(data), separator)
			if !found && !*update {
				t.Fatal("no line of dashes between the configuration and its messages")
			}
			got := messages([]byte(input))
			if *update {
				if err := os.WriteFile(name, []byte(input+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

func messages(input []byte) string {
	c, warns, err := Parse("weir.yaml", input)
	var b strings.Builder
	for _, w := range warns {
		b.WriteString("warning: " + w.String() + "\n")
	}
	if es, ok := errors.AsType[*Errors](err); ok {
		b.WriteString(es.Error() + "\n")
	}
	if c != nil {
		b.WriteString("loads\n")
	}
	return b.String()
}
