package fault

import "log/slog"

// The two sentences that a client needs most, so that they are always the same.
const (
	notSent    = "the request was not passed on, so it is safe to send it again"
	mayHaveRun = "the request may have been carried out"
)

// table is the one place where a fault gets its consequences. Statuses follow
// RFC 9110, section 15; 499 is nginx's word in access logs and never goes out.
//
// Another protocol adds columns to Row, and cells here, not a second table.
var table = [kinds]Row{
	None: {Label: "none"},

	BadRequest: {
		Label: "bad_request", Side: Client, Status: 400, Closes: true,
		Text: "the request is not valid HTTP/1.1, so it was not passed on",
		Hint: "the sub label says which rule was broken; a strict gate refuses what two parsers could read differently",
	},
	URITooLong: {
		Label: "uri_too_long", Side: Client, Status: 414, Closes: true,
		Text: "the request's target is longer than this server takes",
		Hint: "listeners[].max_uri is the longest target",
	},
	HeaderTooLarge: {
		Label: "header_too_large", Side: Client, Status: 431, Closes: true,
		Text: "the request's header section is larger, or has more fields, than this server takes; large cookies are the usual cause",
		Hint: "raise listeners[].max_header, and see that the backend takes as much",
	},
	BodyTooLarge: {
		Label: "body_too_large", Side: Client, Status: 413,
		Text: "the request's body is larger than this server takes",
		Hint: "the listener's bound on request bodies is lower than this request's",
	},
	Expectation: {
		Label: "expectation", Side: Client, Status: 417, Closes: true,
		Text: "the only expectation understood here is 100-continue",
		Hint: "RFC 9110 section 10.1.1 knows no other",
	},
	NotImplemented: {
		Label: "not_implemented", Side: Client, Status: 501, Closes: true,
		Text: "the request uses a method or a transfer coding that is not supported here",
		Hint: "CONNECT and transfer codings other than chunked are refused",
	},
	Version: {
		Label: "version", Side: Client, Status: 505, Closes: true,
		Text: "only HTTP/1.0 and HTTP/1.1 are spoken here",
		Hint: "a client that speaks HTTP/2 without TLS needs a proxy that does",
	},
	NoRoute: {
		Label: "no_route", Side: Client, Status: 404,
		Text: "nothing is served under this host and path",
		Hint: "no entry of listeners[].routes matches; an entry without host and path, or listeners[].backend, takes the rest",
	},
	AmbiguousPath: {
		Label: "ambiguous_path", Side: Client, Status: 400,
		Text: "the path holds dot segments, double or encoded slashes, backslashes or parameters, and could be read in two ways; send it normalised",
		Hint: "such a path could cross from one of listeners[].routes into another's",
	},
	NotAllowed: {
		Label: "not_allowed", Side: Client, Errno: 1130, Status: 403, Closes: true,
		Text: "your address is not among those that may connect here",
		Hint: "listeners[].allow does not hold the client's address",
	},
	BadProxyHeader: {
		// Never written: the connection is closed, as the protocol asks for.
		Label: "bad_proxy_header", Side: Client, Errno: 1043, Status: 400, Closes: true,
		Text: "the connection did not begin with a valid PROXY header",
		Hint: "listeners[].proxy_protocol is set, and this peer is in listeners[].trusted_proxies: it, and its health checks, must send the header (HAProxy: send-proxy-v2, check-send-proxy)",
	},
	HeaderTimeout: {
		Label: "header_timeout", Side: Client, Status: 408, Closes: true,
		Text: "the head of the request did not arrive in time",
		Hint: "listeners[].timeouts.header; many at once look like an attack with slow clients",
	},
	BodyTimeout: {
		Label: "body_timeout", Side: Client, Status: 408, Closes: true,
		// What had arrived may be with the backend already.
		MayHaveRun: true,
		Text:       "the body of the request stopped arriving; " + mayHaveRun,
		Hint:       "listeners[].timeouts.body_idle is the longest pause inside a body; a large one that is too slow is cut while others wait for the backend",
	},
	ClientGone: {
		Label: "client_gone", Side: Client, Errno: 1159, Status: 499, Closes: true, MayHaveRun: true,
		Text: "the client left before its response was written",
		Hint: "expected now and then; many of them mean that clients give up before weir does, see request_seconds",
	},

	LoginTimeout: {
		Label: "login_timeout", Side: Client, Errno: 1159, Closes: true,
		Text: "the login took too long",
		Hint: "listeners[].timeouts.login; many at once look like an attack, or like checks that connect and say nothing",
	},
	LoginAborted: {
		Label: "login_aborted", Side: Client, Errno: 1158, Closes: true,
		Text: "the client left before it was logged in",
		Hint: "expected of checks that connect and close; a check that logs in tells more",
	},
	BadLogin: {
		Label: "bad_login", Side: Client, Errno: 1043, Closes: true,
		Text: "this is no login that is understood here",
		Hint: "the client is older than MySQL 4.1, or speaks another protocol",
	},
	AccessDenied: {
		Label: "access_denied", Side: Client, Errno: 1045, Closes: true,
		Text: "access denied",
		Hint: "backends[].users: the name, the password, or users[].allow; clients are told the same for all three",
	},
	TLSRequired: {
		Label: "tls_required", Side: Client, Errno: 3159, Closes: true,
		Text: "logins are taken inside TLS only",
		Hint: "listeners[].tls.required is set",
	},
	BadPacket: {
		Label: "bad_packet", Side: Client, Errno: 1835, Closes: true,
		Text: "this is no command that is understood here; it was not passed on",
		Hint: "the client has a fault, or two threads of it use one connection",
	},
	UnknownCommand: {
		Label: "unknown_command", Side: Client, Errno: 1047,
		Text: "the command is not known here; it was not passed on",
		Hint: "docs/mysql.md lists the commands; compression and query attributes are not offered",
	},
	IdleAttached: {
		Label: "idle_attached", Side: Client, Errno: 1159, Closes: true,
		Text: "the client was silent for too long while it held a connection to the service",
		Hint: "backends[].mysql.idle_attached_timeout; a client that is to be idle for long should close, or reset, its connection",
	},

	MaxClients: {
		Label: "max_clients", Side: Weir, Errno: 1040, Status: 503, RetryAfter: true, Closes: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "this server holds as many connections as it may; " + notSent,
		Hint: "listeners[].max_clients is reached",
	},
	QueueFull: {
		Label: "queue_full", Side: Weir, Errno: 1040, Status: 503, RetryAfter: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "the service is busy and the queue before it is full; " + notSent,
		Hint: "the backend is slow, or a bound is small: the log line's error names it",
	},
	QueueTimeout: {
		Label: "queue_timeout", Side: Weir, Errno: 1040, Status: 503, RetryAfter: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "the service stayed busy for as long as a request may wait; " + notSent,
		Hint: "the backend is slow, or a bound is small: the log line's error names it",
	},
	Draining: {
		Label: "draining", Side: Weir, Errno: 1053, Status: 503, RetryAfter: true, Closes: true,
		Text: "this server is shutting down; " + notSent,
		Hint: "take this instance out of the balancer before it is stopped",
	},
	NoMemory: {
		Label: "no_memory", Side: Weir, Status: 503, RetryAfter: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "this server has no buffer to spare; " + notSent,
		Hint: "the bound on buffer memory is reached; large bodies and slow readers hold it",
	},
	DialLocal: {
		Label: "dial_local", Side: Weir, Errno: 1040, Status: 503, RetryAfter: true,
		Log: LogFolded, Level: slog.LevelError,
		Text: "this server could not open a connection to the service; " + notSent,
		Hint: "this machine ran out of local ports, descriptors or socket memory; the log line has the system's error. The backend is not blamed",
	},
	Internal: {
		Label: "internal", Side: Weir, Errno: 1105, Status: 500, Closes: true, MayHaveRun: true,
		Log: LogEach, Level: slog.LevelError,
		Text: "an error inside this server; " + mayHaveRun,
		Hint: "a bug in weir: please report it with the log line",
	},

	LoginFlood: {
		Label: "login_flood", Side: Weir, Errno: 1040, Closes: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "too many clients are logging in at this moment; " + notSent,
		Hint: "listeners[].max_logins is reached",
	},
	ServerUnknown: {
		Label: "server_unknown", Side: Weir, Errno: 1040, Closes: true,
		Log: LogFolded, Level: slog.LevelError,
		Text: "the service was not reached yet; " + notSent,
		Hint: "clients are greeted with what the server says of itself; backends[].mysql.server_version greets them without it",
	},

	LimitRate: {
		Label: "limit_rate", Side: Weir, Errno: 1040, Status: 503, RetryAfter: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "more requests come than this service takes; " + notSent,
		Hint: "limits.rate of what the log line names as limit",
	},
	LimitPerRate: {
		Label: "limit_per_rate", Side: Weir, Errno: 1040, Status: 429, RetryAfter: true,
		Log: LogFolded, Level: slog.LevelInfo,
		Text: "you send more requests than you may; " + notSent,
		Hint: "limits.per_rate of what the log line names as limit",
	},
	LimitInFlight: {
		Label: "limit_in_flight", Side: Weir, Errno: 1040, Status: 503, RetryAfter: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "as many requests are under way as this service takes; " + notSent,
		Hint: "limits.in_flight of what the log line names as limit",
	},
	Shed: {
		Label: "shed", Side: Weir, Errno: 1040, Status: 503, RetryAfter: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "the service is overloaded, and newer or more important requests go first; " + notSent,
		Hint: "more comes than the backend can do: see docs/overload.md; backends[].queue.target and queue.max decide who is given up, priority who is spared",
	},
	BreakerOpen: {
		Label: "breaker_open", Side: Weir, Errno: 1040, Status: 503, RetryAfter: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "the service fails, and is left alone for a moment; " + notSent,
		Hint: "half of what was asked of the backend failed (backends[].breaker), or its mode was set to open by hand",
	},
	ClientConnections: {
		Label: "client_connections", Side: Weir, Errno: 1040, Status: 429, RetryAfter: true, Closes: true,
		Log: LogFolded, Level: slog.LevelInfo,
		Text: "you have as many connections open as you may; " + notSent,
		Hint: "listeners[].connections.per_client; behind a balancer all clients have its address, see proxy_protocol",
	},
	ConnectionRate: {
		Label: "connection_rate", Side: Weir, Errno: 1040, Status: 429, RetryAfter: true, Closes: true,
		Log: LogFolded, Level: slog.LevelInfo,
		Text: "you open connections faster than you may; " + notSent,
		Hint: "listeners[].connections.rate; behind a balancer all clients have its address, see proxy_protocol",
	},

	DialRefused: {
		Label: "dial_refused", Side: Backend, Errno: 1040, Status: 502,
		Log: LogFolded, Level: slog.LevelError,
		Text: "the service takes no connections; " + notSent,
		Hint: "nothing listens at backends[].endpoints, a packet filter answers for it, or what listens speaks another protocol: err says which",
	},
	DialTimeout: {
		Label: "dial_timeout", Side: Backend, Errno: 1040, Status: 504,
		Log: LogFolded, Level: slog.LevelError,
		Text: "the service did not take a connection in time; " + notSent,
		Hint: "backends[].dial.timeout passed: the host is gone, packets are dropped, or its accept queue is full",
	},
	BackendClosed: {
		Label: "backend_closed", Side: Backend, Errno: 1927, Status: 502, Retry: ReusedOnly, MayHaveRun: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "the service closed the connection without an answer; " + mayHaveRun,
		Hint: "on a fresh connection this is the backend's own failure; see its log",
	},
	BackendReset: {
		Label: "backend_reset", Side: Backend, Errno: 1927, Status: 502, Retry: ReusedOnly, MayHaveRun: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "the service reset the connection without an answer; " + mayHaveRun,
		Hint: "the backend crashed, or it closed with bytes of the request unread",
	},
	StaleUnsafe: {
		Label: "stale_unsafe", Side: Backend, Status: 502, MayHaveRun: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "the service closed a kept connection under this request; " + mayHaveRun + ", so it was not sent twice",
		Hint: "the backend's own idle timeout is shorter than backends[].pool.idle_timeout: lower ours or raise theirs",
	},
	ResponseTimeout: {
		Label: "response_timeout", Side: Backend, Status: 504, MayHaveRun: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "the service did not answer in time; " + mayHaveRun,
		Hint: "backends[].timeouts.response_header passed before the first byte",
	},
	ResponseStalled: {
		Label: "response_stalled", Side: Backend, Errno: 1927, Status: 504, Closes: true, MayHaveRun: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "the service stopped in the middle of its answer; " + mayHaveRun,
		Hint: "backends[].timeouts.body_idle (http) passed inside a response, the backend closed before its end, or a KILL for backends[].mysql.query_timeout did not help",
	},
	BadResponse: {
		Label: "bad_response", Side: Backend, Errno: 1927, Status: 502, MayHaveRun: true,
		Log: LogFolded, Level: slog.LevelError,
		Text: "the service's answer was not understood; " + mayHaveRun,
		Hint: "the sub label says which rule was broken; bad_response_head_too_large: listeners[].max_header bounds it. Is backends[].endpoints a port of the right protocol?",
	},
	SessionLost: {
		Label: "session_lost", Side: Backend, Errno: 1927, Closes: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "the service has ended this session since its last command; " + notSent,
		Hint: "the database restarted, killed the connection, or its wait_timeout is shorter than clients are idle",
	},
	QueryTimeout: {
		Label: "query_timeout", Side: Backend, Errno: 1317, MayHaveRun: true,
		Log: LogFolded, Level: slog.LevelWarn,
		Text: "the statement took too long and was stopped; " + mayHaveRun,
		Hint: "backends[].mysql.query_timeout",
	},
	BackendRefused: {
		Label: "backend_refused", Side: Backend, Errno: 1040,
		Log: LogFolded, Level: slog.LevelError,
		Text: "the service lets nobody in; " + notSent,
		Hint: "the database is full (max_connections below backends[].pool.max_open), or it refuses the account that weir logs in with",
	},
}
