package admin

import (
	"encoding/base64"
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
)

func TestTheTokenIsTakenFromBearerAndFromBasicsPassword(t *testing.T) {
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for field, want := range map[string]string{
		"Bearer abc": "abc", "bearer  abc": "abc", "BEARER a=b:c": "a=b:c",
		basic("any name:abc"): "abc", basic(":abc"): "abc", basic("u:a:b"): "a:b",
		"": "", "abc": "", "Bearer": "", "Bearer ": "", "Basic": "", "Basic abc": "", "Basic !": "", basic("abc"): "", "Digest abc": "",
	} {
		if got, ok := shown(field); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", field, got, ok, want)
		}
	}
	if _, ok := shown(basic("u:")); ok && NewToken("").is("") {
		t.Error("an empty password is let in where there is no token")
	}
}

func TestOnlyTheTokenItselfIsTheToken(t *testing.T) {
	right := NewToken("0123456789abcdef")
	for _, wrong := range []string{"", "0", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef ", "0123456789abcdef0", "1123456789abcdef"} {
		if right.is(wrong) {
			t.Errorf("%q was taken", wrong)
		}
	}
	if !right.is("0123456789abcdef") {
		t.Error("the token was not taken")
	}
	if NewToken("").is("") || (Token{}).is("") {
		t.Error("no token is a token")
	}
}

// What a clock can tell on a busy machine is noise, so this looks at the source:
// what is sent meets the token only hashed, and in package subtle.
func TestTokensAreComparedInConstantTime(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "token.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Name.Name != "is" {
			continue
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.SelectorExpr:
				found = found || x.Sel.Name == "ConstantTimeCompare"
			case *ast.BinaryExpr:
				if lit, ok := x.Y.(*ast.BasicLit); (x.Op == token.EQL || x.Op == token.NEQ) && (!ok || lit.Value != "1") {
					t.Error("is compares with == or !=")
				}
			case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt, *ast.SwitchStmt:
				t.Error("what is does depends on what was sent")
			}
			return true
		})
	}
	if !found {
		t.Error("is does not use subtle.ConstantTimeCompare")
	}
}
