package configs

import (
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong with a configuration.
type Error struct {
	File string
	Line int // from 1; 0 where the file could not be read at all
	Col  int // from 1
	Path string
	Text string
}

func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Col)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Text)
	return b.String()
}

// Warning is one thing of a configuration that works but is likely not what
// was meant.
type Warning Error

func (w Warning) String() string { return Error(w).Error() }

// Errors is everything that is wrong with a configuration, in the order of the
// file. Its text has one line for each.
type Errors struct {
	List []Error
	More int // beyond the first maxErrors, counted and not kept
}

// maxErrors bounds the list, so that a file that is not a configuration at all
// does not fill the terminal.
const maxErrors = 100

func (e *Errors) Error() string {
	lines := make([]string, 0, len(e.List)+1)
	for _, one := range e.List {
		lines = append(lines, one.Error())
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("%s: and %d more errors", e.List[0].File, e.More))
	}
	return strings.Join(lines, "\n")
}

// full says whether further errors are only counted.
func (e *Errors) full() bool { return len(e.List) >= maxErrors }

func (e *Errors) sort() { slices.SortStableFunc(e.List, before) }

func before(a, b Error) int {
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	return a.Col - b.Col
}
