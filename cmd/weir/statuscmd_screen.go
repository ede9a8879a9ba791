package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The screen that everything is laid out for. On a smaller one lines are cut.
const (
	screenWidth  = 80
	screenHeight = 24
)

// statusView is what is on the screen.
type statusView struct {
	page  *statusPage
	rates statusRates
	at    time.Time // of page
	now   time.Time
	lost  error // why there is no newer page, nil if this is the newest
}

// render writes a view into a width and a height; height 0 is as many lines as
// there are.
func render(v *statusView, width, height int) []screenLine {
	tables := []*screenTable{listenerTable(v.page, v.rates), backendTable(v.page, v.rates), socketTable(v.page)}
	var want []int
	for _, t := range tables {
		want = append(want, len(t.rows))
	}
	top, bottom := []screenLine{v.title(width), v.state(width)}, v.foot(width)
	fixed := len(top) + len(tables) + len(bottom)
	gaps := true // an empty line before each table and the foot
	if height > 0 {
		gaps = fixed+len(tables)+1+sum(want) <= height
		want = allot(height-fixed, want)
	}
	out := top
	for i, t := range tables {
		if gaps {
			out = append(out, screenLine{})
		}
		out = append(out, t.lines(width, want[i])...)
	}
	if gaps {
		out = append(out, screenLine{})
	}
	out = append(out, bottom...)
	if height > 0 {
		out = out[:min(len(out), height)]
	}
	return out
}

// allot shares rows out: the longest table gives the first.
func allot(rows int, want []int) []int {
	got := slices.Clone(want)
	for sum(got) > max(rows, 0) {
		got[slices.Index(got, slices.Max(got))]--
	}
	return got
}

func sum(n []int) (total int) {
	for _, v := range n {
		total += v
	}
	return total
}

func (v *statusView) title(width int) screenLine {
	at := v.at.Format(time.TimeOnly)
	l := clean(fmt.Sprintf("weir %s, up %s, %s", v.page.Version, span(float64(v.page.UptimeSeconds)), v.page.Config))
	if room := width - len(at) - 1; room > 20 {
		return screenLine{left(l, room) + " " + at, headLine}
	}
	return screenLine{fit(l, width), headLine}
}

// state is the line of weir itself: what it takes, and how short it is.
func (v *statusView) state(width int) screenLine {
	var parts []string
	style := plainLine
	if len(v.page.NotAccepting) > 0 {
		style = badLine
		why := strings.ReplaceAll(strings.Join(v.page.NotAccepting, ", "), "clients are not accepted: ", "")
		parts = append(parts, "NOT ACCEPTING: "+why)
	} else {
		parts = append(parts, "accepting")
	}
	for _, name := range slices.Sorted(maps.Keys(v.page.Pressure)) {
		p := v.page.Pressure[name]
		if p.Bound == 0 {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %.0f%%", name, 100*float64(p.Used)/float64(p.Bound)))
		if p.Short && style == plainLine {
			style = warnLine
		}
	}
	text := clean(strings.Join(parts, ", "))
	if v.lost != nil {
		text, style = clean(fmt.Sprintf("NO ANSWER for %s: %v", span(v.now.Sub(v.at).Seconds()), v.lost)), badLine
	}
	return screenLine{fit(text, width), style}
}

// foot is the kernel's own counts, and the last thing that happened.
func (v *statusView) foot(width int) []screenLine {
	s := &v.page.Sockets
	kernel := screenLine{"", plainLine}
	overflows := count(s.Kernel.ListenOverflows) + " accept overflows ever" // of the namespace, perhaps long ago
	if r := v.rates.overflows; r != nil {
		overflows = perSecond(*r) + " accept overflows/s"
		if *r > 0 {
			kernel.style = warnLine
		}
	}
	kernel.text = fit(fmt.Sprintf("kernel %s ago: %s TIME-WAIT, %s orphans, %s",
		span(s.AgeSeconds), count(s.Kernel.TimeWait), count(s.Kernel.Orphans), overflows), width)
	if s.Error != "" {
		kernel = screenLine{fit("the sockets could not be listed: "+clean(s.Error), width), warnLine}
	}
	last := screenLine{fit("last event: none", width), plainLine}
	if e := v.page.LastEvent; e != nil {
		text := fmt.Sprintf("last event: %s ago, %s", span(v.now.Sub(e.Time).Seconds()), e.Message)
		for _, a := range e.Attrs {
			text += " " + a[0] + "=" + a[1]
		}
		last.text = fit(clean(text), width)
		if e.Level == "WARN" || e.Level == "ERROR" {
			last.style = warnLine
		}
	}
	return []screenLine{kernel, last}
}

// ANSI, ECMA-48 section 8.3.117 (SGR); the alternate screen is xterm's, and that of
// all who came after.
const (
	sgrReset = "\x1b[0m"

	enterScreen = "\x1b[?1049h\x1b[?25l" // the other screen, no cursor
	leaveScreen = "\x1b[0m\x1b[?25h\x1b[?1049l"
	toTop       = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

var sgr = map[style]string{headLine: "\x1b[1m", warnLine: "\x1b[33m", badLine: "\x1b[1;31m"}

// colored is a line with what makes it stand out. Without color a line that
// matters is told apart by nothing: its words say it too.
func (l screenLine) colored(color bool) string {
	if on := sgr[l.style]; color && on != "" && l.text != "" {
		return on + l.text + sgrReset
	}
	return l.text
}

// write joins lines for whoever reads them once.
func write(lines []screenLine, color bool) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.colored(color) + "\n")
	}
	return b.String()
}

// redraw writes lines over what is on a screen of that size, without clearing it
// first, which would flicker. Behind a line that fills its row nothing may be
// cleared: the cursor still stands on its last character.
func redraw(lines []screenLine, color bool, width, height int) string {
	var b strings.Builder
	b.WriteString(toTop)
	for i, l := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(l.colored(color))
		if utf8.RuneCountInString(l.text) < width {
			b.WriteString(clearLine)
		}
	}
	if len(lines) < height {
		b.WriteString("\n" + clearBelow)
	}
	return b.String()
}
