// Package weir_test holds the rules that no single package can hold: who may
// import whom, and what no file may contain.
package weir_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows says which of our packages each one may import, in any build. A package
// that is not here fails the test: a new one gets its line first. Data goes one
// way, listener -> front -> limiter -> pool -> backend, and so do imports.
var arrows = map[string][]string{
	// Leaves import nothing of ours.
	"internal/accesslog":  {},
	"internal/hist":       {},
	"internal/oplog":      {},
	"internal/pressure":   {},
	"internal/procs":      {},
	"internal/proxyproto": {},
	"internal/reason":     {},
	"internal/sock":       {},
	"proxy/fault":         {},
	"proxy/mysql/lex":     {},
	"proxy/mysql/wire":    {},
	"tcpstat":             {},
	"tcpstat/audit":       {"tcpstat"},
	"configs":             {},

	"limiter": {"internal/hist"}, // knows no pool
	"pool":    {"limiter", "internal/hist", "internal/reason", "internal/sock"},

	"proxy/fault/nolease":   {"pool", "proxy/fault"},
	"proxy/fault/overlimit": {"limiter", "internal/sock", "proxy/fault"},
	"proxy/proxied":         {"internal/proxyproto", "internal/sock", "proxy/fault"},

	"proxy/http1": front,
	"proxy/mysql": append([]string{"proxy/mysql/lex", "proxy/mysql/wire"}, front...),
	"proxy/tcp":   front,
	// The server knows fronts by an interface, so none of them is here.
	"proxy": {"internal/hist", "internal/reason", "internal/sock", "proxy/fault"},

	// Stats come as values; what they are made of, admin does not know.
	"admin": {"internal/hist"},

	"internal/testnet": {"internal/sock", "proxy/mysql/wire"},
	"internal/storm":   {"internal/hist", "internal/sock", "proxy/mysql/wire", "tcpstat"},
	"internal/demo":    {"*"}, // it is a small weir run, wired like cmd
	"cmd/weir":         {"*"},
	"bench":            {}, // its tests start the built weir
}

// front is what a front stands on.
var front = []string{"limiter", "pool", "proxy/fault", "proxy/fault/nolease", "proxy/fault/overlimit", "proxy/proxied", "internal/accesslog", "internal/hist", "internal/reason", "internal/sock"}

// libraries says who may import a library; all others must be the standard one's.
// An entry holds for all packages under the path.
var libraries = map[string][]string{
	"github.com/prometheus":           {"admin"},
	"go.yaml.in/yaml":                 {"configs"},
	"github.com/jackc/puddle":         {"pool"},
	"go.uber.org/ratelimit":           {"limiter"},
	"github.com/sony/gobreaker":       {"limiter"},
	"github.com/valyala/fasthttp":     {"admin", "proxy/http1", "internal/demo", "internal/storm"},
	"golang.org/x/sys":                {"internal/pressure", "internal/sock", "internal/testnet", "tcpstat", "cmd/weir"},
	"filippo.io/edwards25519":         {"proxy/mysql/wire"},
	"github.com/google/go-cmp":        {},                                                      // tests only
	"github.com/go-sql-driver/mysql":  {"internal/demo", "internal/storm", "internal/testnet"}, // clients, never the front
	"github.com/rogpeppe/go-internal": {},
}

// wired are the packages that put the others together; only they may reach a
// confined library through what they import.
var wired = []string{"cmd/weir", "internal/demo"}

// pkg is the part of go list's output that is looked at.
type pkg struct {
	ImportPath   string
	Standard     bool
	Module       *struct{ Main bool }
	GoFiles      []string
	Dir          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

func (p *pkg) ours() bool { return p.Module != nil && p.Module.Main }

// short is the package's path inside the module.
func short(path string) string { return strings.TrimPrefix(path, "weir/") }

// builds are the ways the packages are built: files that one leaves out have
// imports too.
var builds = []struct {
	name string
	env  []string
	args []string
}{
	{"linux", []string{"GOOS=linux"}, nil},
	{"darwin", []string{"GOOS=darwin"}, nil},
	{"weir_netconn", nil, []string{"-tags", "weir_netconn"}},
}

func TestImportsFollowTheArrows(t *testing.T) {
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			for _, p := range list(t, b.env, b.args) {
				if p.ours() {
					checkArrows(t, p)
					checkLibraries(t, p)
				}
			}
		})
	}
}

func checkArrows(t *testing.T, p *pkg) {
	name := short(p.ImportPath)
	for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
		if strings.HasPrefix(i, "weir/cmd") {
			t.Errorf("%s imports %s: nobody imports cmd", name, i)
		}
	}
	if len(p.GoFiles) == 0 {
		return // tests only
	}
	allowed, known := arrows[name]
	if !known {
		t.Errorf("%s is a new package: add the line in deps_test.go that says what it may import", name)
		return
	}
	for _, i := range p.Imports {
		if !strings.HasPrefix(i, "weir/") || slices.Contains(allowed, "*") || slices.Contains(allowed, short(i)) {
			continue
		}
		t.Errorf("%s imports %s; it may import %v", name, short(i), allowed)
	}
}

func checkLibraries(t *testing.T, p *pkg) {
	name := short(p.ImportPath)
	for _, i := range p.Imports {
		first, _, _ := strings.Cut(i, "/")
		if !strings.Contains(first, ".") {
			continue // ours, or the standard library's
		}
		if lib := library(i); lib == "" {
			t.Errorf("%s imports %s, which is not among the libraries agreed on", name, i)
		} else if !slices.Contains(libraries[lib], name) {
			t.Errorf("%s imports %s; only %v may", name, i, libraries[lib])
		}
	}
	// A confined library must not come in through a third package either.
	for _, lib := range []string{"github.com/prometheus", "go.yaml.in/yaml"} {
		if slices.Contains(libraries[lib], name) || slices.Contains(wired, name) {
			continue
		}
		if i := slices.IndexFunc(p.Deps, func(d string) bool { return under(d, lib) }); i >= 0 {
			t.Errorf("%s depends on %s through something it imports", name, p.Deps[i])
		}
	}
}

// library returns the entry of libraries that path is under, or "".
func library(path string) string {
	for lib := range libraries {
		if under(path, lib) {
			return lib
		}
	}
	return ""
}

func under(path, lib string) bool { return path == lib || strings.HasPrefix(path, lib+"/") }

// The configuration's library is young, so its types stay inside one file.
func TestYAMLIsImportedByOneFile(t *testing.T) {
	for name, f := range goFiles(t) {
		for _, i := range f.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			if under(path, "go.yaml.in/yaml") && name != "configs/load.go" && !strings.HasSuffix(name, "_test.go") {
				t.Errorf("%s imports %s: only configs/load.go may", name, path)
			}
		}
	}
}

func list(t *testing.T, env, args []string) []*pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"list", "-deps", "-json"}, args...), "./...")...)
	// Without cgo the standard library's list is the same on all machines.
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var pkgs []*pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(pkg)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		pkgs = append(pkgs, p)
	}
	if !slices.ContainsFunc(pkgs, (*pkg).ours) {
		t.Fatal("go list found none of our packages")
	}
	slices.SortFunc(pkgs, func(a, b *pkg) int { return cmp.Compare(a.ImportPath, b.ImportPath) })
	return pkgs
}
