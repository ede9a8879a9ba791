// Package fault names everything that can go wrong with a client's request and
// holds, in one table, what follows from it: what the client is told, whose
// fault it was, what is logged, and whether the request may be sent again.
//
// It is a leaf: it imports nothing of ours and knows no connection. Everything
// in it is built once, at start, and only read afterwards, so all of it is safe
// for concurrent use.
package fault

import "log/slog"

// Kind is one way to fail. The zero value is None. Its labels become metric
// labels and the X-Weir-Reason field, so the list is closed: adding a Kind is
// adding a label value.
type Kind uint8

const (
	None Kind = iota // nothing went wrong

	// The client's doing.
	BadRequest     // not HTTP as RFC 9112 has it; the scanner's own word is the sub label
	URITooLong     // the target is over the limit
	HeaderTooLarge // the header section is over the limit, in bytes or in fields
	BodyTooLarge   // the body is over the limit
	Expectation    // an Expect other than 100-continue
	NotImplemented // a method or a transfer coding that is not spoken here
	Version        // neither HTTP/1.0 nor HTTP/1.1
	NoRoute        // no route for this host and path
	AmbiguousPath  // a path that the route table and the backend may read differently
	NotAllowed     // the client's address is not in the listener's allow list
	BadProxyHeader // a proxy in front did not begin with a valid PROXY header, in time
	HeaderTimeout  // the head did not arrive in time
	BodyTimeout    // the body stopped arriving
	ClientGone     // the client left before its response was written
	LoginTimeout   // MySQL: the login was not over in time
	LoginAborted   // MySQL: the client left in its login
	BadLogin       // MySQL: not a login as the protocol has it
	AccessDenied   // MySQL: an unknown user, a wrong password, or an address the user may not come from
	TLSRequired    // MySQL: the listener takes logins inside TLS only
	BadPacket      // MySQL: not a command as the protocol has it
	UnknownCommand // MySQL: a command whose answer could not be followed
	IdleAttached   // MySQL: silent for too long with a backend connection in its hands

	// Ours: a limit that is set, or this machine's.
	MaxClients    // the listener holds as many clients as it may
	QueueFull     // the backend's queue is full
	QueueTimeout  // no connection came free while the request stood in the queue
	Draining      // weir is stopping
	NoMemory      // the bound on buffer memory is reached
	DialLocal     // this machine had no port, descriptor or memory for a dial
	Internal      // a bug in weir
	LoginFlood    // MySQL: more clients in login than the listener takes
	ServerUnknown // MySQL: no server was reached yet, so there is nothing to greet with

	LimitRate         // more requests than a limits block lets through
	LimitPerRate      // more requests of one key than a limits block lets through
	LimitInFlight     // more requests at one time than a limits block lets through
	Shed              // given up in the queue for newer or more important ones
	BreakerOpen       // the backend fails, or a hand says so, and is left alone
	ClientConnections // one client holds as many connections as it may
	ConnectionRate    // one client opens connections faster than it may

	// The backend's.
	DialRefused     // the backend refused the connection, or no route leads to it
	DialTimeout     // the backend did not take the connection in time
	BackendClosed   // FIN before the first byte of the response
	BackendReset    // RST before the first byte of the response
	StaleUnsafe     // a reused connection died under a request that may not be sent twice
	ResponseTimeout // the response did not begin in time
	ResponseStalled // the response began and was not finished: silence, or a close before its end
	BadResponse     // the response is not as the protocol has it, or its head is over the limit
	SessionLost     // MySQL: the backend ended a session between two of its commands
	QueryTimeout    // MySQL: the statement ran for longer than it may, and was killed
	BackendRefused  // MySQL: the server let weir in for nobody: it is full, or refuses this machine

	kinds
)

// Kinds returns every Kind but None, in order, for those who make labels.
func Kinds() []Kind {
	out := make([]Kind, 0, kinds-1)
	for k := None + 1; k < kinds; k++ {
		out = append(out, k)
	}
	return out
}

// Side says whose fault it was.
type Side uint8

const (
	Nobody Side = iota
	Client
	Weir
	Backend
)

func (s Side) String() string {
	return [...]string{"nobody", "client", "weir", "backend"}[s&3]
}

// Retry says when the request may be sent again by us.
type Retry uint8

const (
	Never Retry = iota
	// ReusedOnly: once, and only if the connection had served before. A kept
	// connection may have been closed by the backend before it saw anything;
	// a fresh one that fails has failed for real. The other conditions (the
	// error, the method, the body, the budget) are the session's to check.
	ReusedOnly
)

func (r Retry) String() string {
	return [...]string{"never", "reused_only"}[r&1]
}

// Log says how often a fault is written to the log. All are counted anyway.
type Log uint8

const (
	LogNever  Log = iota // expected, or the client could fill the disk with it
	LogFolded            // one line at once, then one per window with a count
	LogEach              // every one: it should never happen
)

func (l Log) String() string {
	return [...]string{"never", "folded", "each", "?"}[l&3]
}

// Row is what follows from a Kind.
type Row struct {
	Label string // metric label and X-Weir-Reason
	Side  Side
	Retry Retry

	// MayHaveRun says that the backend may have carried the request out. A
	// client that gets such an answer must not take it for "nothing happened".
	MayHaveRun bool

	Log   Log
	Level slog.Level // of the log line, where there is one

	// Errno is MySQL's number of the error, 0 where it cannot be of such a
	// client. Status is the HTTP status, 0 likewise. RetryAfter says that the answer carries that
	// field: the refusal is about load, and the same request may do later.
	// Closes says that the client's connection cannot be used on: where the
	// next request starts is unknown, or there shall be none.
	Errno      uint16
	Status     int
	RetryAfter bool
	Closes     bool

	Text string // for the client, after "weir: "; names no address and no setting
	Hint string // for the operator: what to look at, or which key to change
}

// Row returns a copy of the Kind's row. Internal's stands in for a Kind that
// does not exist.
func (k Kind) Row() Row { return *k.row() }

func (k Kind) row() *Row {
	if k >= kinds {
		k = Internal
	}
	return &table[k]
}

func (k Kind) String() string { return k.row().Label }

// Side, Retry and Status are the columns that decisions are made on.
func (k Kind) Side() Side   { return k.row().Side }
func (k Kind) Retry() Retry { return k.row().Retry }
func (k Kind) Status() int  { return k.row().Status }
