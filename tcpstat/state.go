package tcpstat

// State is a TCP state by the kernel's numbers (include/net/tcp_states.h).
type State uint8

const (
	Established State = 1 + iota
	SynSent
	SynRecv
	FinWait1
	FinWait2 // also a closed socket of which the kernel keeps only the short form
	TimeWait
	Closed // never listed: such a socket is in none of the kernel's tables
	CloseWait
	LastAck
	Listen
	Closing
	newSynRecv // the kernel's own, always listed as SynRecv
	Bound      // bound to a port, neither connected nor listening

	states
)

// NumStates is one more than the highest State: the size of an array that a
// State may index.
const NumStates = int(states)

var stateNames = [states]string{
	0: "UNKNOWN", Established: "ESTAB", SynSent: "SYN-SENT", SynRecv: "SYN-RECV",
	FinWait1: "FIN-WAIT-1", FinWait2: "FIN-WAIT-2", TimeWait: "TIME-WAIT", Closed: "CLOSE",
	CloseWait: "CLOSE-WAIT", LastAck: "LAST-ACK", Listen: "LISTEN", Closing: "CLOSING",
	newSynRecv: "SYN-RECV", Bound: "BOUND",
}

var stateLabels = [states]string{
	0: "unknown", Established: "established", SynSent: "syn_sent", SynRecv: "syn_recv",
	FinWait1: "fin_wait1", FinWait2: "fin_wait2", TimeWait: "time_wait", Closed: "close",
	CloseWait: "close_wait", LastAck: "last_ack", Listen: "listen", Closing: "closing",
	newSynRecv: "syn_recv", Bound: "bound",
}

// String writes the state as `ss` does.
func (s State) String() string {
	if s >= states {
		return stateNames[0]
	}
	return stateNames[s]
}

// Label writes the state as a metric label.
func (s State) Label() string {
	if s >= states {
		return stateLabels[0]
	}
	return stateLabels[s]
}

// States returns every state that a list may hold, in order, for those who make
// labels of them.
func States() []State {
	return []State{
		Established, SynSent, SynRecv, FinWait1, FinWait2, TimeWait,
		CloseWait, LastAck, Listen, Closing, Bound,
	}
}

// Mask is a set of states, a bit each.
type Mask uint32

// All holds the states of connections and listeners. Bound is not among them:
// it is no state of TCP, and listing it costs the kernel a walk through one
// more table.
const All Mask = 1<<Established | 1<<SynSent | 1<<SynRecv | 1<<FinWait1 | 1<<FinWait2 |
	1<<TimeWait | 1<<Closed | 1<<CloseWait | 1<<LastAck | 1<<Listen | 1<<Closing

// MaskOf returns the set of the given states.
func MaskOf(list ...State) Mask {
	var m Mask
	for _, s := range list {
		m |= 1 << s
	}
	return m
}

// Has says whether s is in the set.
func (m Mask) Has(s State) bool { return m&(1<<s) != 0 }

// Timer is what the kernel waits for on a socket (the idiag_timer field of
// include/uapi/linux/inet_diag.h).
type Timer uint8

const (
	TimerNone       Timer = iota
	TimerRetransmit       // also early retransmit and tail loss probe
	TimerKeepalive        // also the wait of SYN-RECV and FIN-WAIT-2
	TimerTimeWait
	TimerProbe // the peer's window is zero
)

var timerNames = [...]string{"off", "on", "keepalive", "timewait", "persist"}

// String writes the timer as `ss -o` does.
func (t Timer) String() string {
	if int(t) >= len(timerNames) {
		return "unknown"
	}
	return timerNames[t]
}
