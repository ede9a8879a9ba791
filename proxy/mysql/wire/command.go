package wire

import "strconv"

// Command is the first byte of a client's packet between login and end.
type Command uint8

const (
	ComQuit             Command = 0x01
	ComInitDB           Command = 0x02
	ComQuery            Command = 0x03
	ComFieldList        Command = 0x04
	ComCreateDB         Command = 0x05
	ComDropDB           Command = 0x06
	ComRefresh          Command = 0x07
	ComShutdown         Command = 0x08
	ComStatistics       Command = 0x09
	ComProcessInfo      Command = 0x0a
	ComProcessKill      Command = 0x0c
	ComDebug            Command = 0x0d
	ComPing             Command = 0x0e
	ComChangeUser       Command = 0x11
	ComBinlogDump       Command = 0x12
	ComRegisterSlave    Command = 0x15
	ComStmtPrepare      Command = 0x16
	ComStmtExecute      Command = 0x17
	ComStmtSendLongData Command = 0x18
	ComStmtClose        Command = 0x19
	ComStmtReset        Command = 0x1a
	ComSetOption        Command = 0x1b
	ComStmtFetch        Command = 0x1c
	ComBinlogDumpGTID   Command = 0x1e // MySQL
	ComResetConnection  Command = 0x1f
	ComStmtBulkExecute  Command = 0xfa // MariaDB, with CapStmtBulk
)

// commands holds the names of the commands that Response can follow, and how
// their answers begin. A command that is not here is refused: where an unknown
// answer ends cannot be known. COM_MULTI (MariaDB, 0xfe) and COM_CLONE (MySQL,
// 0x20) have answers of their own and are left out on purpose.
var commands = [256]struct {
	name  string
	state state
}{
	ComQuit:             {"COM_QUIT", stateDone},
	ComInitDB:           {"COM_INIT_DB", stateOK},
	ComQuery:            {"COM_QUERY", stateResult},
	ComFieldList:        {"COM_FIELD_LIST", stateFields},
	ComCreateDB:         {"COM_CREATE_DB", stateOK},
	ComDropDB:           {"COM_DROP_DB", stateOK},
	ComRefresh:          {"COM_REFRESH", stateOK},
	ComShutdown:         {"COM_SHUTDOWN", stateOK},
	ComStatistics:       {"COM_STATISTICS", stateText},
	ComProcessInfo:      {"COM_PROCESS_INFO", stateResult},
	ComProcessKill:      {"COM_PROCESS_KILL", stateOK},
	ComDebug:            {"COM_DEBUG", stateOK},
	ComPing:             {"COM_PING", stateOK},
	ComChangeUser:       {"COM_CHANGE_USER", stateAuth},
	ComBinlogDump:       {"COM_BINLOG_DUMP", stateEvents},
	ComRegisterSlave:    {"COM_REGISTER_SLAVE", stateOK},
	ComStmtPrepare:      {"COM_STMT_PREPARE", statePrepare},
	ComStmtExecute:      {"COM_STMT_EXECUTE", stateResult},
	ComStmtSendLongData: {"COM_STMT_SEND_LONG_DATA", stateDone},
	ComStmtClose:        {"COM_STMT_CLOSE", stateDone},
	ComStmtReset:        {"COM_STMT_RESET", stateOK},
	ComSetOption:        {"COM_SET_OPTION", stateOK},
	ComStmtFetch:        {"COM_STMT_FETCH", stateRows},
	ComBinlogDumpGTID:   {"COM_BINLOG_DUMP_GTID", stateEvents},
	ComResetConnection:  {"COM_RESET_CONNECTION", stateOK},
	ComStmtBulkExecute:  {"COM_STMT_BULK_EXECUTE", stateResult},
}

// Known says whether Response can follow the answer to c. A client that sends
// another one gets CodeUnknownCommand.
func (c Command) Known() bool { return commands[c].name != "" }

// Answered says whether the server answers c at all.
func (c Command) Answered() bool { return c.Known() && commands[c].state != stateDone }

// Unbounded says whether the answer may go on for ever: the connection is no
// pool's any more.
func (c Command) Unbounded() bool { return commands[c].state == stateEvents }

// String returns the protocol's name, as COM_QUERY.
func (c Command) String() string {
	if c.Known() {
		return commands[c].name
	}
	return "command 0x" + strconv.FormatUint(uint64(c), 16)
}
