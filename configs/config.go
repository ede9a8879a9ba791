package configs

import (
	"net/netip"
	"time"
)

// The tags of a field:
//
//	key     its name in the file
//	need    "yes": must be there
//	oneof   a group: exactly one of its keys must be there
//	only    the protocol that has the key: in an entry of another one it is an error
//	range   least..most, both allowed, in the units of the value
//	enum    the words that are allowed
//	form    what a text must look like (forms.go)
//	absent  what leaving the key out means, where no value says so
//	single  "yes": a list of one may be written without brackets
//	short   on a struct's only needed field: the struct may be written as this value alone
//	reload  "restart": a change is refused on reload
//	secret  "yes": values stay out of the reload log
//
// The comment of a field becomes its description in schema.json.

// Config is a whole configuration: what the file says, and the defaults for
// what it does not say.
type Config struct {
	// Addresses that clients connect to.
	Listeners []Listener `key:"listeners" need:"yes"`
	// Services that weir holds connections to.
	Backends []Backend `key:"backends" need:"yes"`
	// Page and socket of the operator.
	Admin Admin `key:"admin" reload:"restart"`
	// What weir writes about itself.
	Log Log `key:"log"`
	// How weir stops.
	Drain Drain `key:"drain"`
	// Bounds of memory.
	Memory Memory `key:"memory"`

	// set holds the path of each key the file wrote. What is not in it came
	// from the defaults.
	set map[string]bool
	// marks holds where the file wrote each value, for warnings that come later.
	marks map[string]mark
}

// Listener is one entry of listeners.
type Listener struct {
	// Name of the listener in logs and metrics.
	Name string `key:"name" need:"yes" form:"name"`
	// Protocol that clients speak.
	Protocol string `key:"protocol" need:"yes" enum:"http mysql"`
	// Where to listen: host:port, :port, unix:/path, or a list of these. The host is an IP address.
	Address []Address `key:"address" need:"yes" form:"listen" single:"yes"`
	// Name of the backend that gets every request. Write routes instead to choose by host and path (http).
	Backend string `key:"backend" oneof:"target" form:"name"`
	// Choice of a backend by host and path: first by host, then by the longest path. No match is answered with 404.
	Routes []Route `key:"routes" oneof:"target" only:"http"`
	// Most clients connected at one time. One more is answered with 503 (http) or error 1040 (mysql) and closed.
	MaxClients int `key:"max_clients" range:"1..10000000"`
	// Most clients that are logging in at one time. One more is answered with error 1040 and closed.
	MaxLogins int `key:"max_logins" range:"1..1000000" only:"mysql"`
	// How a finished client connection is closed: quiet answers the client's FIN with a reset where nothing can be lost and leaves no TIME_WAIT, graceful answers with a FIN.
	Close string `key:"close" enum:"quiet graceful"`
	// Wake up for a client only when its first bytes are there (TCP_DEFER_ACCEPT). Without effect on unix sockets.
	DeferAccept bool `key:"defer_accept" only:"http"`
	// Longest request head, the request line included. A longer one is answered with 431. Response heads (502) and trailers have the same bound.
	MaxHeader Size `key:"max_header" range:"1KiB..1MiB" only:"http"`
	// Longest request target. A longer one is answered with 414.
	MaxURI Size `key:"max_uri" range:"64B..1MiB" only:"http"`
	// Longest request body. A longer one is answered with 413.
	MaxBody Size `key:"max_body" range:"1B..1024GiB" absent:"no limit" only:"http"`
	// How long weir waits for a client.
	Timeouts ClientTimeouts `key:"timeouts"`
	// Certificate for clients that ask for TLS.
	TLS ListenerTLS `key:"tls" only:"mysql" absent:"TLS is not offered"`
	// How important this listener's requests are where they wait for a backend: 1 is served first, 5 is refused first.
	Priority int `key:"priority" range:"1..5"`
	// Field in which a proxy of trusted_proxies says a request's priority, a digit from 1 to 5. Of others it is cut.
	PriorityHeader string `key:"priority_header" form:"field" absent:"none" only:"http"`
	// Connections of one client.
	Connections Connections `key:"connections" absent:"no limit"`
	// What is let through, of all clients and of each.
	Limits Limits `key:"limits"`
	// Networks and addresses that may connect. Others are answered with 403 (http) or error 1130 (mysql).
	Allow []netip.Prefix `key:"allow" absent:"everyone"`
	// Networks and addresses of proxies in front. Their X-Forwarded-* and Forwarded are believed, others have theirs replaced; with proxy_protocol they begin each connection with a PROXY header.
	TrustedProxies []netip.Prefix `key:"trusted_proxies" absent:"none"`
	// Those in trusted_proxies begin each connection with a PROXY header, version 1 or 2, that names the client.
	ProxyProtocol bool `key:"proxy_protocol"`
	// Send X-Forwarded-For, -Proto and -Host to the backend.
	XForwarded bool `key:"x_forwarded" only:"http"`
	// Send Forwarded (RFC 7239) to the backend.
	Forwarded bool `key:"forwarded" only:"http"`
	// Name that weir adds to Via (RFC 9110, section 7.6.3) in both directions.
	Via string `key:"via" form:"token" absent:"no Via is added" only:"http"`
	// X-Request-Id: pass leaves it as the client sent it, make adds one where it is missing.
	RequestID string `key:"request_id" enum:"pass make" only:"http"`
	// Say in X-Weir-Mode, a field of the response, in which mode the backend is while it is not in normal. A backend's own field of this name is cut.
	ModeHeader bool `key:"mode_header" only:"http"`
}

