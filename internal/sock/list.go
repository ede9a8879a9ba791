package sock

// node is a connection's place in a list; a connection is in one list at a
// time, so it needs only one.
type node struct {
	prev, next *node
	conn       Conn
}

// list is a doubly linked list threaded through its members. Its owner locks.
type list struct {
	root node
	n    int
}

func (l *list) lazy() {
	if l.root.next == nil {
		l.root.next, l.root.prev = &l.root, &l.root
	}
}

func (l *list) push(n *node) {
	l.lazy()
	n.prev, n.next = l.root.prev, &l.root
	n.prev.next, l.root.prev = n, n
	l.n++
}

func (l *list) remove(n *node) {
	n.prev.next, n.next.prev = n.next, n.prev
	n.prev, n.next = nil, nil
	l.n--
}

func (l *list) front() *node {
	if l.n == 0 {
		return nil
	}
	return l.root.next
}
