package main

import (
	"fmt"
	"maps"
	"slices"

	"weir/admin"
	"weir/configs"
	"weir/pool"
	"weir/proxy/mysql"
)

// databaseStats is what the fronts count of one MySQL backend, added up.
type databaseStats struct {
	idleAttached int64
	resets       map[string]uint64 // by kind
	pinned       map[string]int64  // by reason; nil but in mode transaction
	pins         map[string]uint64 // likewise
}

// resetKinds are shown before they happen; see mysql.Stats.Resets.
var resetKinds = []string{"later", "now", "skipped", "closed"}

// backendOf is the backend that a MySQL listener's clients go to. It is called
// with mu held.
func (g *graph) backendOf(listener string) string {
	for i := range g.cfg.Listeners {
		if l := &g.cfg.Listeners[i]; l.Name == listener {
			return l.Backend
		}
	}
	return ""
}

// databaseStats has an entry for each MySQL backend. It is called with mu held.
func (g *graph) databaseStats() map[string]*databaseStats {
	all := map[string]*databaseStats{}
	for name, b := range g.backends {
		if b.database == nil {
			continue
		}
		st := &databaseStats{resets: map[string]uint64{}}
		for _, kind := range resetKinds {
			st.resets[kind] = 0
		}
		if sharing(&b.cfg) {
			st.pinned, st.pins = map[string]int64{}, map[string]uint64{}
			for _, reason := range mysql.PinReasons() {
				st.pinned[reason], st.pins[reason] = 0, 0
			}
		}
		all[name] = st
	}
	for listener, f := range g.fronts {
		m, ok := f.(*mysql.Front)
		if !ok {
			continue
		}
		st := m.Stats()
		// A front counts its silent clients together. After a reload has given
		// it another backend, those who stay with the old one count there too.
		if db := all[g.backendOf(listener)]; db != nil {
			db.idleAttached += st.IdleAttached
		}
		for name, resets := range st.Resets {
			db := all[name]
			if db == nil {
				continue // a reload took it away
			}
			for kind, n := range resets {
				db.resets[kind] += n
			}
			for reason := range db.pins {
				db.pinned[reason] += st.Pinned[name][reason]
				db.pins[reason] += st.Pins[name][reason]
			}
		}
	}
	return all
}

// limitedUsers are the users that have a bound of their own. Others are not
// shown: their number has no bound that the operator has set.
func (b *backend) limitedUsers() []*configs.User {
	var out []*configs.User
	for i := range b.cfg.Users {
		if u := &b.cfg.Users[i]; u.MaxOpen > 0 {
			out = append(out, u)
		}
	}
	return out
}

func (b *backend) mysqlSnapshot(db *databaseStats, groups map[string]pool.GroupStats) *admin.MySQLSnapshot {
	s := &admin.MySQLSnapshot{IdleAttached: int(db.idleAttached)}
	for _, kind := range slices.Sorted(maps.Keys(db.resets)) {
		s.Resets = append(s.Resets, admin.Count{Label: kind, N: db.resets[kind]})
	}
	for _, reason := range slices.Sorted(maps.Keys(db.pins)) {
		s.Pins = append(s.Pins, admin.Count{Label: reason, N: db.pins[reason]})
		s.Pinned = append(s.Pinned, admin.Count{Label: reason, N: uint64(max(db.pinned[reason], 0))})
	}
	for _, u := range b.limitedUsers() {
		s.Users = append(s.Users, admin.UserSnapshot{Name: u.Name, Open: groups[u.Name].Open, MaxOpen: u.MaxOpen})
	}
	return s
}

// MySQLStatus is what a MySQL backend has beyond others.
type MySQLStatus struct {
	ServerVersion string            `json:"server_version"`         // as the server said; empty: it was not reached yet
	ServerError   string            `json:"server_error,omitempty"` // why it was not
	GreetsWith    string            `json:"greets_with,omitempty"`  // mysql.server_version
	IdleAttached  int64             `json:"idle_attached"`
	Mode          string            `json:"mode"`
	Pinned        map[string]int64  `json:"pinned,omitempty"` // clients by reason; mode transaction
	Resets        map[string]uint64 `json:"resets"`
	Users         []UserStatus      `json:"users,omitempty"` // those with max_open
}

// UserStatus is a user's share of a backend's connections.
type UserStatus struct {
	Name    string `json:"name"`
	MaxOpen int    `json:"max_open"`
	Open    int    `json:"open"`
	Leased  int    `json:"leased"`
	Waiting int    `json:"waiting"`
}

func (b *backend) mysqlStatus(db *databaseStats, groups map[string]pool.GroupStats) *MySQLStatus {
	st := &MySQLStatus{GreetsWith: b.cfg.MySQL.ServerVersion, Mode: b.cfg.MySQL.Mode, IdleAttached: db.idleAttached, Pinned: db.pinned, Resets: db.resets}
	switch l, err := b.server.Learned(); {
	case l != nil:
		st.ServerVersion = l.Version
	case err != nil:
		st.ServerError = err.Error()
	}
	for _, u := range b.limitedUsers() {
		g := groups[u.Name]
		st.Users = append(st.Users, UserStatus{Name: u.Name, MaxOpen: u.MaxOpen, Open: g.Open, Leased: g.Leased, Waiting: g.Waiting})
	}
	return st
}

// unreached says which of the servers that were there at the start are not known
// yet: until they are, clients cannot be greeted. Once is enough, so a backend
// that fails later takes no readiness away. It is called with mu held.
func (g *graph) unreached() []string {
	var missing []string
	for name := range g.unknown {
		b := g.backends[name]
		if b == nil || b.database == nil || b.cfg.MySQL.ServerVersion != "" {
			delete(g.unknown, name)
			continue
		}
		switch l, err := b.server.Learned(); {
		case l != nil:
			delete(g.unknown, name)
		case err != nil:
			missing = append(missing, fmt.Sprintf("backend %s: not reached yet: %v", name, err))
		default:
			missing = append(missing, fmt.Sprintf("backend %s: not reached yet", name))
		}
	}
	return missing
}
