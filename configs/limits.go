package configs

import "fmt"

// descriptorBase covers standard streams, the log, event polls and timers, and of
// admin: 64 connections each of its address and its socket, and 100 open pages.
const descriptorBase = 320

// descriptorsRefused is how many clients that are turned away an address of a
// listener holds at most, beyond max_clients, while they read why.
const descriptorsRefused = 64

// descriptorsClosing is the part of max_clients that an address may have besides,
// of clients whose requests are over and whose FIN is awaited.
const descriptorsClosing = 8

// descriptorsListening is how many sockets an address of a listener has at most,
// one for each processor.
const descriptorsListening = 8

// Descriptors is how many file descriptors the configuration can need at one
// time: each client, those that are being closed or turned away, each backend
// connection, the listening sockets, and a base for the rest.
func (c *Config) Descriptors() int {
	n := descriptorBase
	for _, l := range c.Listeners {
		n += l.MaxClients + (l.MaxClients/descriptorsClosing+2*descriptorsRefused+descriptorsListening)*len(l.Address)
	}
	for _, b := range c.Backends {
		n += b.Pool.MaxOpen + b.Pool.Reserved
	}
	return n
}

// CheckLimits says whether limit, the soft RLIMIT_NOFILE of the process, lets
// the configuration work at its bounds. nil means it does. The text names both
// numbers and what to change.
func (c *Config) CheckLimits(limit uint64) error {
	need := uint64(c.Descriptors())
	if need <= limit {
		return nil
	}
	return fmt.Errorf("descriptors: this configuration can need %d, the limit of this process is %d; "+
		"raise it (ulimit -n %d, or LimitNOFILE=%d in a systemd unit), or lower max_clients of the listeners", need, limit, need, need)
}