// ClientTimeouts bound each wait for a client.
type ClientTimeouts struct {
	// From the connection to the end of the login. Then the client is closed.
	Login time.Duration `key:"login" only:"mysql"`
	// From the first byte of a request to the end of its head. Then 408. A new client that sends nothing is closed after it.
	Header time.Duration `key:"header" only:"http"`
	// Longest silence inside a request body. Then 408.
	BodyIdle time.Duration `key:"body_idle" only:"http"`
	// Longest time in which a client takes no byte of a response. Then the connection is dropped.
	Send time.Duration `key:"send"`
	// Longest wait for the next request or command on an open connection, and longest silence of a WebSocket.
	Idle time.Duration `key:"idle"`
}

// Route is one entry of listeners[].routes.
type Route struct {
	// Host of the request, exact (shop.test) or with a leading wildcard label (*.shop.test).
	Host string `key:"host" form:"host" absent:"every host"`
	// Beginning of the request's path, by whole segments. Left out, it is /.
	Path string `key:"path" form:"path"`
	// Name of the backend that gets the request.
	Backend string `key:"backend" need:"yes" form:"name"`
	// Cut path from the request before it is sent on.
	Strip bool `key:"strip"`
	// Header fields to set in the request, in place of those the client sent.
	SetHeader map[string]string `key:"set_header" form:"header" absent:"none" secret:"yes"`
	// Header fields to cut from the request.
	RemoveHeader []string `key:"remove_header" form:"header" absent:"none"`
	// How important this route's requests are where they wait for the backend, 1 to 5.
	Priority int `key:"priority" range:"1..5" absent:"the listener's"`
	// What is let through on this route, besides the listener's limits.
	Limits Limits `key:"limits"`
}

// Backend is one entry of backends.
type Backend struct {
	// Name of the backend in listeners, logs and metrics.
	Name string `key:"name" need:"yes" form:"name"`
	// Where the backend listens. This version takes exactly one.
	Endpoints []Endpoint `key:"endpoints" need:"yes"`
	// Local address of all connections to the backend: an IP address of this machine. With "" the kernel chooses.
	Source string `key:"source" form:"source" absent:"the kernel chooses"`
	// Connections to the backend.
	Pool Pool `key:"pool"`
	// Requests, or MySQL sessions, that wait for a connection.
	Queue Queue `key:"queue"`
	// How new connections are made.
	Dial Dial `key:"dial"`
	// How long weir waits for the backend.
	Timeouts BackendTimeouts `key:"timeouts" only:"http"`
	// Accounts that clients log in with, and weir too: a client and its backend connection are of one user.
	Users []User `key:"users" need:"yes" only:"mysql"`
	// How MySQL sessions are served.
	MySQL MySQL `key:"mysql" only:"mysql"`
	// TLS to the backend.
	TLS BackendTLS `key:"tls" only:"mysql"`
	// What is let through to this backend, from all listeners together.
	Limits Limits `key:"limits"`
	// Leave the backend alone for a while when half of what is asked of it fails, and find out with few requests when it is back.
	Breaker bool `key:"breaker"`
	// Page for clients that are turned away because the backend has too much to do, or is left alone.
	Overload Overload `key:"overload" only:"http" absent:"weir's own line of text"`
	// Share of requests that may be sent a second time after a reused connection was found dead. 0% means never.
	RetryBudget Percent `key:"retry_budget" range:"0%..100%" only:"http"`

	// Protocol is http or mysql, and not a key: it is that of the listeners that
	// use the backend, or shows in the keys of one that none uses.
	Protocol string
}

