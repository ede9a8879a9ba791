package admin

import "weir/internal/hist"

// Snapshot is what /metrics shows, as plain values. Whoever wires weir fills it
// from the packages' own Stats at each scrape. Counters only ever rise, and what
// was reported once is reported again, with the same labels, as long as its
// listener or backend exists: a counter that appears with its first event is
// missed by rate(). Within one slice each label must be there only once.
type Snapshot struct {
	Listeners []ListenerSnapshot
	Backends  []BackendSnapshot
	Reloads   []Count // by result
	Pressure  []Share // by resource

	AccessLogDropped uint64 // lines
	SlowLogDropped   uint64 // lines of the slow-query log

	Sockets SocketsSnapshot
}

// SocketsSnapshot is what the kernel was last seen to hold. Where it could never
// be listed, Groups has the counters alone.
type SocketsSnapshot struct {
	Groups      []SocketGroup
	Ports       []PortsSnapshot
	Listed      bool
	AgeSeconds  float64 // of the last list
	ListSeconds float64 // of processor time that all lists took
}

// SocketGroup is the sockets of a listener or of a backend.
type SocketGroup struct {
	Side, Name      string
	Sockets         []SocketCount
	ClosedFirst     []Count // by who closed first
	TimeWaitAvoided uint64
}

// SocketCount is a number of sockets in a state, of an owner.
type SocketCount struct {
	State, Owner string
	N            int
}

// PortsSnapshot is the local ports towards the backend's endpoint that has the
// least.
type PortsSnapshot struct {
	Backend     string
	Headroom    float64 // the part that is free
	SecondsLeft float64 // until none is; +Inf where no end is in sight
}

// Count is a number of events with a word for what they were.
type Count struct {
	Label string
	N     uint64
}

// Share is a part, 0 to 1, with a word for what it is a part of.
type Share struct {
	Label string
	Part  float64
}

// ListenerSnapshot is one listener.
type ListenerSnapshot struct {
	Name         string
	Accepting    bool
	Queued       int    // connected, and not accepted yet
	Clients      int    // connected now
	ClientsTotal uint64 // ever accepted
	Unread       int    // connected, and not read from for a while
	UnreadTotal  uint64
	Closed       []Count // by how
	Shed         []Count // by reason
	Requests     []RequestCount
	RequestTime  hist.Snapshot // first byte of the head to last byte of the response

	MySQL  bool
	Logins int // clients that are logging in; MySQL only
}

// RequestCount is how many requests of a listener ended in one way.
type RequestCount struct {
	Backend string // "" where none was chosen
	Outcome string // a status class, or the label of a fault
	N       uint64
}

// BackendSnapshot is one backend.
type BackendSnapshot struct {
	Name                  string
	Idle, Leased, Dialing int
	Dials                 []Count // by result
	Closed                []Count // by reason
	StaleRetries          uint64
	AcquireWait           hist.Snapshot // from asking for a connection to having it

	Mode        int     // of degradation, 0 is normal
	ModeByHand  bool    // a hand has fixed it
	ModeChanges []Count // by the mode entered
	InFlightMax int
	BreakerOpen bool

	MySQL *MySQLSnapshot // nil for other protocols
}

// MySQLSnapshot is what a MySQL backend has beyond others.
type MySQLSnapshot struct {
	IdleAttached int     // connections held by clients that are silent
	Resets       []Count // by kind
	Pinned, Pins []Count // by reason: how many clients are, and how often one became so
	Users        []UserSnapshot
}

// UserSnapshot is a user with a bound of its own on backend connections.
type UserSnapshot struct {
	Name    string
	Open    int
	MaxOpen int
}
