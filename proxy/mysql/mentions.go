package mysql

// spoils says whether a statement may be of a kind that a reset does not undo
// and no other command does: XA, of which MariaDB 10.11 mistakes what a reset
// finds prepared, and profiling, whose texts stay.
func spoils(sql []byte) bool { return mentions(sql, "XA ") || mentions(sql, "PROFIL") }

// mentions says whether a word that begins as start does, in whatever case, is in
// sql. A blank in start is any byte that ends a word.
func mentions(sql []byte, start string) bool {
	for i := 0; i+len(start) <= len(sql); i++ {
		if i > 0 && inWord(sql[i-1]) {
			continue
		}
		n := 0
		for n < len(start) && (sql[i+n]&^0x20 == start[n] || start[n] == ' ' && !inWord(sql[i+n])) {
			n++
		}
		if n == len(start) {
			return true
		}
	}
	return false
}

func inWord(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80
}

// straddled looks for words in pieces of a statement, also for those that begin
// in one piece and end in the next.
type straddled struct {
	seam [2 * longestWord]byte
	n    int // seam[:n] is the end of the last piece
}

// longestWord is more than any of those looked for, and a byte before it.
const longestWord = 8

func (x *straddled) spoil(piece []byte) bool {
	m := x.n + copy(x.seam[x.n:], piece[:min(longestWord, len(piece))])
	found := spoils(piece) || spoils(x.seam[:m])
	if len(piece) >= longestWord {
		x.n = copy(x.seam[:], piece[len(piece)-longestWord:])
	} else {
		x.n = copy(x.seam[:], x.seam[max(0, m-longestWord):m])
	}
	return found
}
