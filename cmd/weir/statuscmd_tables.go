package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"weir/limiter"
	"weir/tcpstat"
)

// style is how a line stands out where the terminal can do that.
type style int

const (
	plainLine style = iota
	headLine
	warnLine // look at this
	badLine  // clients suffer
)

// screenLine is a line of the screen, clean and as wide as it may be.
type screenLine struct {
	text  string
	style style
}

// screenTable is a table of the screen. Its first column is names, and what the screen is
// wider than needed goes to that.
type screenTable struct {
	heads  []string
	widths []int
	rows   []screenRow
}

type screenRow struct {
	cells []string
	note  string // in place of cells: more on the row before it
	style style
	busy  float64 // of two rows of one style the busier one is shown, where there is room for one
}

// nameWidth is the least width of the names, so that each table has 80 columns.
func (t *screenTable) nameWidth() int {
	w := screenWidth
	for _, n := range t.widths {
		w -= n
	}
	return w
}

// lines writes the table into a width and a number of rows. Of a table that is too
// long the rows that matter most are shown, and how many are not.
func (t *screenTable) lines(width, rows int) []screenLine {
	name := t.nameWidth()
	if longest := slices.Max(append(lengths(t.rows), name)) + 1; width > screenWidth {
		name += min(width-screenWidth, max(longest-name, 0))
	}
	out := []screenLine{{t.line(t.heads, name, width), headLine}}
	shown, hidden := t.rows, 0
	if len(shown) > rows {
		shown = slices.Clone(shown)
		slices.SortStableFunc(shown, func(a, b screenRow) int {
			if a.style != b.style {
				return int(b.style - a.style)
			}
			return cmp.Compare(b.busy, a.busy)
		})
		for _, r := range shown[max(rows-1, 0):] {
			if r.cells != nil {
				hidden++
			}
		}
		shown = shown[:max(rows-1, 0)]
	}
	for _, r := range shown {
		text := fit(r.note, width)
		if r.cells != nil {
			text = t.line(r.cells, name, width)
		}
		out = append(out, screenLine{text, r.style})
	}
	if hidden > 0 {
		out = append(out, screenLine{fit(fmt.Sprintf("... and %d more", hidden), width), plainLine})
	}
	return out
}

func lengths(rows []screenRow) (out []int) {
	for _, r := range rows {
		if r.cells != nil {
			out = append(out, len([]rune(r.cells[0])))
		}
	}
	return out
}

func (t *screenTable) line(cells []string, name, width int) string {
	var b strings.Builder
	b.WriteString(left(fit(cells[0], name-1), name))
	for i, c := range cells[1:] {
		b.WriteString(right(fit(c, t.widths[i]-1), t.widths[i]))
	}
	return fit(strings.TrimRight(b.String(), " "), width)
}

