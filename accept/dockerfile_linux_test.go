//go:build !weir_netconn

package accept

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// image is what a Dockerfile makes: a tree of files and how to run it.
type image struct {
	root    string // the directory that is / in it
	base    []string
	user    string
	expose  []string
	entry   []string
	command []string
}

// stage is a FROM and what follows it.
type stage struct {
	image
	name    string
	workdir string
	args    map[string]string
}

// dockerBuild does what docker build does with the Dockerfile and the context in
// dir, but for the base image: RUN runs here, in the directory that stands for
// the stage's. It knows the instructions that weir's Dockerfile has and fails on
// any other, so that nothing is passed over. args are the build arguments.
func dockerBuild(t *testing.T, dir string, args map[string]string) *image {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	ignored := dockerIgnore(t, filepath.Join(dir, ".dockerignore"))
	var stages []*stage
	var bases []string
	for _, line := range instructions(string(text)) {
		word, rest, _ := strings.Cut(line, " ")
		flags, rest := cutFlags(strings.TrimSpace(rest))
		if word == "FROM" {
			f := strings.Fields(rest)
			s := &stage{workdir: "/", args: map[string]string{}}
			s.root = filepath.Join(scratch, fmt.Sprint(len(stages)))
			if err := os.Mkdir(s.root, 0o755); err != nil {
				t.Fatal(err)
			}
			if len(f) == 3 && f[1] == "AS" {
				s.name = f[2]
			} else if len(f) != 1 {
				t.Fatalf("%s: not a FROM that the test knows", line)
			}
			stages, bases = append(stages, s), append(bases, f[0])
			continue
		}
		if len(stages) == 0 {
			t.Fatalf("%s: before the first FROM", line)
		}
		s := stages[len(stages)-1]
		if err := s.do(word, flags, rest, dir, ignored, stages, args); err != nil {
			t.Fatalf("Dockerfile: %s: %v", line, err)
		}
	}
	last := &stages[len(stages)-1].image
	last.base = bases
	return last
}

// instructions joins continued lines and leaves comments out.
func instructions(text string) (out []string) {
	whole := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		head, continued := strings.CutSuffix(line, `\`)
		if whole += head; !continued {
			out = append(out, whole)
			whole = ""
		}
	}
	return out
}

func cutFlags(s string) (flags []string, rest string) {
	for strings.HasPrefix(s, "--") {
		f, after, _ := strings.Cut(s, " ")
		flags, s = append(flags, f), strings.TrimSpace(after)
	}
	return flags, s
}

func (s *stage) do(word string, flags []string, rest, dir string, ignored func(string) bool, stages []*stage, given map[string]string) error {
	for _, f := range flags {
		if !(word == "RUN" && strings.HasPrefix(f, "--mount=type=cache,")) && !(word == "COPY" && strings.HasPrefix(f, "--from=")) {
			return fmt.Errorf("the test does not know the flag %s", f)
		}
	}
	switch word {
	case "ARG":
		name, value, _ := strings.Cut(rest, "=")
		if v, ok := given[name]; ok {
			value = v
		}
		s.args[name] = value
		return nil
	case "WORKDIR":
		s.workdir = path.Join(s.workdir, rest)
		return os.MkdirAll(s.root+s.workdir, 0o755)
	case "COPY":
		f := strings.Fields(rest)
		if len(f) != 2 {
			return errors.New("the test knows COPY with one source only")
		}
		to := f[1]
		if !path.IsAbs(to) {
			to = path.Join(s.workdir, to)
		}
		if len(flags) == 0 {
			return copyTree(filepath.Join(dir, f[0]), s.root+to, ignored)
		}
		for _, other := range stages[:len(stages)-1] {
			if "--from="+other.name == flags[0] {
				return copyTree(other.root+path.Join("/", f[0]), s.root+to, nil)
			}
		}
		return errors.New("there is no such stage")
	case "RUN":
		return s.run(rest)
	case "USER":
		s.user = rest
		return nil
	case "EXPOSE":
		s.expose = append(s.expose, rest)
		return nil
	case "ENTRYPOINT":
		return json.Unmarshal([]byte(rest), &s.entry)
	case "CMD":
		return json.Unmarshal([]byte(rest), &s.command)
	}
	return errors.New("the test does not know this instruction")
}

// run runs a command as the stage would, with the caches of this machine.
func (s *stage) run(command string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir = s.root + s.workdir
	cmd.Env = buildEnv()
	for _, name := range slices.Sorted(maps.Keys(s.args)) {
		cmd.Env = append(cmd.Env, name+"="+s.args[name])
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// buildEnv is the environment without what a make, a go or a git above the test
// would hand down: a hook's GIT_DIR is another repository than the one meant.
func buildEnv() []string {
	down := []string{"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "GOFLAGS", "GOOS", "GOARCH", "VERSION", "ROOTFS"}
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains(down, name) || strings.HasPrefix(name, "GIT_")
	})
	// Go's own default. An empty value would let go env -w speak.
	return append(env, "GOFLAGS=-buildvcs=auto")
}

// dockerIgnore returns what a .dockerignore keeps out of the build's context: a
// path matches or is below one that does; **/ stands for every directory.
func dockerIgnore(t *testing.T, file string) func(string) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	for line := range bytes.Lines(b) {
		p := strings.TrimSpace(string(line))
		if p == "" || strings.HasPrefix(p, "#") {
			continue
		}
		name := strings.TrimPrefix(p, "**/")
		if _, err := path.Match(name, ""); err != nil || strings.Contains(name, "**") || strings.Contains(name, "!") || strings.HasPrefix(p, "**/") && strings.Contains(name, "/") {
			t.Fatalf(".dockerignore: %s: the test does not know this pattern", p)
		}
		patterns = append(patterns, p)
	}
	return func(rel string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			name, anywhere := strings.CutPrefix(p, "**/")
			what := rel
			if anywhere {
				what = path.Base(rel)
			}
			ok, _ := path.Match(name, what)
			return ok
		})
	}
}

// copyTree copies what is in the directory from into the directory to, with its
// modes. What skip says true to, by its path below from, is left out with all
// that is below it.
func copyTree(from, to string, skip func(rel string) bool) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if name != from && errors.Is(err, fs.ErrNotExist) {
			return nil // an editor or another test had it for a moment
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if rel != "." && skip != nil && skip(rel) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			if err := os.MkdirAll(target, 0o755); err != nil {
				return err
			}
		case d.Type().IsRegular():
			b, err := os.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := os.WriteFile(target, b, 0o644); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is neither a file nor a directory", name)
		}
		return os.Chmod(target, info.Mode().Perm())
	})
}
