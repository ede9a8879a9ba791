package demo

import (
	"os"
	"os/exec"
	"syscall"
)

// tie has the kernel kill the child when the thread that starts it ends. Its
// group is its own: a Ctrl-C is for us, who stop it when nothing needs it any more.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func killAll(p *os.Process) { syscall.Kill(-p.Pid, syscall.SIGKILL) }
