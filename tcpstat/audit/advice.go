package audit

import (
	"fmt"
	"strconv"
	"strings"
)

// Answer is what is true of a piece of advice that this machine follows.
type Answer struct {
	Name   string `json:"name"`
	Found  string `json:"found"` // where it is followed
	Answer string `json:"answer"`
}

// saying is a row of the table of advice that goes around in articles.
type saying struct {
	key    string
	follow func(value string, m *Machine) bool
	answer string
}

var sayings = []saying{
	{"net.ipv4.tcp_tw_recycle", is("1"),
		"gone since Linux 4.12 (2017). Before, it dropped the SYNs of clients behind one NAT. Delete the line."},
	{"net.ipv4.tcp_fin_timeout", below(finDefault),
		"bounds FIN-WAIT-2 of closed sockets. TIME_WAIT is 60 s in every mainline kernel, and no setting shortens it."},
	{"net.ipv4.tcp_max_tw_buckets", lowered,
		"the memory it saves is 256 to 512 bytes a socket (weir doctor -measure), not the 3.155 KB that is told; what it takes away is the protection from old segments. Leave the kernel's own."},
	{"net.ipv4.tcp_tw_reuse", is("1"),
		"for outgoing connections only, and only with timestamps at both ends. It does nothing for a server's listening port. With a pool there is nothing to reuse."},
	{rangeKey, narrow,
		"fewer ports than the kernel's own 28,232: less, not more. The range bounds connections to one destination address and port; a server's side uses no port of it, so that no server ends at 65,535 connections."},
	{"net.ipv4.tcp_syncookies", is("2"),
		"cookies for every connection, not only in a flood. They have nothing to do with TIME_WAIT, with 1 or 2."},
	{"net.ipv4.tcp_timestamps", is("0"),
		"saves 12 bytes a segment, and takes away tcp_tw_reuse, the reopening of a TIME_WAIT by a new SYN, and weir's quiet close."},
	{"net.ipv4.tcp_keepalive_time", below(7200),
		"finds peers that are gone, on sockets that ask for it. It has nothing to do with TIME_WAIT; weir sets its own on every socket."},
	{"net.ipv4.tcp_fack", is("1"), obsolete},
	{"net.ipv4.tcp_low_latency", is("1"), obsolete},
}

const obsolete = "still there, and without any effect since Linux 4.15: the kernel's documentation calls it a legacy option."

func is(want string) func(string, *Machine) bool {
	return func(v string, _ *Machine) bool { return v == want }
}

func below(n int64) func(string, *Machine) bool {
	return func(v string, _ *Machine) bool {
		got, err := strconv.ParseInt(v, 10, 64)
		return err == nil && got < n
	}
}

// lowered says whether a tcp_max_tw_buckets is less than half of the kernel's own.
func lowered(v string, m *Machine) bool {
	own := int64(smallTable)
	if n, err := m.number("net.ipv4.tcp_ehash_entries"); err == nil && n != 0 {
		own = max(n, -n) / 2
	}
	return below(own/2)(v, m)
}

func narrow(v string, _ *Machine) bool {
	var low, high int
	n, _ := fmt.Sscan(v, &low, &high)
	return n == 2 && high-low+1 < 28232
}

// answers goes through the sayings: by what is in force and, where the kernel
// does not have or show the setting, by what a file sets.
func answers(m *Machine) []Answer {
	out := []Answer{}
	lines := m.written()
	for _, s := range sayings {
		if text, err := m.text(sysctlFile(s.key)); err == nil {
			if v := strings.Join(strings.Fields(text), " "); s.follow(v, m) {
				out = append(out, Answer{s.key, "in force: " + clip(v), s.answer})
			}
			continue
		}
		for i := len(lines) - 1; i >= 0; i-- { // the last one counts
			if l := lines[i]; l.key == s.key {
				if s.follow(l.value, m) {
					out = append(out, Answer{s.key, clip(l.file) + ": " + clip(l.value), s.answer})
				}
				break
			}
		}
	}
	return out
}
