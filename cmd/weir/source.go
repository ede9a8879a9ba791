package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"weir/configs"
)

// strangeSources warns of each backends[].source that cannot be bound where this
// process runs. It is no error: the configuration may be for another machine, or
// the address may come later.
func strangeSources(file string, c *configs.Config) (out []configs.Warning) {
	for i := range c.Backends {
		b := &c.Backends[i]
		source := b.SourceAddr()
		if !source.IsValid() {
			continue
		}
		err := bindable(source)
		if err == nil {
			continue
		}
		path := fmt.Sprintf("backends[%d].source", i)
		line, col := c.At(path)
		out = append(out, configs.Warning{File: file, Line: line, Col: col, Path: path, Text: fmt.Sprintf(
			"%s cannot be bound on this machine (%v): every dial to %q would fail; write an address that ip address shows, or leave the key out", source, err, b.Name)})
	}
	return out
}

// bindable binds a UDP socket, which takes no port that a connection could use.
func bindable(a netip.Addr) error {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err == nil {
		return c.Close()
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		return call
	}
	return err
}
