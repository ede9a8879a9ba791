package configs

import "time"

func (ch *checker) backend(b *Backend, path string) {
	if n := len(b.Endpoints); n > 1 {
		ch.reject(path+".endpoints", "has %d entries; this version takes one endpoint for each backend", n)
	}
	ch.source(b, path)
	ch.pool(b, path)
	ch.reserved(b, path)
	ch.users(b, path)
	ch.backendTLS(b, path+".tls")
	ch.overload(&b.Overload, path+".overload")
	if b.Queue.Max == 0 && ch.set[path+".queue.timeout"] {
		ch.warn(path+".queue.timeout", "has no effect: queue.max 0 lets none wait")
	}
	if at := path + ".queue.target"; b.Queue.Max == 0 && b.Queue.Target > 0 && ch.good(path+".queue.max") {
		ch.warn(at, "has no effect: queue.max 0 lets none wait")
	} else if q := &b.Queue; q.Target >= q.Timeout && ch.set[path+".queue.target"] {
		ch.warn(path+".queue.target", "%s has no effect: queue.timeout, which is %s, ends each wait before it; write less, such as 5ms", FormatDuration(q.Target), FormatDuration(q.Timeout))
	}
}

func (ch *checker) pool(b *Backend, path string) {
	p, at := b.Pool, func(key string) string { return path + ".pool." + key }
	if ch.good(at("min_idle"), at("max_open")) && p.MinIdle > p.MaxOpen {
		ch.reject(at("min_idle"), "must be at most max_open, which is %d, is %d", p.MaxOpen, p.MinIdle)
	}
	// Connections that live for less than a second are dialled nearly as often
	// as they are used: TIME_WAIT or resets instead of reuse.
	if p.IdleTimeout < time.Second {
		ch.warn(at("idle_timeout"), "%s closes connections before most can be used again; 1s is the least that makes sense", FormatDuration(p.IdleTimeout))
	}
	if p.MaxLifetime < p.IdleTimeout {
		ch.warn(ch.written(at("idle_timeout"), at("max_lifetime")), "idle_timeout %s never comes: max_lifetime closes connections after %s",
			FormatDuration(p.IdleTimeout), FormatDuration(p.MaxLifetime))
	}
	if p.MaxLifetime < 10*time.Second {
		ch.warn(at("max_lifetime"), "%s makes up to %d new connections each second; 1m and more is usual",
			FormatDuration(p.MaxLifetime), int(float64(p.MaxOpen)/p.MaxLifetime.Seconds())+1)
	}
	// Readiness waits for min_idle.
	if fill := time.Duration(float64(p.MinIdle) / b.Dial.Rate.PerSecond() * float64(time.Second)); fill > 30*time.Second {
		ch.warn(at("min_idle"), "%d connections at a dial.rate of %s take %s, and weir is not ready before", p.MinIdle, b.Dial.Rate, FormatDuration(fill.Round(time.Second)))
	}
}

// written is the first of these paths that the file wrote, else the first.
func (ch *checker) written(paths ...string) string {
	for _, p := range paths {
		if ch.set[p] {
			return p
		}
	}
	return paths[0]
}

const (
	// requestBuffer and responseBuffer are what one exchange may hold of its
	// bodies, so that a backend connection is free while a client is slow.
	requestBuffer  = 64 * kibibyte
	responseBuffer = 256 * kibibyte
)

// memory compares the bound of all bodies with what all connections together
// may want. Less works, and costs the effect of the buffers.
func (ch *checker) memory() {
	var open int
	for _, b := range ch.c.Backends {
		if b.Protocol != ProtocolMySQL { // there packets are passed on as they come
			open += b.Pool.MaxOpen
		}
	}
	want := Size(open) * (requestBuffer + responseBuffer)
	if have := ch.c.Memory.Buffers; want > have {
		ch.warn("memory.buffers", "%s is less than the %s that %d backend connections can fill (%s of request and %s of response each); beyond it slow clients hold backend connections",
			have, roundUp(want), open, requestBuffer, responseBuffer)
	}
}

// roundUp makes a size readable: whole MiB.
func roundUp(s Size) Size { return (s + mebibyte - 1) / mebibyte * mebibyte }
