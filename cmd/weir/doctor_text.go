package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"weir/internal/oplog"
	"weir/tcpstat/audit"
)

// verdicts in the order in which they are printed: what needs doing comes last,
// where a terminal shows it.
var verdicts = []audit.Verdict{audit.Pass, audit.Unknown, audit.Warn, audit.Fail}

// doctorWidth is what a paragraph is broken at. Commands are not broken: they are
// there to be copied.
const doctorWidth = 80

// hue is the colour of a verdict: SGR parameters of ECMA-48.
var hue = map[audit.Verdict]string{audit.Pass: "32", audit.Warn: "33", audit.Fail: "31", audit.Unknown: "36"}

// colours says whether w is a terminal whose user has nothing against colours
// (no-color.org).
func colours(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && oplog.Terminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func printDoctorText(w io.Writer, r *doctorReport, colour bool) error {
	out := bufio.NewWriter(w) // it keeps the first error
	by := "by what the kernel shows now; -config FILE judges by a configuration"
	if r.Config != "" {
		by = "by what " + r.Config + " can need"
	}
	kernel := r.Kernel
	if kernel == "" {
		kernel = "of a version that is hidden (/proc/sys/kernel/osrelease)"
	}
	fmt.Fprintf(out, "Linux %s, %s; %s\n\n", kernel, r.Place, by)
	for _, v := range verdicts {
		for _, f := range r.Findings {
			if f.Verdict == v {
				printFinding(out, f, r.Place, colour)
			}
		}
	}
	for i, a := range r.Advice {
		if i == 0 {
			fmt.Fprintf(out, "\nadvice that is followed here, and what is true of it:\n")
		}
		fmt.Fprintf(out, "  %s (%s)\n", a.Name, a.Found)
		paragraph(out, "    ", a.Answer)
	}
	for i, c := range r.Measured {
		if i == 0 {
			fmt.Fprintln(out)
		}
		paragraph(out, "", costText(c))
	}
	if r.Unable != "" {
		fmt.Fprintln(out)
		paragraph(out, "", "not measured: "+r.Unable)
	}
	fmt.Fprintf(out, "\n%s: %d pass, %d warn, %d fail, %d unknown\n", number(len(r.Findings), "check"),
		r.Counts[audit.Pass], r.Counts[audit.Warn], r.Counts[audit.Fail], r.Counts[audit.Unknown])
	return out.Flush()
}

// printFinding is a line, and a paragraph where there is something to do.
func printFinding(out io.Writer, f audit.Finding, place audit.Place, colour bool) {
	word := fmt.Sprintf("%-7s", f.Verdict)
	if colour {
		word = "\x1b[" + hue[f.Verdict] + "m" + word + "\x1b[0m"
	}
	if f.Remedy == nil {
		fmt.Fprintf(out, "%s  %s: %s\n", word, f.Name, f.Found)
		return
	}
	fmt.Fprintf(out, "\n%s  %s\n", word, f.Name)
	paragraph(out, "  found:   ", f.Found)
	paragraph(out, "  wanted:  ", f.Wanted)
	paragraph(out, "  why:     ", f.Why)
	label := "  do:      "
	for _, line := range f.Remedy.At(place) {
		fmt.Fprintf(out, "%s%s\n", label, line)
		label = "           "
	}
	if f.Remedy.Do != "" {
		paragraph(out, label, f.Remedy.Do)
	}
	paragraph(out, "  but:     ", "it does not fix "+f.NotFixed)
}

// paragraph breaks text between words; all but its first line are indented by
// the length of label.
func paragraph(out io.Writer, label, text string) {
	line := label
	begun := false
	for word := range strings.FieldsSeq(text) {
		switch {
		case !begun:
			line += word
			begun = true
		case len(line)+1+len(word) > doctorWidth:
			fmt.Fprintln(out, line)
			line = strings.Repeat(" ", len(label)) + word
		default:
			line += " " + word
		}
	}
	fmt.Fprintln(out, line)
}

// costText says what was measured, how, and how sure that is.
func costText(c audit.Cost) string {
	sure := fmt.Sprintf("steps from %.0f to %.0f", c.Low, c.High)
	if !c.Sure {
		sure += ", far apart: other work of the machine is in them, so measure again when it is quiet"
	}
	return fmt.Sprintf("measured: a TIME_WAIT takes %.0f bytes of the kernel's memory at the %s side (%s; %d sockets, by %s); a million of them take %.0f MB",
		c.Bytes, c.Side, sure, c.Sockets, c.Source, c.Bytes)
}
