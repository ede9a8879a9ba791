package tcpstat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// ReadLocalPorts reads what the calling thread's network namespace says of local
// ports. Settings that the kernel does not have keep its older behaviour.
func ReadLocalPorts() (*LocalPorts, error) {
	p := &LocalPorts{ReuseDelay: time.Second, Timestamps: true}
	span, err := sysctl("ip_local_port_range")
	if err != nil {
		return nil, err
	}
	reserved, err := sysctl("ip_local_reserved_ports")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := p.SetRange(span, reserved); err != nil {
		return nil, fmt.Errorf("tcpstat: %w", err)
	}
	for _, s := range []struct {
		name string
		set  func(uint64)
	}{
		{"tcp_tw_reuse", func(v uint64) { p.Reuse = int(v) }},
		{"tcp_tw_reuse_delay", func(v uint64) { p.ReuseDelay = time.Duration(min(v, 60_000)) * time.Millisecond }},
		{"tcp_timestamps", func(v uint64) { p.Timestamps = v != 0 }},
	} {
		text, err := sysctl(s.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		v, ok := decimal(bytes.TrimSpace(text))
		if !ok {
			return nil, fmt.Errorf("tcpstat: net.ipv4.%s: %.40q is no number", s.name, text)
		}
		s.set(v)
	}
	return p, nil
}

// sysctl reads net.ipv4.name. A list of reserved ports is the longest.
func sysctl(name string) ([]byte, error) {
	f, err := os.Open("/proc/sys/net/ipv4/" + name)
	if err != nil {
		return nil, fmt.Errorf("tcpstat: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("tcpstat: net.ipv4.%s: %w", name, err)
	}
	return text, nil
}

// ReadTotals reads the kernel's own counts for the calling thread's network
// namespace. What a sandbox does not have stays zero; the error is of the first
// file that could not be read.
func ReadTotals() (t Totals, err error) {
	for _, s := range []struct {
		name  string
		parse func([]byte)
	}{
		{"sockstat", t.parseSockstat}, {"sockstat6", t.parseSockstat},
		{"snmp", t.parseSNMP}, {"netstat", t.parseSNMP},
	} {
		f, ferr := openProcFile(s.name)
		if ferr == nil {
			var text []byte
			text, ferr = io.ReadAll(io.LimitReader(f, 1<<20))
			f.Close()
			s.parse(text)
		}
		if ferr != nil && err == nil && !(s.name == "sockstat6" && errors.Is(ferr, fs.ErrNotExist)) {
			err = fmt.Errorf("tcpstat: %w", ferr)
		}
	}
	return t, err
}
