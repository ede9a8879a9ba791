package lex

import "bytes"

// lists folds what stands in parentheses: a list of values, and a row that is
// equal to the one before it.
type lists struct {
	depth  int
	groups [maxGroups]group
}

// maxGroups is how deep parentheses are followed; deeper ones stay as they are.
const maxGroups = 16

// group is a pair of parentheses. Places are offsets in what was written.
type group struct {
	start    int  // of the open one
	row, end int  // of the closed one before it, at the same depth
	values   int  // how many it holds
	fold     bool // it may be a list: no function's arguments, nothing but values
	short    bool // one value is a list too, behind IN
}

func (l *lists) open(start int, fold, short bool) {
	l.notList()
	l.depth++
	if g := l.inner(); g != nil {
		g.start, g.values, g.fold, g.short = start, 0, fold, short
	}
	if l.depth < maxGroups {
		l.groups[l.depth] = group{} // rows are those of one pair of parentheses
	}
}

// inner is the innermost open group, or nil.
func (l *lists) inner() *group {
	if l.depth < 1 || l.depth > maxGroups {
		return nil
	}
	return &l.groups[l.depth-1]
}

// value counts a value of the innermost group.
func (l *lists) value() {
	if g := l.inner(); g != nil {
		g.values++
	}
}

// notList says that something else than values is in the innermost group.
func (l *lists) notList() {
	if g := l.inner(); g != nil {
		g.fold = false
	}
}

const folded = "(?+)"

// close ends the innermost group, whose closing parenthesis is the last byte of
// out, and returns what is left of out.
func (l *lists) close(out []byte) []byte {
	if l.depth == 0 {
		return out
	}
	g := l.inner()
	l.depth--
	if g == nil {
		return out
	}
	if g.fold && (g.values > 1 || g.values == 1 && g.short) {
		out = append(out[:g.start], folded...)
	}
	if next := ", "; g.end > g.row && g.start == g.end+len(next) &&
		string(out[g.end:g.start]) == next && bytes.Equal(out[g.row:g.end], out[g.start:]) {
		return out[:g.end]
	}
	g.row, g.end = g.start, len(out)
	return out
}
