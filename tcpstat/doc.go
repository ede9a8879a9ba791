// Package tcpstat tells which TCP sockets the kernel holds, by state and by
// address, without any privilege.
//
// A Reader lists them. On Linux it asks over netlink (sock_diag, the interface
// `ss` uses) and where a sandbox has none it reads /proc/net/tcp and tcp6.
// Elsewhere Open returns an error that wraps errors.ErrUnsupported.
//
// A Survey makes one list into what a proxy wants to know: how many sockets of
// each listener and backend are in each state, whose they are (a Ledger of the
// own dials and closes tells), and how the local ports towards each backend are
// used. A Forecast says when these will have run out. A Budget keeps it all cheap.
//
// What a list can and cannot show follows from the kernel: a TIME_WAIT socket
// belongs to nobody (no user, no inode, no process), a socket in CLOSED is in no
// table at all, and a Reader sees its network namespace and nothing else.
package tcpstat
