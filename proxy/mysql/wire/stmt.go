package wire

import "encoding/binary"

const (
	// StmtHeaderLen is how much of a statement command's payload StmtID and
	// PutStmtID need: the command and the id.
	StmtHeaderLen = 5
	// LastStmt is an id of MariaDB's: the statement that was prepared last on
	// this connection. It has the same meaning for every backend, so it passes.
	LastStmt uint32 = 1<<32 - 1
)

// HasStmtID says whether the command names a prepared statement.
func (c Command) HasStmtID() bool {
	switch c {
	case ComStmtExecute, ComStmtBulkExecute, ComStmtFetch, ComStmtClose, ComStmtReset, ComStmtSendLongData:
		return true
	}
	return false
}

// StmtID reads the statement's id out of the start of a command. ok is false if
// the command names none, or if fewer than StmtHeaderLen bytes are there.
func StmtID(payload []byte) (id uint32, ok bool) {
	if len(payload) < StmtHeaderLen || !Command(payload[0]).HasStmtID() {
		return 0, false
	}
	return binary.LittleEndian.Uint32(payload[1:]), true
}

// PutStmtID writes the statement's id into the start of a command in place. ok
// is as for StmtID; without it nothing is written.
func PutStmtID(payload []byte, id uint32) (ok bool) {
	if _, ok := StmtID(payload); !ok {
		return false
	}
	binary.LittleEndian.PutUint32(payload[1:], id)
	return true
}

// PutPreparedID writes the statement's id into a PREPARE-OK in place: the
// payload of the packet that EventPrepared points to. ok is false, and nothing
// written, if it is none.
func PutPreparedID(payload []byte, id uint32) (ok bool) {
	if len(payload) < StmtHeaderLen || payload[0] != byteOK {
		return false
	}
	binary.LittleEndian.PutUint32(payload[1:], id)
	return true
}

// WantsCursor says whether a COM_STMT_EXECUTE asks for a cursor: then rows may
// wait in the server until COM_STMT_FETCH, and the connection belongs to its
// client until they are fetched or the statement is reset. ok is false if
// fewer than StmtHeaderLen+1 bytes are there.
func WantsCursor(payload []byte) (cursor, ok bool) {
	if len(payload) <= StmtHeaderLen || Command(payload[0]) != ComStmtExecute {
		return false, false
	}
	return payload[StmtHeaderLen] != 0, true
}
