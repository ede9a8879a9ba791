package main

// SocketsStatus is what the kernel holds for weir's listeners and backends, and
// how long the local ports will last.
type SocketsStatus struct {
	Source          string        `json:"source"`           // sock_diag, proc, or none
	Error           string        `json:"error,omitempty"`  // why the last list failed
	AgeSeconds      float64       `json:"age_seconds"`      // of the last list
	IntervalSeconds float64       `json:"interval_seconds"` // between lists; stretched so that they stay cheap
	Cost            float64       `json:"cost"`             // of the lists, as a part of one processor
	Listed          int           `json:"listed"`           // sockets that the last list had, of the whole namespace
	Kernel          KernelStatus  `json:"kernel"`
	Listeners       []SocketGroup `json:"listeners"`
	Backends        []SocketGroup `json:"backends"`
}

// KernelStatus is of the whole network namespace, but for what is marked.
type KernelStatus struct {
	InUse           int    `json:"in_use"`
	Orphans         int    `json:"orphans"`
	TimeWait        int    `json:"time_wait"`    // and closed FIN-WAIT-2
	MemoryPages     int    `json:"memory_pages"` // of the host
	TimeWaitOver    uint64 `json:"time_wait_overflow"`
	ListenOverflows uint64 `json:"listen_overflows"`
	ListenDrops     uint64 `json:"listen_drops"`
	Syncookies      uint64 `json:"syncookies_sent"`
	Recycled        uint64 `json:"time_wait_recycled"`
	ConnectFailures uint64 `json:"attempt_fails"`
	Resets          uint64 `json:"estab_resets"`
}

// SocketGroup is the sockets of a listener or of a backend.
type SocketGroup struct {
	Name string `json:"name"`
	// States has the number of sockets by state (established, syn_sent, ...)
	// and owner: ours, other (another process that uses the same address), or
	// unknown.
	States map[string]map[string]int `json:"states"`
	// Edges counts what our own sockets did since the start, by the edge of
	// the state diagram of RFC 9293: "closed>syn_sent". Each word but closed
	// is one of those in States.
	Edges           map[string]uint64 `json:"edges"`
	Closes          map[string]uint64 `json:"closes"` // by who was first: us, peer; and of these: quiet, half_closed, reset, lingering, aborted
	TimeWaitAvoided uint64            `json:"time_wait_avoided"`
	TopClients      []TopClient       `json:"top_clients,omitempty"` // of listeners, by sockets
	Ports           []PortsStatus     `json:"ports,omitempty"`       // of backends
}

// TopClient is a client address with many sockets.
type TopClient struct {
	Address string `json:"address"`
	Sockets int    `json:"sockets"`
}

// PortsStatus is the local ports for one source and one destination address. Each
// pair of them has the whole range for itself.
type PortsStatus struct {
	Source        string   `json:"source"`         // backends[].source; "" where the kernel chose
	SourceAddress string   `json:"source_address"` // whoever chose it
	Endpoint      string   `json:"endpoint"`
	Ports         int      `json:"ports"`  // of the range, less those reserved
	Bound         int      `json:"bound"`  // of these, no dial can have: something listens on them or is bound to them
	InUse         int      `json:"in_use"` // whoever's, but for TIME-WAIT
	TimeWaitOurs  int      `json:"time_wait_ours"`
	TimeWaitOther int      `json:"time_wait_other"`
	Free          int      `json:"free"`         // TIME-WAIT that the kernel would use again counts as free
	Headroom      float64  `json:"headroom"`     // free as a part of ports
	SecondsLeft   *float64 `json:"seconds_left"` // until none is free; null: no end in sight
	Warned        bool     `json:"warned"`       // the log has a warning that stands
}
