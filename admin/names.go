package admin

import (
	"weir/internal/hist"

	"github.com/prometheus/client_golang/prometheus"
)

// emit takes one value of a metric, with its label values in order.
type emit func(v float64, labels ...string)

// metric is one name: all that is known of it stands here once. docs/metrics.md
// and testdata/metrics.golden are held to it by tests, because dashboards and
// alerts outlive versions.
type metric struct {
	name   string
	kind   prometheus.ValueType
	labels []string
	help   string
	each   func(*Snapshot, emit)
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

var metrics = []metric{
	{"weir_client_connections", gauge, []string{"listener"},
		"Client connections open now, those that are being turned away or closed included.",
		func(s *Snapshot, out emit) {
			for _, l := range s.Listeners {
				out(float64(l.Clients), l.Name)
			}
		}},
	{"weir_client_connections_total", counter, []string{"listener"},
		"Client connections accepted.",
		func(s *Snapshot, out emit) {
			for _, l := range s.Listeners {
				out(float64(l.ClientsTotal), l.Name)
			}
		}},
	{"weir_client_closed_total", counter, []string{"listener", "how"},
		"Client connections closed, by how: quiet leaves no TIME_WAIT anywhere, active and linger leave one with weir, peer_first one with the client.",
		func(s *Snapshot, out emit) {
			for _, l := range s.Listeners {
				counts(out, l.Closed, l.Name)
			}
		}},
	{"weir_client_unread", gauge, []string{"listener"},
		"Client connections that are not read from now, because their client went on after refusals by limits.per_rate.",
		func(s *Snapshot, out emit) {
			for _, l := range s.Listeners {
				out(float64(l.Unread), l.Name)
			}
		}},
	{"weir_client_unread_total", counter, []string{"listener"},
		"How often a client connection was left unread until its client might send again.",
		func(s *Snapshot, out emit) {
			for _, l := range s.Listeners {
				out(float64(l.UnreadTotal), l.Name)
			}
		}},
	{"weir_accepting", gauge, []string{"listener"},
		"1 if the listener takes new connections, 0 if it drains or has stopped accepting under load.",
		func(s *Snapshot, out emit) {
			for _, l := range s.Listeners {
				out(bit(l.Accepting), l.Name)
			}
		}},
	{"weir_accept_queue", gauge, []string{"listener"},
		"Clients that are connected and wait in the kernel's queue to be accepted. Linux, TCP.",
		func(s *Snapshot, out emit) {
			for _, l := range s.Listeners {
				out(float64(l.Queued), l.Name)
			}
		}},
	{"weir_pressure", gauge, []string{"resource"},
		"How much weir itself has in use of its memory and its descriptors, 0 to 1; 0 where nothing bounds it. At 0.9 it stops accepting, until less than 0.8 has been in use for a second.",
		func(s *Snapshot, out emit) {
			for _, p := range s.Pressure {
				out(p.Part, p.Label)
			}
		}},
	{"weir_mysql_logins", gauge, []string{"listener"},
		"Clients that are logging in now. Above max_logins they are refused.",
		func(s *Snapshot, out emit) {
			for _, l := range s.Listeners {
				if l.MySQL {
					out(float64(l.Logins), l.Name)
				}
			}
		}},
	{"weir_requests_total", counter, []string{"listener", "backend", "outcome"},
		"Requests and MySQL commands that ended, by outcome: the response's status class, ok or error as the MySQL server said, or the fault that weir answered for. backend is empty where none was chosen.",
		func(s *Snapshot, out emit) {
			for _, l := range s.Listeners {
				for _, r := range l.Requests {
					out(float64(r.N), l.Name, r.Backend, r.Outcome)
				}
			}
		}},
	{"weir_shed_total", counter, []string{"listener", "reason"},
		"Requests and connections refused so that others are served, by the limit that was reached.",
		func(s *Snapshot, out emit) {
			for _, l := range s.Listeners {
				counts(out, l.Shed, l.Name)
			}
		}},
	{"weir_backend_connections", gauge, []string{"backend", "state"},
		"Connections to the backend now: idle in the pool, leased to a request, or dialing. Their sum never exceeds max_open.",
		func(s *Snapshot, out emit) {
			for _, b := range s.Backends {
				out(float64(b.Idle), b.Name, "idle")
				out(float64(b.Leased), b.Name, "leased")
				out(float64(b.Dialing), b.Name, "dialing")
			}
		}},
	{"weir_backend_dials_total", counter, []string{"backend", "result"},
		"Dials to the backend that ended, by result. A failure of this machine (no port, no descriptor) is local and not the backend's.",
		func(s *Snapshot, out emit) {
			for _, b := range s.Backends {
				counts(out, b.Dials, b.Name)
			}
		}},
	{"weir_backend_closed_total", counter, []string{"backend", "reason"},
		"Connections to the backend that weir closed or found closed, by reason.",
		func(s *Snapshot, out emit) {
			for _, b := range s.Backends {
				counts(out, b.Closed, b.Name)
			}
		}},
	{"weir_backend_user_connections", gauge, []string{"backend", "user"},
		"Connections to the backend now of a user that has a max_open of its own, idle ones included.",
		func(s *Snapshot, out emit) {
			databases(s, func(name string, db *MySQLSnapshot) {
				for _, u := range db.Users {
					out(float64(u.Open), name, u.Name)
				}
			})
		}},
	{"weir_backend_user_max_open", gauge, []string{"backend", "user"},
		"The max_open of a user that has one of its own: connections to the backend that it may have.",
		func(s *Snapshot, out emit) {
			databases(s, func(name string, db *MySQLSnapshot) {
				for _, u := range db.Users {
					out(float64(u.MaxOpen), name, u.Name)
				}
			})
		}},
	{"weir_mysql_idle_attached", gauge, []string{"backend"},
		"Connections to the backend that clients hold now without a command under way.",
		func(s *Snapshot, out emit) {
			databases(s, func(name string, db *MySQLSnapshot) { out(float64(db.IdleAttached), name) })
		}},
	{"weir_mysql_resets_total", counter, []string{"backend", "kind"},
		"Connections to the backend that a client gave back, by when what it had left there is undone: with the next client's first command (later), at once (now), never as there was nothing (skipped), or by closing the connection (closed).",
		func(s *Snapshot, out emit) {
			databases(s, func(name string, db *MySQLSnapshot) { counts(out, db.Resets, name) })
		}},
	{"weir_mysql_pinned", gauge, []string{"backend", "reason"},
		"Clients that keep their connection to the backend now although they are between transactions, by why; with mysql.mode transaction.",
		func(s *Snapshot, out emit) {
			databases(s, func(name string, db *MySQLSnapshot) { counts(out, db.Pinned, name) })
		}},
	{"weir_mysql_pins_total", counter, []string{"backend", "reason"},
		"Times that a client came to keep its connection to the backend to its end, by why; with mysql.mode transaction.",
		func(s *Snapshot, out emit) {
			databases(s, func(name string, db *MySQLSnapshot) { counts(out, db.Pins, name) })
		}},
	{"weir_mode", gauge, []string{"backend"},
		"How far weir degrades before the backend: 0 normal, 1 paced, 2 queueing, 3 shedding, 4 refusing, 5 open.",
		func(s *Snapshot, out emit) {
			for _, b := range s.Backends {
				out(float64(b.Mode), b.Name)
			}
		}},
	{"weir_mode_by_hand", gauge, []string{"backend"},
		"1 while the mode is one that was set by hand, whatever the load.",
		func(s *Snapshot, out emit) {
			for _, b := range s.Backends {
				out(bit(b.ModeByHand), b.Name)
			}
		}},
	{"weir_mode_changes_total", counter, []string{"backend", "to"},
		"Changes of the mode, by the mode that was entered.",
		func(s *Snapshot, out emit) {
			for _, b := range s.Backends {
				counts(out, b.ModeChanges, b.Name)
			}
		}},
	{"weir_in_flight_max", gauge, []string{"backend"},
		"Requests that the backend may have at one time: limits.in_flight, what auto has found, or max_open.",
		func(s *Snapshot, out emit) {
			for _, b := range s.Backends {
				out(float64(b.InFlightMax), b.Name)
			}
		}},
	{"weir_breaker_open", gauge, []string{"backend"},
		"1 while the breaker keeps requests from the backend, or lets only a few through to try it.",
		func(s *Snapshot, out emit) {
			for _, b := range s.Backends {
				out(bit(b.BreakerOpen), b.Name)
			}
		}},
	{"weir_stale_retries_total", counter, []string{"backend"},
		"Requests sent a second time because a kept connection turned out dead before it had answered anything.",
		func(s *Snapshot, out emit) {
			for _, b := range s.Backends {
				out(float64(b.StaleRetries), b.Name)
			}
		}},
	{"weir_tcp_sockets", gauge, []string{"side", "name", "state", "owner"},
		"TCP sockets that the kernel holds with a listener's address, or towards a backend's, by state and by whose they are: weir's, another process's, or unknown. As last listed. Linux.",
		func(s *Snapshot, out emit) {
			for _, g := range s.Sockets.Groups {
				for _, c := range g.Sockets {
					out(float64(c.N), g.Side, g.Name, c.State, c.Owner)
				}
			}
		}},
	{"weir_closes_total", counter, []string{"side", "name", "first"},
		"Connections that ended, by who ended them first: us, or the peer. TIME_WAIT stays with that side, unless the end was a reset.",
		func(s *Snapshot, out emit) {
			for _, g := range s.Sockets.Groups {
				counts(out, g.ClosedFirst, g.Side, g.Name)
			}
		}},
	{"weir_time_wait_avoided_total", counter, []string{"side", "name"},
		"Connections that ended and left no TIME_WAIT with either side, where a proxy that closes as usual would have left one.",
		func(s *Snapshot, out emit) {
			for _, g := range s.Sockets.Groups {
				out(float64(g.TimeWaitAvoided), g.Side, g.Name)
			}
		}},
	{"weir_port_headroom", gauge, []string{"backend"},
		"Part of the local ports towards the backend that is free, 0 to 1, of its endpoint that has the least. Linux.",
		func(s *Snapshot, out emit) {
			for _, p := range s.Sockets.Ports {
				out(p.Headroom, p.Backend)
			}
		}},
	{"weir_port_exhaustion_seconds", gauge, []string{"backend"},
		"Time until no local port is free towards the backend if all goes on as in the last half minute; +Inf where no end is in sight. Linux.",
		func(s *Snapshot, out emit) {
			for _, p := range s.Sockets.Ports {
				out(p.SecondsLeft, p.Backend)
			}
		}},
	{"weir_socket_list_age_seconds", gauge, nil,
		"Age of the last list of the kernel's sockets. Absent where they cannot be listed.",
		func(s *Snapshot, out emit) {
			if s.Sockets.Listed {
				out(s.Sockets.AgeSeconds)
			}
		}},
	{"weir_socket_list_seconds_total", counter, nil,
		"Processor time that listing the kernel's sockets has taken.",
		func(s *Snapshot, out emit) { out(s.Sockets.ListSeconds) }},
	{"weir_config_reloads_total", counter, []string{"result"},
		"Attempts to load the configuration anew, by result.",
		func(s *Snapshot, out emit) { counts(out, s.Reloads) }},
	{"weir_access_log_dropped_total", counter, nil,
		"Lines of the access log that were lost because it could not be written, or not fast enough.",
		func(s *Snapshot, out emit) { out(float64(s.AccessLogDropped)) }},
	{"weir_slow_query_log_dropped_total", counter, nil,
		"Lines of the slow-query log that were lost because it could not be written, or not fast enough.",
		func(s *Snapshot, out emit) { out(float64(s.SlowLogDropped)) }},
}

// timing is a metric of type histogram.
type timing struct {
	name   string
	labels []string
	help   string
	each   func(*Snapshot, func(h *hist.Snapshot, labels ...string))
}

var timings = []timing{
	{"weir_request_seconds", []string{"listener"},
		"Time from the first byte of a request or MySQL command to the last byte of its response.",
		func(s *Snapshot, out func(*hist.Snapshot, ...string)) {
			for i := range s.Listeners {
				out(&s.Listeners[i].RequestTime, s.Listeners[i].Name)
			}
		}},
	{"weir_acquire_wait_seconds", []string{"backend"},
		"Time that a request or a MySQL session stood in the queue for a connection to the backend; those that found an idle one are not in it.",
		func(s *Snapshot, out func(*hist.Snapshot, ...string)) {
			for i := range s.Backends {
				out(&s.Backends[i].AcquireWait, s.Backends[i].Name)
			}
		}},
}

const (
	buildName = "weir_build_info"
	buildHelp = "1, with the version of weir and of the Go that built it."
)

func counts(out emit, cs []Count, label ...string) {
	for _, c := range cs {
		out(float64(c.N), append(label[:len(label):len(label)], c.Label)...)
	}
}

// databases calls f for each backend that is one.
func databases(s *Snapshot, f func(name string, db *MySQLSnapshot)) {
	for _, b := range s.Backends {
		if b.MySQL != nil {
			f(b.Name, b.MySQL)
		}
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
