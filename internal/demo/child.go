package demo

import (
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// child is a process that ends before the demonstration does: whoever started it
// calls kill, and where this process is killed itself the kernel does.
type child struct {
	cmd  *exec.Cmd
	said tail
	gone chan struct{} // closed when the process has ended
	err  error         // how; read after gone
}

func startChild(program string, args []string) (*child, error) {
	c := &child{cmd: exec.Command(program, args...), gone: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = &c.said, &c.said
	c.cmd.WaitDelay = time.Second // for those that hold the pipe after it
	tie(c.cmd)
	started := make(chan error, 1)
	go func() { // kill waits for it
		// The kernel ends the child when the thread that started it ends, so this
		// one is kept as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			c.err = c.cmd.Wait()
		}
		close(c.gone)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// pid is the process's number.
func (c *child) pid() int { return c.cmd.Process.Pid }

// kill ends the process at once, with those that it started, and waits for its
// end. It may be called more than once, and after the end.
func (c *child) kill() {
	select {
	case <-c.gone:
		return
	default:
	}
	killAll(c.cmd.Process)
	<-c.gone
}

// output is the end of what the process has printed.
func (c *child) output() string { return c.said.String() }

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const maxTail = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - maxTail; over > 0 {
		t.b = t.b[:copy(t.b, t.b[over:])]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
