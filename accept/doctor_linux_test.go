package accept

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
)

// diagnosis is the part of weir doctor -json that tests ask about.
type diagnosis struct {
	Checks []struct{ Name, Verdict, Found string }
	Counts map[string]int

	Measured []struct {
		Side             string
		Sockets          int
		Bytes, Low, High float64
		Sure             bool
	}
	NotMeasured string `json:"not_measured"`
}

// diagnose runs doctor, and returns its exit code.
func diagnose(t *testing.T, cmd *exec.Cmd) (d diagnosis, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	if err := json.Unmarshal(stdout.Bytes(), &d); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, stdout.Bytes(), stderr.Bytes())
	}
	return d, cmd.ProcessState.ExitCode()
}

// forNobody is the binary, and a configuration of one backend, where any user
// finds them.
func forNobody(t *testing.T) (program, config string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-doctor-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	program, config = filepath.Join(dir, "weir"), filepath.Join(dir, "weir.yaml")
	yaml := strings.Replace(oneBackend("127.0.0.1:9001", "max_clients: 100", ""), "127.0.0.1:0", "127.0.0.1:8080", 1)
	err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(program, b, 0o755), os.WriteFile(config, []byte(yaml), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	return program, config
}

// asNobody is what a program is run under to be user 65534 without a capability
// and without a way to one, as in the image.
func asNobody(t *testing.T) []string {
	return []string{testnet.NeedProgram(t, "setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"}
}

// In a network namespace as it comes nothing is wrong, and nobody may look.
func TestAcceptDoctorFindsNothingWrongWhereNothingIsAndNeedsNoPrivilege(t *testing.T) {
	program, config := forNobody(t)
	ns := testnet.NewNetns(t)
	for _, args := range [][]string{{"-json"}, {"-json", "-config", config}} {
		args = append(append(asNobody(t), program, "doctor"), args...)
		d, code := diagnose(t, ns.Command(args[0], args[1:]...))
		if code != 0 || d.Counts["fail"] != 0 || len(d.Checks) < 20 {
			t.Errorf("exit code %d: %+v", code, d)
		}
		for _, c := range d.Checks {
			if c.Verdict == "unknown" {
				t.Errorf("nobody cannot see %+v", c)
			}
		}
	}

	// A setting of this namespace, by its effect.
	ns.Sysctl("net.ipv4.tcp_timestamps", "0")
	args := append(asNobody(t), program, "doctor", "-json", "-config", config)
	d, code := diagnose(t, ns.Command(args[0], args[1:]...))
	if code != 1 || d.Counts["fail"] != 1 {
		t.Errorf("without timestamps: exit code %d, %+v", code, d)
	}
}

// What articles tell is 3.155 KB.
func TestAcceptDoctorMeasuresATimeWaitAndLeavesNothingBehind(t *testing.T) {
	program, _ := forNobody(t)
	for who, prefix := range map[string][]string{"root": nil, "nobody": asNobody(t)} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		args := append(prefix, program, "doctor", "-json", "-measure")
		d, code := diagnose(t, exec.CommandContext(ctx, args[0], args[1:]...))
		if d.NotMeasured != "" {
			// Not every machine gives others than root a namespace, or is quiet
			// enough for what they can read.
			if code != 1 || who == "root" {
				t.Errorf("%s: exit code %d, %s", who, code, d.NotMeasured)
			}
			figure(t, "a TIME_WAIT, for %s: %s", who, d.NotMeasured)
			continue
		}
		if len(d.Measured) != 2 || d.Measured[0].Side != "connecting" || d.Measured[1].Side != "accepting" {
			t.Errorf("%s: %+v", who, d.Measured)
		}
		for _, c := range d.Measured {
			// Beside other tests the steps may be far apart, and then it says so.
			if c.Sockets < 1000 || c.Sure && c.Bytes > 1500 {
				t.Errorf("%s: %+v", who, c)
			}
			figure(t, "a TIME_WAIT, for %s, at the %s side: %.0f bytes (steps from %.0f to %.0f, sure: %v)", who, c.Side, c.Bytes, c.Low, c.High, c.Sure)
		}
	}
	if left := running(t, program); len(left) > 0 {
		t.Errorf("processes that are left: %v", left)
	}

	// Also when it is killed in the middle.
	cmd := exec.Command(program, "doctor", "-measure")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testnet.WaitFor(t, 20*time.Second, "the process that makes the sockets", func() bool { return len(running(t, program)) == 2 })
	cmd.Process.Kill()
	cmd.Wait()
	testnet.WaitFor(t, 20*time.Second, "that process to end with doctor", func() bool { return len(running(t, program)) == 0 })
}

// running returns the processes that are of a program.
func running(t *testing.T, program string) (pids []int) {
	t.Helper()
	all, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe")); err == nil && exe == program {
			pids = append(pids, pid)
		}
	}
	return pids
}
