package weir_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A test that sleeps is slow on a fast machine and fails on a slow one: time is
// synctest's, and an event of a real socket is waited for.
func TestNoTestSleeps(t *testing.T) {
	for name, f := range goFiles(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, s := range selectors(f) {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && s.Sel.Name == "Sleep" {
				t.Errorf("%s: calls time.Sleep; use testing/synctest, or wait for the event itself", at(name, s))
			}
		}
	}
}

// To receive from time.After, and do nothing else, is to sleep. In a package
// with synctest's bubbles it takes no time; time that is the load itself is
// testnet.Pace.
func TestNoTestSleepsByAnotherName(t *testing.T) {
	bubbles := map[string]bool{}
	for name, f := range goFiles(t) {
		for _, i := range f.Imports {
			if i.Path.Value == `"testing/synctest"` {
				bubbles[filepath.Dir(name)] = true
			}
		}
	}
	for name, f := range goFiles(t) {
		if !strings.HasSuffix(name, "_test.go") || bubbles[filepath.Dir(name)] {
			continue
		}
		cases := map[ast.Stmt]bool{} // of a select, where it is a bound
		ast.Inspect(f, func(n ast.Node) bool {
			if c, ok := n.(*ast.CommClause); ok {
				cases[c.Comm] = true
			}
			s, ok := n.(*ast.ExprStmt)
			if !ok || cases[s] {
				return true
			}
			if c, ok := s.X.(*ast.UnaryExpr); ok && c.Op == token.ARROW {
				if call, ok := c.X.(*ast.CallExpr); ok {
					if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "After" {
						t.Errorf("%s: sleeps; wait for the event itself, or use testnet.Pace where the time is the load", at(name, s))
					}
				}
			}
			return true
		})
	}
}

// What is skipped is not tested, and nobody notices.
func TestNoTestIsSkipped(t *testing.T) {
	skips := []string{"Skip", "Skipf", "SkipNow"}
	for name, f := range goFiles(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, s := range selectors(f) {
			x, ok := s.X.(*ast.Ident)
			if ok && slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) && slices.Contains(skips, s.Sel.Name) {
				t.Errorf("%s: calls %s.%s; fail with what is missing and how to install it", at(name, s), x.Name, s.Sel.Name)
			}
		}
	}
}

// A file of more than 500 lines holds two ideas, or says why it holds one.
const (
	maxLines = 500
	excuse   = "over 500 lines"
)

func TestLongFilesSayWhy(t *testing.T) {
	for name, f := range goFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		lines := fset.Position(f.FileEnd).Line
		if lines > maxLines && !excused(f) {
			t.Errorf("%s has %d lines, the limit is %d: split it, or give the reason in its head comment with the words %q", name, lines, maxLines, excuse)
		}
	}
}

// excused says whether a comment before the first declaration has the reason.
func excused(f *ast.File) bool {
	end := f.FileEnd
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT {
			continue
		}
		end = d.Pos()
		break
	}
	return slices.ContainsFunc(f.Comments, func(c *ast.CommentGroup) bool {
		return c.Pos() < end && strings.Contains(strings.Join(strings.Fields(c.Text()), " "), excuse)
	})
}

// A note to come back later belongs where work is planned, not in the source.
func TestNoLooseEndsAreNotedInTheSource(t *testing.T) {
	for name, f := range goFiles(t) {
		for _, c := range f.Comments {
			for _, word := range []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"} {
				if strings.Contains(c.Text(), word) {
					t.Errorf("%s: a comment says %s", at(name, c), word)
				}
			}
		}
	}
}

// Plain ASCII: what looks like a minus is one, and every terminal shows it.
// Tests may hold other bytes, as data.
func TestSourceIsPlainASCII(t *testing.T) {
	for name := range goFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range bytes.Split(b, []byte("\n")) {
			if j := bytes.IndexFunc(line, func(r rune) bool { return r > '~' || r < ' ' && r != '\t' }); j >= 0 {
				t.Errorf("%s:%d:%d: holds a character that is not plain ASCII", name, i+1, j+1)
				break
			}
		}
	}
}

var fset = token.NewFileSet()

// parsed keeps the files between tests: none of these tests runs in parallel.
var parsed map[string]*ast.File

// goFiles returns every Go file of the module, in every build, by its path.
func goFiles(t *testing.T) map[string]*ast.File {
	t.Helper()
	if parsed != nil {
		return parsed
	}
	files := make(map[string]*ast.File)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != "." && (name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		files[filepath.ToSlash(path)] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("only %d Go files were found: the test does not run at the module's root", len(files))
	}
	parsed = files
	return files
}

func selectors(f *ast.File) (out []*ast.SelectorExpr) {
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			out = append(out, s)
		}
		return true
	})
	return out
}

func at(name string, n ast.Node) string {
	p := fset.Position(n.Pos())
	p.Filename = name
	return p.String()
}
