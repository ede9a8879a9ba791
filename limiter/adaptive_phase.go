package limiter

import "math"

// window is what was seen between two decisions.
type window struct {
	limit      float64
	requests   float64 // that succeeded
	throughput float64 // of these, per second
	log        float64 // mean of the logarithms of their response times in ns
	variance   float64 // of that mean
	full       float64 // share of them that ended with the limit used up
	failed     float64 // share of all
}

// deviation is the standard deviation of the logarithms of single response times.
func (w window) deviation() float64 { return math.Sqrt(w.variance * w.requests) }

// level is the mean of windows at one limit.
type level struct {
	window
	n float64
}

func (l *level) add(w window) {
	l.n++
	log, throughput := l.log, l.throughput
	if l.n == 1 {
		log, throughput = w.log, w.throughput
	}
	l.window = w
	l.log = log + (w.log-log)/l.n
	l.throughput = throughput + (w.throughput-throughput)/l.n
	l.variance = w.variance / l.n
}

// kneePhase is what the knee is doing.
type kneePhase uint8

const (
	slack kneePhase = iota
	holding
	looking
	searching
	kneePhases
)

var kneePhaseNames = [kneePhases]string{"slack", "holding", "looking", "searching"}

func (p kneePhase) String() string { return kneePhaseNames[p] }

var kneeEdges = [kneePhases][kneePhases]bool{
	slack:     {holding: true},
	holding:   {slack: true, looking: true, searching: true},
	looking:   {slack: true, holding: true, searching: true},
	searching: {slack: true, holding: true},
}

// to changes the phase. An edge that is not in the table is a bug.
func (k *knee) to(next kneePhase) {
	if !kneeEdges[k.phase][next] {
		panic("BUG: adaptive limit goes from " + k.phase.String() + " to " + next.String())
	}
	k.edges[k.phase][next]++
	k.phase = next
}
