package audit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"weir/tcpstat"
)

const (
	// wideRange is what is proposed: it begins above the ports that services
	// listen on by habit, and its ends differ in parity.
	wideRange = "10240 65535"
	wideLow   = 10240
	wideHigh  = 65535

	// fewPorts is where a range without a configuration to judge it by looks
	// narrowed: the kernel's own has 28,232.
	fewPorts = 16384
	tooFew   = 1024
)

// portBudget judges each destination: the verdict is the worst of theirs, and
// what is told is of those that have it.
func portBudget(m *Machine, plan *Plan) result {
	p, err := m.ports()
	if err != nil {
		return unknown(err)
	}
	n := int64(p.Count)
	widen, words := m.widen(plan)
	if plan == nil {
		r := result{verdict: Pass, found: many(n) + " ports for each destination", wanted: "at least " + many(fewPorts), set: widen,
			do: "give -config FILE to have it judged by what the configuration can need" + words}
		if n < fewPorts {
			r.verdict = Warn
			r.found += fmt.Sprintf(", %s of the kernel's own 28,232", part(n, 28232))
		}
		if n < tooFew {
			r.verdict = Fail
		}
		return r
	}
	all := plan.demands()
	if len(all) == 0 {
		return result{verdict: Pass, found: many(n) + " ports for each destination, and no backend that is reached over TCP", wanted: "none"}
	}
	v, of := gravest(all, n)
	need, half := int64(0), false
	for i := range of {
		if d := &of[i]; d.need() > need {
			need, half = d.need(), d.need() > d.worst
		}
	}
	told := of
	if v == Pass {
		told = of[:1]
	}
	r := result{verdict: v, set: widen, found: many(n) + " ports for each destination; " + texts(told), wanted: "at least " + many(need)}
	if half {
		r.wanted += ", as connect() is slower from half on"
	}
	r.do = "lower pool.max_open and dial.rate, or share the load with a backend at another address, or with another source: each pair of them has the whole range for itself" + words
	switch {
	case len(widen) == 0:
	case need > wideHigh-wideLow+1:
		r.do = "and, as that range is not enough either, " + r.do
	default:
		r.do = "or " + r.do
	}
	var names []string
	for i := range all {
		if d := &all[i]; d.name != "" {
			names = append(names, d.title())
		}
	}
	if len(names) > 0 {
		r.found += "; " + noAddress(names) + ", so whether other backends share its ports is not known"
		if r.verdict == Pass {
			r.verdict = Unknown
		}
	}
	return r
}

// widen returns the settings that make the range wide, and the words that go
// behind others of a remedy. The listeners' ports come first: connect() must not
// take them. There is nothing to set where the range is as wide already.
func (m *Machine) widen(plan *Plan) (all []Setting, words string) {
	if p, err := m.portRange(); err == nil && p.Low <= wideLow && p.High == wideHigh {
		return nil, ""
	}
	if plan == nil {
		return set(rangeKey, wideRange), fmt.Sprintf("; reserve the ports from %d on that servers here listen on (%s) before the range is made wider", wideLow, reservedKey)
	}
	ports, value := m.reserve(plan)
	if len(ports) > 0 {
		all = set(reservedKey, value)
		words = fmt.Sprintf("; reserve the listeners' ports (%s) before the range is made wider, as they lie in it: %s", reservedKey, strings.Join(ports, ", "))
	}
	return append(all, Setting{rangeKey, wideRange}), words
}

// reserve returns the listeners' ports that are in the range or would be in a wide
// one, but those that are reserved, and the setting that reserves them too. Every
// remedy names all of them, so that none takes back what another has set.
func (m *Machine) reserve(plan *Plan) (ports []string, value string) {
	now, err := m.ports()
	if err != nil {
		return nil, ""
	}
	reserved, _ := m.text(sysctlFile(reservedKey))
	wide := new(tcpstat.LocalPorts)
	if err := wide.SetRange([]byte(wideRange), []byte(reserved)); err != nil {
		return nil, ""
	}
	for _, l := range plan.Listeners {
		if p := strconv.Itoa(int(l.Port)); (now.Has(l.Port) || wide.Has(l.Port)) && !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	return ports, strings.TrimPrefix(strings.TrimSpace(reserved)+","+strings.Join(ports, ","), ",")
}
