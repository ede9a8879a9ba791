//go:build !weir_netconn

// The image holds the plain build, so these tests do not run a second time with
// the other build's.

package accept

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"go/version"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"weir/internal/testnet"
)

// imageVersion is given to the build as docker build --build-arg would.
const imageVersion = "1.2.3-image"

// The image is built once, and then looked at and run in many ways.
func TestAcceptTheImage(t *testing.T) {
	source := checkout(t)
	img := dockerBuild(t, source, map[string]string{"VERSION": imageVersion, "TARGETARCH": runtime.GOARCH})

	t.Run("holds what make rootfs makes of any directory, byte for byte", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "rootfs")
		if out, err := makeRootfs(t, source, dir).CombinedOutput(); err != nil {
			t.Fatalf("make rootfs: %v\n%s", err, out)
		}
		got, want := readTree(t, img.root), readTree(t, dir)
		if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
			t.Fatalf("the image has %v, make rootfs made %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
		for name, f := range got {
			if w := want[name]; f.mode != w.mode || !bytes.Equal(f.bytes, w.bytes) {
				t.Errorf("%s: in the image %v, %d bytes; from make rootfs %v, %d bytes, or others", name, f.mode, len(f.bytes), w.mode, len(w.bytes))
			}
		}
	})
	t.Run("holds the binary, a user's name and a place for the configuration", func(t *testing.T) { checkFiles(t, img) })
	t.Run("has a static binary without a trace of where it was made", func(t *testing.T) { checkBinary(t, img) })
	t.Run("is made by a Go that go.mod allows", func(t *testing.T) { checkBase(t, img) })
	t.Run("is run in the README as it can be", func(t *testing.T) { checkReadme(t, img) })

	runImage(t, img)
}

func TestAcceptMakeRootfsRefusesADirectoryThatHoldsSomething(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := makeRootfs(t, "..", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), dir+": is not empty") {
		t.Errorf("make rootfs: %v\n%s", err, out)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("afterwards there is %v, %v", all, err)
	}
	if b, err := os.ReadFile(mine); err != nil || string(b) != "mine" {
		t.Errorf("afterwards it holds %q, %v", b, err)
	}
}

// A build must not depend on what is in the working directory beside the
// source, nor send it anywhere.
func TestAcceptTheBuildContextIsSourceAlone(t *testing.T) {
	ignored := dockerIgnore(t, "../.dockerignore")
	for name, want := range map[string]bool{
		".git": true, "bin": true, ".ci": true, "accept": true, "accept.test": true, "pool/pool.test": true, "cpu.pprof": true,
		"configs/testdata": true, "pool/pool_test.go": true, "README.md": true,
		"go.mod": false, "go.sum": false, "Makefile": false, "LICENSE": false, "cmd": false, "cmd/weir/main.go": false,
		"configs/default.yaml": false, "cmd/weir/default.pgo": false, "internal": false,
	} {
		if got := ignored(name); got != want {
			t.Errorf("%s: left out of the context: %v, want %v", name, got, want)
		}
	}
}