func listenerTable(p *statusPage, r statusRates) *screenTable {
	t := &screenTable{
		heads:  []string{"LISTENER", "PROTO", "CLIENTS", "ACCEPTING", "REQ/S", "ERR/S", "SHED/S", "P50", "P99"},
		widths: []int{6, 8, 10, 8, 7, 7, 8, 8},
	}
	for _, l := range p.Listeners {
		s, known := r.listeners[l.Name]
		row := screenRow{busy: s.Requests, cells: []string{clean(l.Name), clean(l.Protocol), count(l.Clients), "yes", "-", "-", "-", "-", "-"}}
		if known {
			copy(row.cells[4:], []string{perSecond(s.Requests), perSecond(s.Errors), perSecond(s.Shed), latency(s.P50), latency(s.P99)})
		}
		if s.Errors > 0 || s.Shed > 0 {
			row.style = warnLine
		}
		if !l.Accepting {
			row.cells[3], row.style = "NO", badLine
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func backendTable(p *statusPage, r statusRates) *screenTable {
	t := &screenTable{
		heads:  []string{"BACKEND", "MODE", "OPEN/MAX", "LEASED", "IDLE", "WAIT", "REUSE", "DIALS/S", "PORTS", "ENDS IN"},
		widths: []int{9, 10, 7, 6, 6, 7, 8, 6, 8},
	}
	ports := map[string]*PortsStatus{}
	for _, g := range p.Sockets.Backends {
		ports[g.Name] = scarcest(g.Ports)
	}
	for _, b := range p.Backends {
		row := screenRow{busy: float64(b.Leased + b.Waiting), cells: []string{
			clean(b.Name), clean(b.Mode.Now), count(b.Open) + "/" + count(b.MaxOpen),
			count(b.Leased), count(b.Idle), count(b.Waiting), "-", "-", "-", "-",
		}}
		if s, ok := b.reuse(); ok {
			row.cells[6] = share(s)
		}
		if d, ok := r.dials[b.Name]; ok {
			row.cells[7] = perSecond(d)
		}
		left := ports[b.Name]
		if left != nil {
			row.cells[8] = count(left.Free)
			if left.SecondsLeft != nil {
				row.cells[9] = span(*left.SecondsLeft)
			}
		}
		switch m, _ := limiter.ParseMode(b.Mode.Now); {
		case m >= limiter.ModeShedding, b.dialsFail(), left != nil && left.Free == 0:
			row.style = badLine
		case m > limiter.ModeNormal, left != nil && left.SecondsLeft != nil, b.HoldDown != "":
			row.style = warnLine
		}
		if b.Mode.ByHand {
			row.style = max(row.style, warnLine)
		}
		t.rows = append(t.rows, row)
		if b.Mode.ByHand {
			note := "  mode by hand; weir mode -config FILE " + b.Name + " auto ends it"
			t.rows = append(t.rows, screenRow{note: clean(note), style: row.style, busy: row.busy})
		}
		if b.dialsFail() {
			t.rows = append(t.rows, screenRow{note: clean("  dials fail" + b.trouble()), style: row.style, busy: row.busy})
		}
	}
	return t
}

// dialsFail says that the last dial failed and there is no connection to go on with.
func (b *BackendStatus) dialsFail() bool { return b.trouble() != "" && b.Idle+b.Leased == 0 }

// trouble is why the last dial failed, or why a MySQL server was never reached, and
// how long ago; empty: neither is so.
func (b *BackendStatus) trouble() string {
	switch {
	case b.LastError != "":
		age := ""
		if b.ErrorAge >= 1 {
			age = ", " + span(b.ErrorAge) + " ago"
		}
		return age + ": " + strings.TrimPrefix(b.LastError, fmt.Sprintf("backend %q: ", b.Name))
	case b.MySQL != nil && b.MySQL.ServerError != "":
		return ": " + b.MySQL.ServerError
	}
	return ""
}

// scarcest is the pair of addresses whose ports end first, nil without any.
func scarcest(all []PortsStatus) (least *PortsStatus) {
	for i := range all {
		p := &all[i]
		switch {
		case least == nil, p.SecondsLeft != nil && (least.SecondsLeft == nil || *p.SecondsLeft < *least.SecondsLeft),
			p.SecondsLeft == nil && least.SecondsLeft == nil && p.Headroom < least.Headroom:
			least = p
		}
	}
	return least
}

// socketColumns are the states with a column, in the order of a connection's life.
var socketColumns = []struct {
	head  string
	state tcpstat.State
}{
	{"LISTN", tcpstat.Listen}, {"SYN-S", tcpstat.SynSent}, {"SYN-R", tcpstat.SynRecv}, {"ESTAB", tcpstat.Established},
	{"FIN-1", tcpstat.FinWait1}, {"FIN-2", tcpstat.FinWait2}, {"CLOSG", tcpstat.Closing}, {"TIMEW", tcpstat.TimeWait},
	{"CLOSW", tcpstat.CloseWait}, {"LACK", tcpstat.LastAck},
}

// socketTable has the sockets of weir, and in its last column those that other
// processes have at the same addresses, whatever their state.
func socketTable(p *statusPage) *screenTable {
	t := &screenTable{heads: []string{"SOCKETS"}}
	for _, c := range socketColumns {
		t.heads, t.widths = append(t.heads, c.head), append(t.widths, 6)
	}
	t.heads, t.widths = append(t.heads, "OTHER"), append(t.widths, 6)
	add := func(arrow string, groups []SocketGroup) {
		for _, g := range groups {
			row := screenRow{cells: []string{arrow + clean(g.Name)}}
			others := 0
			for _, c := range socketColumns {
				n := 0
				for owner, m := range g.States[c.state.Label()] {
					if owner == tcpstat.Other.Label() {
						others += m
						continue
					}
					n += m
				}
				row.cells, row.busy = append(row.cells, count(n)), row.busy+float64(n)
			}
			row.cells = append(row.cells, count(others))
			t.rows = append(t.rows, row)
		}
	}
	add("> ", p.Sockets.Listeners)
	add("< ", p.Sockets.Backends)
	return t
}