// Endpoint is one address of a backend.
type Endpoint struct {
	// host:port or unix:/path. The host is an IP address or a name.
	Address Address `key:"address" need:"yes" form:"dial" short:"yes"`
}

// Pool bounds the connections to a backend.
type Pool struct {
	// Most connections to the backend, in use and idle together.
	MaxOpen int `key:"max_open" range:"1..65535"`
	// Connections beyond max_open. mysql: for KILL, for query_timeout, and to learn the server's version at the start. Not used by http.
	Reserved int `key:"reserved" range:"0..64"`
	// Idle connections to dial before weir is ready, and to keep.
	MinIdle int `key:"min_idle" range:"0..65535"`
	// Idle time after which a connection is closed. Keep it below the backend's own.
	IdleTimeout time.Duration `key:"idle_timeout"`
	// Age after which a connection is closed when it comes back, spread by a tenth each way.
	MaxLifetime time.Duration `key:"max_lifetime"`
}

// Queue bounds the requests, or MySQL sessions, that wait for a connection.
type Queue struct {
	// Most that wait at one time. One more is answered with 503 (http) or error 1040 (mysql) at once; 0 lets none wait.
	Max int `key:"max" range:"0..1000000"`
	// Longest wait. Then 503 (http) or error 1040 (mysql).
	Timeout time.Duration `key:"timeout"`
	// Wait that is fine. When for 20 times as long nobody of a class waited for less, the newest of the class are served first, and who has waited for twice as long is refused.
	Target time.Duration `key:"target" range:"1ms..10s" absent:"no target, where any wait up to timeout will do"`
}

// Dial bounds the making of new connections.
type Dial struct {
	// Longest time for one connection to be made, the login at a MySQL backend included.
	Timeout time.Duration `key:"timeout"`
	// Most connections begun per second, evenly spaced. Left out, it is 4 x max_open a second, and at least 50/s.
	Rate Rate `key:"rate" range:"1/s..1000000/s"`
	// Most connections in the making at one time.
	Concurrent int `key:"concurrent" range:"1..1024"`
}

// BackendTimeouts bound each wait for a backend.
type BackendTimeouts struct {
	// From the end of the request to the first byte of the response. Then 504.
	ResponseHeader time.Duration `key:"response_header"`
	// Longest silence inside a response. Then the response is cut off.
	BodyIdle time.Duration `key:"body_idle"`
}

// Log says what weir writes about itself.
type Log struct {
	// Least level that is written.
	Level string `key:"level" enum:"debug info warn error"`
	// Where the access log goes, a line of JSON for each request: none, stderr, stdout, or the path of a file, which SIGUSR1 opens anew.
	Access string `key:"access" form:"logfile"`
	// Where the slow-query log goes, a line of JSON for each MySQL query that took mysql.slow or longer: as in access.
	SlowQuery string `key:"slow_query" form:"logfile"`
}

// Drain says how weir stops.
type Drain struct {
	// How long a stop waits for exchanges that are under way.
	Timeout time.Duration `key:"timeout"`
}

// Memory bounds what weir holds in memory.
type Memory struct {
	// Most bytes of bodies held at one time, all listeners together.
	Buffers Size `key:"buffers" range:"1MiB..1024GiB"`
}

// At returns the place of a key's value in the file, 0 and 0 if the file has
// not written the key.
func (c *Config) At(path string) (line, col int) {
	m := c.marks[path]
	return m.line, m.col
}

// Listener returns the listener of that name, nil if there is none.
func (c *Config) Listener(name string) *Listener {
	for i := range c.Listeners {
		if c.Listeners[i].Name == name {
			return &c.Listeners[i]
		}
	}
	return nil
}

// Backend returns the backend of that name, nil if there is none.
func (c *Config) Backend(name string) *Backend {
	for i := range c.Backends {
		if c.Backends[i].Name == name {
			return &c.Backends[i]
		}
	}
	return nil
}

// IsSet says whether the file wrote the key of that path, for example
// backends[0].pool.max_open. False means the value is a default.
func (c *Config) IsSet(path string) bool { return c.set[path] }