// checkout makes a repository with the source as it is now, so that an edit
// between two builds does not make them differ, and .git in one of them would.
func checkout(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkout")
	if err := copyTree("..", dir, func(rel string) bool { return rel == ".git" || rel == "bin" }); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "-A"},
		{"-c", "user.name=test", "-c", "user.email=test@weir.test", "commit", "-q", "-m", "as it is"},
	} {
		cmd := exec.CommandContext(t.Context(), testnet.NeedProgram(t, "git"), args...)
		// Neither the user's hooks nor a signature.
		cmd.Dir, cmd.Env = dir, append(buildEnv(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

func makeRootfs(t *testing.T, source, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testnet.NeedProgram(t, "make"), "-C", source, "rootfs", "ROOTFS="+dir, "VERSION="+imageVersion)
	cmd.Env = buildEnv()
	return cmd
}

type treeFile struct {
	mode  fs.FileMode
	bytes []byte
}

// readTree returns what is below dir, by its path there.
func readTree(t *testing.T, dir string) map[string]treeFile {
	t.Helper()
	files := map[string]treeFile{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := treeFile{mode: info.Mode()}
		if !d.IsDir() {
			if f.bytes, err = os.ReadFile(name); err != nil {
				return err
			}
		}
		files[strings.TrimPrefix(name, dir)] = f
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func checkFiles(t *testing.T, img *image) {
	files := readTree(t, img.root)
	want := []string{"/etc", "/etc/group", "/etc/passwd", path.Dir(configPath(t, img)), "/weir"}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, want) {
		t.Errorf("it holds %v, want %v", got, want)
	}
	size := 0
	for name, f := range files {
		size += len(f.bytes)
		// As root owns them, this is what keeps the image's user from writing.
		if f.mode&0o022 != 0 || f.mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			t.Errorf("%s has the mode %v", name, f.mode)
		}
		if want := fs.FileMode(0o444); f.mode&want != want || f.mode.IsDir() && f.mode&0o111 != 0o111 {
			t.Errorf("%s has the mode %v, and the image's user must read it", name, f.mode)
		}
	}
	figure(t, "the image: %d files and directories, %.1f MB", len(files), float64(size)/1e6)
	uid, gid, _ := strings.Cut(img.user, ":")
	if !regexp.MustCompile(`^[1-9]\d*$`).MatchString(uid) {
		t.Errorf("USER %s: must be a number that is not root's, or runAsNonRoot cannot tell", img.user)
	}
	if passwd := string(files["/etc/passwd"].bytes); !strings.HasPrefix(passwd, fmt.Sprintf("nobody:x:%s:%s:", uid, gid)) || strings.Count(passwd, "\n") != 1 {
		t.Errorf("USER %s, and passwd is %q", img.user, passwd)
	}
	if group := string(files["/etc/group"].bytes); group != fmt.Sprintf("nogroup:x:%s:\n", gid) {
		t.Errorf("USER %s, and group is %q", img.user, group)
	}
	if len(img.entry) != 1 || img.entry[0] != "/weir" || files["/weir"].mode&0o111 != 0o111 {
		t.Errorf("ENTRYPOINT %q, which has the mode %v", img.entry, files["/weir"].mode)
	}
}

func checkBinary(t *testing.T, img *image) {
	file := filepath.Join(img.root, "weir")
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it has %v: an interpreter or libraries would have to be in the image", p.Type)
		}
	}
	if s := f.Section(".debug_info"); s != nil {
		t.Errorf("it has %d bytes of debug information", s.FileSize)
	}
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	for key, want := range map[string]string{"CGO_ENABLED": "0", "-trimpath": "true", "GOOS": "linux", "GOARCH": runtime.GOARCH, "vcs.revision": ""} {
		if settings[key] != want {
			t.Errorf("%s is %q, want %q", key, settings[key], want)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, trace := range []string{here + "/", os.TempDir() + "/Test"} {
		if bytes.Contains(b, []byte(trace)) {
			t.Errorf("%s is in the binary", trace)
		}
	}
}

func checkBase(t *testing.T, img *image) {
	if len(img.base) != 2 || img.base[1] != "scratch" {
		t.Fatalf("FROM %v, want golang and then scratch", img.base)
	}
	m := regexp.MustCompile(`^golang:(\d+\.\d+\.\d+)-[a-z]+$`).FindStringSubmatch(img.base[0])
	if m == nil {
		t.Fatalf("FROM %s: must name the whole version of Go and the release of Debian, or the image changes by itself", img.base[0])
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	least := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(mod)
	if least == nil {
		t.Fatal("go.mod has no go line")
	}
	if version.Compare("go"+m[1], "go"+string(least[1])) < 0 {
		t.Errorf("FROM %s, and go.mod needs %s", img.base[0], least[1])
	}
}

func checkReadme(t *testing.T, img *image) {
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(img.expose, []string{"8080"}) {
		t.Errorf("EXPOSE %v, and the examples have 8080", img.expose)
	}
	for _, want := range []string{"docker build -t weir .", "docker run ", ":" + path.Dir(configPath(t, img)) + ":ro", "-p 8080:" + img.expose[0]} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the README does not have %q", want)
		}
	}
}

// configPath is where CMD has the configuration.
func configPath(t *testing.T, img *image) string {
	t.Helper()
	if len(img.command) != 3 || img.command[0] != "run" || img.command[1] != "-config" {
		t.Fatalf("CMD %q, want run -config FILE", img.command)
	}
	return img.command[2]
}
