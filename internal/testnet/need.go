package testnet

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// debianPackage says what to install for a program.
var debianPackage = map[string]string{
	"nginx": "nginx-light", "haproxy": "haproxy", "mariadbd": "mariadb-server", "mariadb": "mariadb-client",
	"ss": "iproute2", "ip": "iproute2", "nsenter": "util-linux", "curl": "curl", "ab": "apache2-utils", "tc": "iproute2", "promtool": "prometheus",
}

// NeedProgram returns the path of a program. Where it is missing the test fails
// and says what to install: a test that is skipped proves nothing.
func NeedProgram(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} { // not in every user's PATH
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	pkg := debianPackage[name]
	if pkg == "" {
		pkg = name
	}
	t.Fatalf("this test runs %s, which is not installed: apt-get install %s", name, pkg)
	return ""
}
