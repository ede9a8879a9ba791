package accept

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/testnet"
)

// The configuration that the README shows is taken as it stands, and serves.
func TestAcceptTheConfigurationInTheReadmeWorks(t *testing.T) {
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), "```yaml\n")
	yaml, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("the README shows no configuration")
	}
	if n := strings.Count(yaml, "\n"); n > 10 {
		t.Errorf("it has %d lines, ten were promised", n)
	}
	file := filepath.Join(t.TempDir(), "readme.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(binary, "check", "-config", file).CombinedOutput(); err != nil || strings.Contains(string(out), "backends[") {
		t.Errorf("weir check: %v\n%s", err, out)
	}

	backend := testnet.NewBackend(t, testnet.Good)
	here := strings.NewReplacer("127.0.0.1:8080", "127.0.0.1:0", "127.0.0.1:9001", backend.Addr().String())
	w := start(t, here.Replace(yaml))
	if code, body := get(t, w.url("/")); code != 200 || body != testnet.Body {
		t.Errorf("got %d %q", code, body)
	}
	if lines := strings.Count(string(b), "\n"); lines > 200 {
		t.Errorf("the README has %d lines, 200 are enough", lines)
	}
}
