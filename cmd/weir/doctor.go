package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"weir/internal/oplog"
	"weir/tcpstat"
	"weir/tcpstat/audit"
)

// doctorReport is what weir doctor -json prints. Names are only added to it.
type doctorReport struct {
	Weir   string `json:"weir"`
	Config string `json:"config,omitempty"`
	audit.Report
	Counts   map[audit.Verdict]int `json:"counts"`
	Measured []audit.Cost          `json:"measured,omitempty"`
	Unable   string                `json:"not_measured,omitempty"` // why -measure could not
}

// measureLimit bounds -measure. A TIME_WAIT lasts for 60 s, and must outlive the
// last sample of its side.
const measureLimit = 40 * time.Second

// runDoctor looks at the machine and changes nothing. Its exit code is that of a
// linter: 0 also with warnings, 1 if a check failed or the look itself did, 2 if
// flags or configuration are wrong.
func runDoctor(args []string, stdout, stderr io.Writer) int {
	if len(args) == 2 && args[0] == timeWaitWord {
		return runTimeWaits(args[1], os.Stdin, stdout)
	}
	fs := newFlags("doctor")
	path := fs.String("config", "", "judge by what the configuration `FILE` can need; without it, by what the kernel shows now")
	asJSON := fs.Bool("json", false, "print JSON, with the remedies for hosts, containers and Kubernetes")
	measure := fs.Bool("measure", false, "measure what a TIME_WAIT costs on this kernel too: makes some thousands, in a network namespace of their own; takes up to "+measureLimit.String())
	if code, ok := parse(fs, args, stdout, stderr); !ok {
		return code
	}
	var plan *audit.Plan
	if *path != "" {
		c, warnings, ok := load(*path, stderr)
		if !ok {
			return exitUsage
		}
		for _, w := range warnings {
			fmt.Fprintln(stderr, warningText(w))
		}
		plan = planOf(c)
	}
	if runtime.GOOS != "linux" {
		fmt.Fprintf(stderr, "weir doctor: reads what a Linux kernel says of itself, and this is %s; run it where weir is to run\n", runtime.GOOS)
		return exitFailed
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	if plan != nil {
		plan.Resolved = resolve(ctx, net.DefaultResolver.LookupNetIP, plan.Backends)
	}
	r := doctorReport{Weir: versionText(), Config: *path, Report: audit.Run(thisMachine(ctx), plan), Counts: map[audit.Verdict]int{}}
	for _, v := range verdicts {
		r.Counts[v] = r.Count(v)
	}
	if *measure {
		if f, ok := stderr.(*os.File); ok && oplog.Terminal(f) {
			fmt.Fprintf(stderr, "measuring, for up to %v\n", measureLimit)
		}
		costs, err := measureTimeWaits(ctx)
		r.Measured = costs
		if err != nil {
			r.Unable = err.Error()
		}
	}
	if err := printDoctor(stdout, &r, *asJSON); err != nil {
		fmt.Fprintln(stderr, "weir doctor:", err)
		return exitFailed
	}
	if r.Counts[audit.Fail] > 0 || r.Unable != "" {
		return exitFailed
	}
	return exitOK
}

// thisMachine is the machine the process runs on, and its sockets now.
func thisMachine(ctx context.Context) *audit.Machine {
	_, pod := os.LookupEnv("KUBERNETES_SERVICE_HOST")
	m := &audit.Machine{FS: os.DirFS("/"), Pod: pod}
	m.Watch(ctx)
	ports, err := m.LocalPorts()
	if err != nil {
		ports = nil // the checks that need them say why
	}
	m.Sockets, m.NoList = socketsNow(ports)
	return m
}

func socketsNow(ports *tcpstat.LocalPorts) (*audit.Sockets, error) {
	r, err := tcpstat.Open()
	if err != nil {
		return nil, err
	}
	s, err := audit.Count(r, ports)
	return s, errors.Join(err, r.Close())
}

func printDoctor(w io.Writer, r *doctorReport, asJSON bool) error {
	if !asJSON {
		return printDoctorText(w, r, colours(w))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}
