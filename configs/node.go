package configs

// kind is the shape of a node.
type kind uint8

const (
	scalarKind kind = iota
	listKind
	mappingKind
	nullKind
)

func (k kind) String() string {
	return [...]string{"a single value", "a list", "a mapping of keys", "nothing"}[k]
}

// node is one value of the file with its place. It is what load.go makes of
// the YAML library's tree, with aliases resolved, so that no other file knows
// the library.
type node struct {
	kind   kind
	text   string  // of a scalar, as written, quotes resolved
	quoted bool    // in quotes or a block: never a number or a truth value
	line   int     // from 1
	col    int     // from 1, in characters
	keys   []*node // of a mapping, in the order of the file
	items  []*node // of a list, or the values to keys
}

// mark is a place in the file.
type mark struct{ line, col int }

func (n *node) mark() mark { return mark{n.line, n.col} }
