package wire

import "strings"

// Caps is a set of capabilities: what a peer can do, or what both agreed on.
// The upper 32 bits are MariaDB's extended ones, which only peers that clear
// CapMySQL send.
type Caps uint64

const (
	CapMySQL            Caps = 1 << 0 // LONG_PASSWORD; MariaDB clears it to say who it is
	CapFoundRows        Caps = 1 << 1 // UPDATE counts the rows that matched
	CapLongFlag         Caps = 1 << 2
	CapConnectWithDB    Caps = 1 << 3
	CapNoSchema         Caps = 1 << 4 // database.table.column is refused
	CapCompress         Caps = 1 << 5
	CapODBC             Caps = 1 << 6
	CapLocalFiles       Caps = 1 << 7
	CapIgnoreSpace      Caps = 1 << 8
	CapProtocol41       Caps = 1 << 9
	CapInteractive      Caps = 1 << 10 // interactive_timeout instead of wait_timeout
	CapSSL              Caps = 1 << 11
	CapIgnoreSigpipe    Caps = 1 << 12
	CapTransactions     Caps = 1 << 13
	CapReserved         Caps = 1 << 14
	CapSecureConnection Caps = 1 << 15 // 20 bytes of nonce; the proof has a length
	CapMultiStatements  Caps = 1 << 16
	CapMultiResults     Caps = 1 << 17
	CapPSMultiResults   Caps = 1 << 18
	CapPluginAuth       Caps = 1 << 19
	CapConnectAttrs     Caps = 1 << 20
	CapAuthLenenc       Caps = 1 << 21
	CapExpiredPassword  Caps = 1 << 22
	CapSessionTrack     Caps = 1 << 23
	CapDeprecateEOF     Caps = 1 << 24
	CapOptionalMetadata Caps = 1 << 25 // MySQL: column definitions may be missing
	CapZstd             Caps = 1 << 26 // MySQL
	CapQueryAttributes  Caps = 1 << 27 // MySQL: COM_QUERY starts with parameters
	CapMultiFactor      Caps = 1 << 28 // MySQL
	CapExtension        Caps = 1 << 29
	CapVerifyServerCert Caps = 1 << 30 // of the client's own use
	CapRememberOptions  Caps = 1 << 31 // of the client's own use

	CapProgress        Caps = 1 << 32 // ERR packets with code 0xFFFF between rows
	CapComMulti        Caps = 1 << 33
	CapStmtBulk        Caps = 1 << 34
	CapExtendedTypes   Caps = 1 << 35 // column definitions with one field more
	CapCacheMetadata   Caps = 1 << 36 // column definitions may be missing
	CapBulkUnitResults Caps = 1 << 37 // 11.5: bulk execution answers with rows
)

// extended is the mask of the bits that only MariaDB has.
const extended Caps = (1<<32 - 1) << 32

// Has says whether all bits of want are in c.
func (c Caps) Has(want Caps) bool { return c&want == want }

// MariaDB says whether the sender follows MariaDB's reading of the bits.
func (c Caps) MariaDB() bool { return c&CapMySQL == 0 }

var capNames = [...]string{
	"MYSQL", "FOUND_ROWS", "LONG_FLAG", "CONNECT_WITH_DB", "NO_SCHEMA", "COMPRESS", "ODBC", "LOCAL_FILES",
	"IGNORE_SPACE", "PROTOCOL_41", "INTERACTIVE", "SSL", "IGNORE_SIGPIPE", "TRANSACTIONS", "RESERVED", "SECURE_CONNECTION",
	"MULTI_STATEMENTS", "MULTI_RESULTS", "PS_MULTI_RESULTS", "PLUGIN_AUTH", "CONNECT_ATTRS", "PLUGIN_AUTH_LENENC",
	"CAN_HANDLE_EXPIRED_PASSWORDS", "SESSION_TRACK", "DEPRECATE_EOF", "OPTIONAL_RESULTSET_METADATA", "ZSTD",
	"QUERY_ATTRIBUTES", "MULTI_FACTOR", "EXTENSION", "SSL_VERIFY_SERVER_CERT", "REMEMBER_OPTIONS",
	"PROGRESS", "COM_MULTI", "STMT_BULK", "EXTENDED_METADATA", "CACHE_METADATA", "BULK_UNIT_RESULTS",
}

// String lists the names, as "FOUND_ROWS|PROTOCOL_41". Bits without a name are
// left out.
func (c Caps) String() string {
	var names []string
	for i, name := range capNames {
		if c&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}
