// Package audit looks at what a kernel is set to and holds, and says whether a
// pooling proxy can live with it: the checks of weir doctor.
//
// A check is one row of a table, a pure function of a Machine and a Plan. It
// changes nothing and opens nothing but files of /proc, /sys and /etc, through an
// fs.FS. What it cannot read is Unknown and never a failure: containers hide
// files, and kernels differ.
//
// Which settings are worth a look, and what is wrong with much of the advice
// about them, follows ip-sysctl and nf_conntrack-sysctl of the kernel's
// documentation and net/ipv4 of its source.
package audit

import (
	"errors"
	"fmt"
	"io/fs"
)

// Verdict is what a check came to.
type Verdict string

const (
	Pass    Verdict = "pass"
	Warn    Verdict = "warn"    // works, but will hurt under load, or does not do what was wished for
	Fail    Verdict = "fail"    // hurts now, or the configuration cannot work at its bounds
	Unknown Verdict = "unknown" // could not be looked at
)

// Finding is the result of one check.
type Finding struct {
	Name     string   `json:"name"`
	Verdict  Verdict  `json:"verdict"`
	Found    string   `json:"found"`
	Wanted   string   `json:"wanted,omitempty"`
	Why      string   `json:"why"`
	Sources  []string `json:"sources"`          // files and lists that were looked at
	Remedy   *Remedy  `json:"remedy,omitempty"` // of Warn and Fail
	NotFixed string   `json:"not_fixed"`        // what the remedy will not do
}

// Report is everything an audit has to say. Its JSON is what scripts read: names
// are only added to it.
type Report struct {
	Kernel   string    `json:"kernel"`
	Place    Place     `json:"place"`
	Findings []Finding `json:"checks"`
	Advice   []Answer  `json:"advice"`
}

// Run makes all checks, in a fixed order. plan is nil where there is no
// configuration: ports are then judged by what the kernel shows now.
func Run(m *Machine, plan *Plan) Report {
	r := Report{Kernel: m.release(), Place: m.place(), Findings: make([]Finding, 0, len(checks)), Advice: answers(m)}
	for _, c := range checks {
		res := c.look(m, plan)
		f := Finding{Name: c.name, Verdict: res.verdict, Found: res.found, Wanted: res.wanted, Why: c.why, Sources: c.sources, NotFixed: c.notFixed}
		if res.verdict == Warn || res.verdict == Fail {
			f.Remedy = remedy(res.do, res.set)
		}
		r.Findings = append(r.Findings, f)
	}
	return r
}

// Count returns how many checks came to v.
func (r *Report) Count(v Verdict) int {
	n := 0
	for _, f := range r.Findings {
		if f.Verdict == v {
			n++
		}
	}
	return n
}

// check is a row of the table.
type check struct {
	name     string
	why      string
	notFixed string
	sources  []string
	can      []Verdict // what look may come to besides Unknown
	look     func(*Machine, *Plan) result
}

// result is what look found. set holds the settings that would make it pass, do
// says the same in words where a setting is not the answer.
type result struct {
	verdict       Verdict
	found, wanted string
	do            string
	set           []Setting
}

// full makes the verdict worse where n of most is at least the percentage warn, or
// fail.
func (r *result) full(n, most, warn, fail int64) {
	switch {
	case n*100 >= most*fail:
		r.verdict = Fail
	case n*100 >= most*warn:
		r.verdict = Warn
	}
}

// unknown is the result where something could not be read.
func unknown(err error) result {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist) && errors.As(err, &path):
		return result{verdict: Unknown, found: fmt.Sprintf("/%s is not there: a sandbox hides it, or the kernel was built without it", path.Path)}
	case errors.As(err, &path):
		return result{verdict: Unknown, found: fmt.Sprintf("/%s: %v", path.Path, path.Err)}
	}
	return result{verdict: Unknown, found: err.Error()}
}
