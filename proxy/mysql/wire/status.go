package wire

// Status is the server's state after a statement, in OK and EOF.
type Status uint16

const (
	StatusInTrans            Status = 1 << 0
	StatusAutocommit         Status = 1 << 1
	StatusMoreResults        Status = 1 << 3
	StatusNoGoodIndex        Status = 1 << 4
	StatusNoIndex            Status = 1 << 5
	StatusCursorExists       Status = 1 << 6
	StatusLastRowSent        Status = 1 << 7
	StatusDBDropped          Status = 1 << 8
	StatusNoBackslashEscapes Status = 1 << 9 // in strings a backslash is one
	StatusMetadataChanged    Status = 1 << 10
	StatusSlow               Status = 1 << 11
	StatusPSOutParams        Status = 1 << 12
	StatusInTransReadOnly    Status = 1 << 13
	StatusSessionChanged     Status = 1 << 14 // session-track data follows
	StatusANSIQuotes         Status = 1 << 15 // MariaDB: double quotes enclose names
)

// Has says whether all bits of want are in s.
func (s Status) Has(want Status) bool { return s&want == want }

// inResult are the bits that say something of one result, not of the session.
const inResult = StatusMoreResults | StatusNoGoodIndex | StatusNoIndex | StatusCursorExists | StatusLastRowSent |
	StatusDBDropped | StatusMetadataChanged | StatusSlow | StatusPSOutParams | StatusSessionChanged

// Session returns s without the bits that belong to one result: what is true
// between commands.
func (s Status) Session() Status { return s &^ inResult }
