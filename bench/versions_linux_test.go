//go:build bench

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"weir/internal/testnet"
)

// years is when a branch first came out, for those that distributions carry:
// a comparison with an old release should say so.
var years = map[string]int{
	"nginx 1.18": 2020, "nginx 1.20": 2021, "nginx 1.22": 2022, "nginx 1.24": 2023, "nginx 1.26": 2024, "nginx 1.28": 2025,
	"HAProxy 2.2": 2020, "HAProxy 2.4": 2021, "HAProxy 2.6": 2022, "HAProxy 2.8": 2023, "HAProxy 3.0": 2024, "HAProxy 3.2": 2025,
}

var reVersion = regexp.MustCompile(`(\d+\.\d+)(?:\.\d+)*`)

// label is what a kind is called in a table.
func label(t *testing.T, k kind) string {
	t.Helper()
	switch k.name {
	case "nginx", "HAProxy":
		out, err := exec.Command(testnet.NeedProgram(t, strings.ToLower(k.name)), "-v").CombinedOutput()
		if err != nil {
			t.Fatalf("%s -v: %v", k.name, err)
		}
		return dated(k.name, string(out))
	}
	return k.name
}

// dated is a name with the version that is the first in text, and its year.
func dated(name, text string) string {
	m := reVersion.FindStringSubmatch(text)
	if m == nil {
		return name
	}
	if y := years[name+" "+m[1]]; y != 0 {
		return fmt.Sprintf("%s %s (%d)", name, m[0], y)
	}
	return name + " " + m[0]
}

// machine says what the figures were measured on.
func machine(t *testing.T) string {
	t.Helper()
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, "version").Output() // weir REVISION GO OS/ARCH
	if err != nil {
		t.Fatalf("weir version: %v", err)
	}
	release, _, _ := strings.Cut(strings.TrimSpace(string(kernel)), "-")
	return fmt.Sprintf("%s, Linux %s, %d cores.", strings.TrimSpace(string(out)), release, runtime.NumCPU())
}

func TestVersionsOfKnownBranchesHaveTheirYear(t *testing.T) {
	for _, c := range [][3]string{
		{"nginx", "nginx version: nginx/1.22.1\n", "nginx 1.22.1 (2022)"},
		{"HAProxy", "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n", "HAProxy 2.6.12 (2022)"},
		{"HAProxy", "HAProxy version 2.60.1 2026/10/17\n", "HAProxy 2.60.1"},
		{"nginx", "nothing", "nginx"},
	} {
		if got := dated(c[0], c[1]); got != c[2] {
			t.Errorf("%q is called %q, want %q", c[1], got, c[2])
		}
	}
}
