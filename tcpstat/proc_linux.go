package tcpstat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// procBuffer holds many lines of 150 and 178 bytes. The kernel gives about a
// page per read.
const procBuffer = 16 << 10

// proc lists sockets from text. The files stay open, which ties the list to the
// network namespace they were opened in.
type proc struct {
	tcp, tcp6 *os.File // tcp6 is nil where the kernel has no IPv6
	buf       []byte
}

func openProc() (*proc, error) {
	tcp, err := openProcFile("tcp")
	if err != nil {
		return nil, fmt.Errorf("tcpstat: %w", err)
	}
	tcp6, err := openProcFile("tcp6")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		tcp.Close()
		return nil, fmt.Errorf("tcpstat: %w", err)
	}
	return &proc{tcp: tcp, tcp6: tcp6, buf: make([]byte, procBuffer)}, nil
}

// openProcFile prefers the thread's own view: threads of one process may be in
// different network namespaces, and netlink looks at the thread's too.
func openProcFile(name string) (*os.File, error) {
	f, err := os.Open("/proc/thread-self/net/" + name)
	if err != nil {
		return os.Open("/proc/self/net/" + name)
	}
	return f, nil
}

func (p *proc) each(f Filter, s *Socket, fn func(*Socket) bool) error {
	more, err := p.file(p.tcp, f, s, fn)
	if err != nil || !more || p.tcp6 == nil {
		return err
	}
	_, err = p.file(p.tcp6, f, s, fn)
	return err
}

func (p *proc) file(file *os.File, f Filter, s *Socket, fn func(*Socket) bool) (more bool, err error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return false, fmt.Errorf("tcpstat: %w", err)
	}
	kept := 0 // the part of a line that the last read ended with
	for {
		n, err := file.Read(p.buf[kept:])
		text := p.buf[:kept+n]
		for {
			end := bytes.IndexByte(text, '\n')
			if end < 0 {
				break
			}
			if parseProcLine(text[:end], s) && f.match(s) && !fn(s) {
				return false, nil
			}
			text = text[end+1:]
		}
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("tcpstat: %w", err)
		}
		if kept = copy(p.buf, text); kept == len(p.buf) {
			return false, fmt.Errorf("tcpstat: %s: a line longer than %d bytes", file.Name(), len(p.buf))
		}
	}
}

func (p *proc) name() string { return "proc" }

func (p *proc) close() error {
	err := p.tcp.Close()
	if p.tcp6 != nil {
		err = errors.Join(err, p.tcp6.Close())
	}
	return err
}
