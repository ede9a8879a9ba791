package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// clean makes a text of weir's, or of whoever answers in its place, harmless to a
// terminal: what a backend says can be in it, and an escape sequence in that would
// be carried out. Each character it leaves is one column wide.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case r == utf8.RuneError, r > unicode.MaxLatin1, !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

// fit cuts a clean text to a width, and shows that it did.
func fit(s string, width int) string {
	r := []rune(s)
	switch {
	case len(r) <= width:
		return s
	case width <= 0:
		return ""
	}
	return string(r[:width-1]) + "~"
}

// left and right fill a text up to a width.
func left(s string, width int) string {
	s = fit(s, width)
	return s + strings.Repeat(" ", width-utf8.RuneCountInString(s))
}

func right(s string, width int) string {
	s = fit(s, width)
	return strings.Repeat(" ", width-utf8.RuneCountInString(s)) + s
}

// count writes a number in five columns or less.
func count[N int | int64 | uint64](n N) string {
	switch v := float64(n); {
	case v < 1e5:
		return strconv.FormatInt(int64(n), 10)
	case v < 1e6:
		return fmt.Sprintf("%.0fk", v/1e3)
	case v < 1e9:
		return fmt.Sprintf("%.1fM", v/1e6)
	default:
		return fmt.Sprintf("%.1fG", v/1e9)
	}
}

// perSecond writes a rate: small ones with a digit behind the point, so that one
// in ten seconds is seen.
func perSecond(v float64) string {
	if v > 0 && v < 99.95 {
		return fmt.Sprintf("%.1f", v)
	}
	return count(int64(v + 0.5))
}

// span writes seconds in six columns or less.
func span(seconds float64) string {
	d := time.Duration(min(max(seconds, 0), 1e9) * float64(time.Second))
	switch {
	case d == 0:
		return "0"
	case d < time.Millisecond:
		return fmt.Sprintf("%dus", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", seconds*1e3)
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case seconds < 59.95:
		return fmt.Sprintf("%.1fs", seconds)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// latency is span of what a request took: none took nothing.
func latency(seconds float64) string {
	if seconds <= 0 {
		return "-"
	}
	return span(seconds)
}

// share writes a part of 1 as the dashboard does: cut, so that 100% is all of it.
func share(v float64) string {
	cut := math.Floor(v*1e4+1e-9) / 100
	if cut == 100 {
		return "100%"
	}
	return fmt.Sprintf("%.2f%%", cut)
}
