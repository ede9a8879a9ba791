package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAPageOfTheKernelsIsWarnedOf(t *testing.T) {
	link := filepath.Join(t.TempDir(), "page.html")
	if err := os.Symlink("/proc/version", link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/proc/version": "is under /proc,", "/proc/self/../version": "is under /proc,", link: "is under /proc,", writeFile(t, "<h1>Sorry</h1>"): "",
	} {
		_, warns, err := Parse("weir.yaml", []byte(withPage(path, "")))
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, w := range warns {
			got.WriteString(w.String())
		}
		if !strings.Contains(got.String(), want) || want == "" && strings.Contains(got.String(), "overload") {
			t.Errorf("%s: %q, want %q", path, got.String(), want)
		}
	}
	for path, want := range map[string]string{"/dev/shm/page.html": "/dev", "/sys/x": "/sys", "/process/page.html": "", "/srv/dev/page.html": ""} {
		if got := volatileDir(path); got != want {
			t.Errorf("%s is under %q, want %q", path, got, want)
		}
	}
}
