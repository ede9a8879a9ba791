package audit

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// optional are settings that kernels may lack, by their checks.
var optional = map[string]string{
	"tw_reuse_delay": "net.ipv4.tcp_tw_reuse_delay",
	"tw_recycle":     "net.ipv4.tcp_tw_recycle",
	"tw_timeout":     "net.ipv4.tcp_tw_timeout",
	"conntrack":      "net.netfilter.nf_conntrack_max",
	"mptcp":          "net.mptcp.enabled",
	"orphans":        "net.ipv4.tcp_max_orphans",
}

// What is missing says something of the kernel only where the rest of it is to be
// seen. A sandbox may hide /proc/sys, or mount an empty directory over a part.
func TestAbsenceSaysSomethingOnlyWhereSettingsAreShown(t *testing.T) {
	for _, tc := range []struct {
		what  string
		gone  []string // directories
		empty string
		want  Verdict
	}{
		{"no /proc/sys", []string{"proc/sys/"}, "", Unknown},
		{"an empty /proc/sys", []string{"proc/sys/"}, "proc/sys", Unknown},
		{"no net", []string{"proc/sys/net/"}, "", Unknown},
		{"no net/ipv4", []string{"proc/sys/net/ipv4/", "proc/sys/net/netfilter/", "proc/sys/net/mptcp/"}, "", Unknown},
		{"an empty net/ipv4", []string{"proc/sys/net/"}, "proc/sys/net/ipv4", Unknown},
		{"neither netfilter nor mptcp", []string{"proc/sys/net/netfilter/", "proc/sys/net/mptcp/", "proc/sys/net/ipv4/tcp_tw_reuse_delay", "proc/sys/net/ipv4/tcp_max_orphans"}, "", Pass},
	} {
		s := aScene()
		s.files["etc/sysctl.conf"] = "net.ipv4.tcp_tw_recycle = 1\n"
		for name := range s.files {
			for _, dir := range tc.gone {
				if strings.HasPrefix(name, dir) {
					delete(s.files, name)
				}
			}
		}
		tree := s.tree()
		if tc.empty != "" {
			tree[tc.empty] = &fstest.MapFile{Mode: fs.ModeDir | 0o555}
		}
		for _, plan := range []*Plan{nil, s.plan} {
			for _, f := range Run(&Machine{FS: tree, Sockets: s.sockets}, plan).Findings {
				key, ok := optional[f.Name]
				switch {
				case ok && f.Verdict != tc.want:
					t.Errorf("%s: %s: %s, %q", tc.what, f.Name, f.Verdict, f.Found)
				case ok && tc.want == Unknown && !strings.Contains(f.Found, "/"+sysctlFile(key)+" is not there: a sandbox hides it"):
					t.Errorf("%s: %s does not say why: %q", tc.what, f.Name, f.Found)
				case f.Name == "sysctl_files" && (f.Verdict == Unknown) != (tc.want == Unknown):
					t.Errorf("%s: %s: %s, %q", tc.what, f.Name, f.Verdict, f.Found)
				case tc.want == Unknown && (f.Verdict == Warn || f.Verdict == Fail):
					t.Errorf("%s: %+v", tc.what, f)
				}
			}
		}
	}
}

// A table that may not be read is not one that is not there.
func TestATableThatMayNotBeReadIsUnknown(t *testing.T) {
	for _, f := range Run(&Machine{FS: forbidden{}}, nil).Findings {
		if _, ok := optional[f.Name]; ok && (f.Verdict != Unknown || !strings.Contains(f.Found, "permission denied")) {
			t.Errorf("%s: %s, %q", f.Name, f.Verdict, f.Found)
		}
	}
}
