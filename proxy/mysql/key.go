package mysql

import (
	"encoding/binary"
	"strings"

	"weir/proxy/mysql/wire"
)

// target is what makes one backend connection good for a session and another
// not: who it is logged in as, where, and what was agreed on. A connection never
// changes its user: MariaDB's COM_CHANGE_USER leaves the old one's role on.
type target struct {
	user     string
	database string
	caps     wire.Caps // of wire.Key
	charset  uint16    // of the login: a reset goes back to it
}

// append writes t as a pool's key: caps and charset, of fixed length, then the
// names, the user's ended by a NUL, which no name holds.
func (t *target) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t.caps))
	dst = binary.LittleEndian.AppendUint16(dst, t.charset)
	dst = append(dst, t.user...)
	dst = append(dst, 0)
	return append(dst, t.database...)
}

const keyHead = 10

func (t *target) key() string {
	return string(t.append(make([]byte, 0, keyHead+1+len(t.user)+len(t.database))))
}

// parseKey is the inverse of key, for the dialer.
func parseKey(key string) (t target) {
	t.caps = wire.Caps(binary.LittleEndian.Uint64([]byte(key[:8])))
	t.charset = binary.LittleEndian.Uint16([]byte(key[8:keyHead]))
	t.user, t.database, _ = strings.Cut(key[keyHead:], "\x00")
	return t
}

// Group is the user of a pool's key; see pool.Options.
func Group(key string) string { return parseKey(key).user }

// WarmKey is the key of the connections that min_idle opens, before any client
// was seen: those that MariaDB's and MySQL's own client libraries need.
func WarmKey(user, database string) string {
	t := target{user: user, database: database, caps: wire.Key(libraryCaps), charset: wire.CollationUTF8MB4}
	return t.key()
}

const libraryCaps = wire.CapLocalFiles | wire.CapMultiStatements | wire.CapMultiResults | wire.CapPSMultiResults
