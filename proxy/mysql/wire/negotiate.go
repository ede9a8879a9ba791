package wire

// What the two sides of a proxy agree on. The capabilities fall into four kinds:
//
//   - those that the proxy handles itself, whatever the backend can: login and TLS
//   - those that every backend connection has, so that all of a pool are alike:
//     the trackers, and rows that end in an OK
//   - those that change what a connection does for its client, so they are asked
//     of the backend as the client has them, and connections differ by them
//   - those that nobody is offered, as the packets then have forms that Response
//     does not follow, or that would have to be undone
const (
	handled = CapConnectWithDB | CapProtocol41 | CapSecureConnection | CapPluginAuth | CapConnectAttrs | CapAuthLenenc
	common  = CapLongFlag | CapTransactions | CapSessionTrack | CapDeprecateEOF
	differs = CapFoundRows | CapNoSchema | CapLocalFiles | CapIgnoreSpace | CapInteractive |
		CapMultiStatements | CapMultiResults | CapPSMultiResults | CapStmtBulk | CapExtendedTypes
	// harmless mean nothing to a server of today, but clients like to see them.
	harmless = CapODBC | CapIgnoreSigpipe | CapReserved
	// Never: CapCompress and CapZstd (frames inside frames), CapProgress (an ERR
	// that is none), CapCacheMetadata and CapOptionalMetadata (definitions may
	// be missing), CapQueryAttributes (COM_QUERY does not start with the text),
	// CapComMulti, CapBulkUnitResults, CapMultiFactor, CapExpiredPassword.
)

// Offer returns what a greeting to clients says, given what the backend's said.
// Clients learn from it whether the server is MySQL or MariaDB. tls says
// whether they may send an SSLRequest.
func Offer(backend Caps, tls bool) Caps {
	c := handled | backend&(common|differs|harmless|CapMySQL)
	if backend&CapMySQL != 0 {
		c &^= extended
	}
	if tls {
		c |= CapSSL
	}
	return c
}

// Ask returns what a login to the backend claims: what the backend's greeting
// said, as far as a client that was agreed on client wants it; 0 for a connection
// that no client waits for. CapConnectWithDB is added by who has a database to
// name.
func Ask(backend, client Caps, tls bool) Caps {
	c := backend&(handled&^CapConnectWithDB|common|CapMySQL) | backend&client&differs
	if backend&CapMySQL != 0 {
		c &^= extended
	}
	if tls {
		c |= CapSSL
	}
	return c
}

// Key returns the bits of client that a backend connection must have been opened
// with to serve it: part of the pool's key, together with the user, the
// character set and, unless it is set on hand-over, the database.
func Key(client Caps) Caps { return client & differs }

// Verbatim says whether the backend's answers can be passed to a client as they
// are. Otherwise Translate is needed.
func Verbatim(backend, client Caps) bool {
	return (backend^client)&(CapSessionTrack|CapDeprecateEOF) == 0
}
