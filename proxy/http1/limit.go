package http1

import (
	"math/rand/v2"
	"strconv"
	"time"

	"weir/limiter"
	"weir/proxy/fault"
	"weir/proxy/fault/overlimit"
)

// admit takes the request through the gates of its listener, route and backend,
// without a route through the first alone. Where one refuses it, the request has
// been answered.
func (s *session) admit() (in, keep bool) {
	s.lines = s.lines[:0]
	now := limiter.Nanos(s.began)
	for _, l := range s.limits() {
		if l == nil || l.Gate == nil {
			continue
		}
		v, wait := s.way.Enter(l.Gate, now, s.keyOf(&l.By))
		if v != limiter.Pass {
			return false, s.over(l, v, wait, now)
		}
	}
	s.sayLeft(now)
	s.patience = 0
	return true, false
}

// keyOf finds who is counted.
func (s *session) keyOf(by *limiter.KeyBy) limiter.Key {
	if by.Header == "" {
		return limiter.KeyOfAddr(s.peer, by.IPv4, by.IPv6)
	}
	return limiter.KeyOfBytes(s.field(by.Header))
}

// field is the value of the field of that name, nil without one. It is nil, too, if
// there are several, or one that CGI and its heirs take for the same (X_Key for
// X-Key): whoever reads another of them than we do would be told something else.
func (s *session) field(name string) []byte {
	buf := s.in.bytes()
	var value []byte
	n := 0
	for i := range s.req.Fields {
		f := &s.req.Fields[i]
		if !foldTwin(f.Name.of(buf), name) {
			continue
		}
		if n++; n > 1 || !foldEqual(f.Name.of(buf), name) {
			return nil
		}
		value = f.Value.of(buf)
	}
	return value
}

// foldEqual compares two names of the same length without their case.
func foldEqual(a []byte, b string) bool {
	for i := range len(b) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// saidClass is the class that a trusted proxy gives the request, or else.
func (s *session) saidClass(or limiter.Class) limiter.Class {
	v := s.field(s.set.ClassField)
	if len(v) != 1 || v[0] < '1' || v[0] > '5' {
		return or
	}
	return limiter.Class(v[0] - '0')
}

// over answers a request that is over a limit. The head was read and what of the
// body has come with it; no more is waited for.
func (s *session) over(l *overlimit.Limit, v limiter.Verdict, wait time.Duration, now int64) (keep bool) {
	k := overlimit.Kind(v)
	l.Log(s.front.log, s.front.name, v, now)
	if s.body.check() != fault.None { // it is refused in any case, and then closed
		s.body.done = false
	}
	after := ceilSeconds(wait)
	s.lines = appendRetryAfter(s.lines[:0], wait)
	if v == limiter.OverPerRate {
		s.lines = appendRateLimit(s.lines, l.By.Name(), l.Gate.Options().PerRate, 0, after)
		if s.patience.Refuse() {
			s.hold = wait
		}
	}
	s.lines = append(s.lines, s.modeLine()...)
	s.counts.count(k)
	took := s.observe()
	keep = s.writeFault(k, k.Answer(), s.lines)
	s.logEnd(k.String(), took)
	return keep
}

func appendRetryAfter(b []byte, wait time.Duration) []byte {
	b = append(b, "Retry-After: "...)
	b = strconv.AppendInt(b, max(ceilSeconds(wait), 1)+rand.Int64N(retrySpread), 10)
	return append(b, "\r\n"...)
}

// retrySpread spreads Retry-After, so that those who are refused together do not
// come back together.
const retrySpread = 3

// sayLeft notes what the client has left of its rate, for the response.
func (s *session) sayLeft(now int64) {
	g, limit, left, full := s.way.Left(now)
	if g == nil {
		return
	}
	for _, l := range s.limits() {
		if l != nil && l.Gate == g {
			s.lines = appendRateLimit(s.lines, l.By.Name(), limit, left, ceilSeconds(full))
		}
	}
}

// limits are those that the request meets, in order.
func (s *session) limits() [3]*overlimit.Limit {
	if s.route == nil {
		return [...]*overlimit.Limit{&s.set.Limit, nil, nil}
	}
	return [...]*overlimit.Limit{&s.set.Limit, &s.route.Limit, &s.route.Backend.Limit}
}

// appendRateLimit appends RateLimit-Policy and RateLimit as
// draft-ietf-httpapi-ratelimit-headers-11 has them: the quota q in a window of w
// seconds, of which r are left for t seconds.
func appendRateLimit(b []byte, name string, l limiter.Limit, left int, t int64) []byte {
	b = append(b, "RateLimit-Policy: \""...)
	b = append(b, name...)
	b = append(b, "\";q="...)
	b = strconv.AppendInt(b, int64(l.Burst()), 10)
	b = append(b, ";w="...)
	b = strconv.AppendInt(b, max(1, ceilSeconds(l.Interval()*time.Duration(l.Burst()))), 10)
	b = append(b, "\r\nRateLimit: \""...)
	b = append(b, name...)
	b = append(b, "\";r="...)
	b = strconv.AppendInt(b, int64(left), 10)
	b = append(b, ";t="...)
	b = strconv.AppendInt(b, t, 10)
	return append(b, "\r\n"...)
}

func ceilSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
