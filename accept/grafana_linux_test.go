package accept

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
)

// grafanaMistakes are what Grafana's types must not take: each is made in a copy of
// the dashboard, or else nobody would know that the check still checks.
var grafanaMistakes = []struct{ name, is, becomes string }{
	{"keyOfTheDashboard", `"graphTooltip": 1`, `"graphToolTip": 1`},
	{"keyOfAVariable", `"includeAll": true`, `"includeALL": true`},
	{"keyOfAPanel", `"fieldConfig": {`, `"transparentt": true, "fieldConfig": {`},
	{"keyOfAPlace", `"gridPos": {`, `"gridPos": {"z": 0,`},
	{"keyOfAQuery", `"legendFormat":`, `"legendformat":`},
	{"keyOfAnAnnotation", `"iconColor": "blue"`, `"iconColor": "blue", "titelFormat": ""`},
	{"keyOfAnOption", `"showPoints":`, `"showPoint":`},
	{"number", `"graphTooltip": 1`, `"graphTooltip": 3`},
	{"numberOfAVariable", `"sort": 1`, `"sort": 9`},
	{"text", `"mode": "absolute"`, `"mode": "absolut"`},
	{"textOfAStat", `"colorMode": "value"`, `"colorMode": "valu"`},
	{"textOfATimeSeries", `"drawStyle": "line"`, `"drawStyle": "lines"`},
	{"textOfALegend", `"placement": "bottom"`, `"placement": "below"`},
	{"typeOfAVariable", `"type": "query"`, `"type": "queries"`},
	{"typeOfAPanel", `"type": "timeseries"`, `"type": "graph"`},
	{"typeOfAValue", `"schemaVersion": 39`, `"schemaVersion": "39"`},
	{"missing", `"schemaVersion": 39,`, ``},
	{"missingInARow", `"collapsed": false,`, ``},
}

// checkGrafanaTypes holds the dashboard against the types that Grafana publishes,
// as testdata/grafana/grafana.ts puts them together. A literal of TypeScript may
// have no key that its type does not have.
func checkGrafanaTypes(t *testing.T) {
	t.Helper()
	dashboard, err := os.ReadFile(grafanaFile)
	if err != nil {
		t.Fatal(err)
	}
	dir := nodeModules(t, filepath.Join("testdata", "grafana"))
	write := func(name, json string) {
		// On one line with the first of the file: an error's line is the file's own.
		source := "import type { File } from './grafana'; export const file: File = " + json + ";\n"
		if err := os.WriteFile(filepath.Join(dir, name+".ts"), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("dashboard", string(dashboard))
	for _, m := range grafanaMistakes {
		if !strings.Contains(string(dashboard), m.is) {
			t.Errorf("%s has no %s in which a mistake could be made", grafanaFile, m.is)
		}
		write(m.name, strings.Replace(string(dashboard), m.is, m.becomes, 1))
	}
	found := typeErrors(t, dir)
	for _, m := range grafanaMistakes {
		if found[m.name] == "" {
			t.Errorf("Grafana's types take %s in the place of %s", m.becomes, m.is)
		}
		delete(found, m.name)
	}
	for name, e := range found {
		if name == "dashboard" {
			name = grafanaFile
		}
		t.Errorf("%s: Grafana's types do not take it:\n%s", name, e)
	}
}

// typeErrors runs the compiler of TypeScript and returns what it says of each file,
// by the file's name without .ts.
func typeErrors(t *testing.T, dir string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), mostScenario)
	defer cancel()
	cmd := exec.CommandContext(ctx, testnet.NeedProgram(t, "node"), filepath.Join("node_modules", "typescript", "bin", "tsc"), "--project", ".", "--pretty", "false")
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	// With errors in the files it exits with 1 or 2.
	if exit := (*exec.ExitError)(nil); ctx.Err() != nil || stderr.Len() > 0 || err != nil && !errors.As(err, &exit) {
		t.Fatalf("tsc: %v\n%s%s", err, out, stderr.Bytes())
	}
	found, name := map[string]string{}, ""
	at := regexp.MustCompile(`^(\w+)\.ts(\(\d+,\d+\): error .*)$`)
	for line := range strings.Lines(string(out)) {
		if m := at.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			name, line = m[1], m[2]+"\n"
		} else if !strings.HasPrefix(line, " ") { // nothing that explains the line before
			name = "tsc"
		}
		if len(line) > 400 { // it writes out whole types
			line = line[:400] + "...\n"
		}
		found[name] += line
	}
	return found
}
