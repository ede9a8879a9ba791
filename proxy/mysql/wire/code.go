package wire

// Code is an error's number. The protocol's own and those that weir gives are
// named here; a server has thousands more.
type Code = uint16

const (
	CodeTooManyConnections  Code = 1040
	CodeHandshake           Code = 1043
	CodeAccessDenied        Code = 1045
	CodeNoDatabase          Code = 1046
	CodeUnknownCommand      Code = 1047
	CodeUnknownDatabase     Code = 1049
	CodeShutdown            Code = 1053
	CodeUnknownThread       Code = 1094
	CodeKillDenied          Code = 1095
	CodeWrongDatabaseName   Code = 1102
	CodeUnknownError        Code = 1105
	CodeHostBlocked         Code = 1129
	CodeHostNotAllowed      Code = 1130
	CodePacketTooLarge      Code = 1153
	CodeReadError           Code = 1158
	CodeReadInterrupted     Code = 1159 // ER_NET_READ_INTERRUPTED: a timeout
	CodeWriteError          Code = 1160
	CodeWriteInterrupted    Code = 1161
	CodeLockWaitTimeout     Code = 1205
	CodeDeadlock            Code = 1213
	CodeUserLimit           Code = 1226
	CodeNotSupportedYet     Code = 1235
	CodeUnsupportedAuth     Code = 1251
	CodeUnknownStatement    Code = 1243
	CodeOptionPreventsStmt  Code = 1290
	CodeQueryInterrupted    Code = 1317
	CodeTooManyPrepared     Code = 1461
	CodeReadOnlyTransaction Code = 1792
	CodeMalformedPacket     Code = 1835
	CodeReadOnlyMode        Code = 1836
	CodeConnectionKilled    Code = 1927
	CodeStatementTimeout    Code = 1969
	CodeQueryTimeout        Code = 3024
	CodeSecureTransport     Code = 3159
	CodeClientTimeout       Code = 4031 // MySQL: said unasked before the close
)

// codeProgress marks a progress report of MariaDB, which looks like an ERR.
const codeProgress Code = 0xffff

// SQLSTATEs that stand more than once below.
const (
	unknownState         = "HY000"
	commError            = "08S01"
	accessRule           = "42000"
	invalidAuthorization = "28000"
)

// State returns the SQLSTATE that goes with a code, five characters; HY000 for
// a code that is not named here.
func State(c Code) string {
	state, _ := describe(c)
	return state
}

// Text returns what a server says with a code, without details; for a code that
// is not named here it is empty.
func Text(c Code) string {
	_, text := describe(c)
	return text
}

func describe(c Code) (state, text string) {
	switch c {
	case CodeTooManyConnections:
		return "08004", "Too many connections"
	case CodeHandshake:
		return commError, "Bad handshake"
	case CodeAccessDenied:
		return invalidAuthorization, "Access denied"
	case CodeNoDatabase:
		return "3D000", "No database selected"
	case CodeUnknownCommand:
		return commError, "Unknown command"
	case CodeUnknownDatabase:
		return accessRule, "Unknown database"
	case CodeShutdown:
		return commError, "Server shutdown in progress"
	case CodeUnknownThread:
		return unknownState, "Unknown thread id"
	case CodeKillDenied:
		return unknownState, "You are not owner of thread"
	case CodeWrongDatabaseName:
		return accessRule, "Incorrect database name"
	case CodeUnknownError:
		return unknownState, "Unknown error"
	case CodeHostBlocked:
		return unknownState, "Host is blocked because of many connection errors"
	case CodeHostNotAllowed:
		return unknownState, "Host is not allowed to connect to this server"
	case CodePacketTooLarge:
		return commError, "Got a packet bigger than 'max_allowed_packet' bytes"
	case CodeReadError:
		return commError, "Got an error reading communication packets"
	case CodeReadInterrupted:
		return commError, "Got timeout reading communication packets"
	case CodeWriteError:
		return commError, "Got an error writing communication packets"
	case CodeWriteInterrupted:
		return commError, "Got timeout writing communication packets"
	case CodeLockWaitTimeout:
		return unknownState, "Lock wait timeout exceeded; try restarting transaction"
	case CodeDeadlock:
		return "40001", "Deadlock found when trying to get lock; try restarting transaction"
	case CodeUserLimit:
		return accessRule, "User has exceeded the 'max_user_connections' resource"
	case CodeNotSupportedYet:
		return accessRule, "This version does not yet support it"
	case CodeUnsupportedAuth:
		return "08004", "Client does not support authentication protocol requested by server"
	case CodeUnknownStatement:
		return unknownState, "Unknown prepared statement handler"
	case CodeOptionPreventsStmt:
		return unknownState, "The server is running with an option that prevents this statement"
	case CodeQueryInterrupted:
		return "70100", "Query execution was interrupted"
	case CodeTooManyPrepared:
		return accessRule, "Can't create more prepared statements"
	case CodeReadOnlyTransaction:
		return "25006", "Cannot execute statement in a READ ONLY transaction"
	case CodeMalformedPacket:
		return unknownState, "Malformed communication packet"
	case CodeReadOnlyMode:
		return unknownState, "Running in read-only mode"
	case CodeConnectionKilled:
		return "70100", "Connection was killed"
	case CodeStatementTimeout:
		return "70100", "Query execution was interrupted (max_statement_time exceeded)"
	case CodeQueryTimeout:
		return unknownState, "Query execution was interrupted, maximum statement execution time exceeded"
	case CodeSecureTransport:
		return unknownState, "Connections using insecure transport are prohibited"
	case CodeClientTimeout:
		return unknownState, "The client was disconnected by the server because of inactivity"
	}
	return unknownState, ""
}
