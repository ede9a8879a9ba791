package audit

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxSysctlFiles bounds how many files of settings are read.
const maxSysctlFiles = 64

// line is a setting as a file has it.
type line struct {
	key, value, file string
}

// written returns the settings in the files that sysctl --system reads, as far as
// they can be read. Those of the distribution are left out: nobody here wrote them.
func (m *Machine) written() []line {
	var files []string
	for _, dir := range []string{"run/sysctl.d", "etc/sysctl.d"} {
		entries, err := fs.ReadDir(m.FS, dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".conf") && len(files) < maxSysctlFiles {
				files = append(files, path.Join(dir, e.Name()))
			}
		}
	}
	files = append(files, "etc/sysctl.conf")
	var out []line
	seen := map[string]bool{}
	for _, name := range files {
		// A device or a pipe may stand there, as a link to one.
		if st, err := fs.Stat(m.FS, name); err != nil || !st.Mode().IsRegular() {
			continue
		}
		text, err := m.text(name)
		if err != nil {
			continue
		}
		for _, l := range settings(text) {
			l.file = "/" + name
			if id := fmt.Sprint(l); !seen[id] { // 99-sysctl.conf is a link to sysctl.conf
				seen[id] = true
				out = append(out, l)
			}
		}
	}
	return out
}

// settings reads the lines of a sysctl file: sysctl.conf(5).
func settings(text string) (out []line) {
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		if l == "" || l[0] == '#' || l[0] == ';' {
			continue
		}
		key, value, ok := strings.Cut(strings.TrimPrefix(l, "-"), "=")
		if !ok {
			continue
		}
		value, _, _ = strings.Cut(value, "#") // no comment for sysctl, but for those who wrote it
		out = append(out, line{key: strings.ReplaceAll(strings.TrimSpace(key), "/", "."), value: strings.Join(strings.Fields(value), " ")})
	}
	return out
}

// gone has settings that no kernel of today has. Others that are missing may be
// those of a module, or not of this network namespace.
var gone = []string{
	"net.ipv4.tcp_tw_recycle", // 4.12
	"net.ipv4.tcp_thin_dupack",
	"net.ipv4.tcp_frto_response",
	"net.ipv4.tcp_max_ssthresh",
	"net.ipv4.tcp_bic",
	"net.ipv4.tcp_westwood",
	"net.ipv4.tcp_vegas_cong_avoid",
	"net.ipv4.ip_conntrack_max",
	"net.ipv4.netfilter.ip_conntrack_max",
	"net.ipv4.netfilter.ip_conntrack_tcp_timeout_time_wait",
	"net.ipv4.netfilter.ip_conntrack_tcp_timeout_established",
	"net.ipv4.netfilter.ip_conntrack_tcp_timeout_close_wait",
	"net.ipv4.netfilter.ip_conntrack_tcp_timeout_fin_wait",
}

func sysctlFiles(m *Machine, _ *Plan) result {
	r := result{verdict: Pass, wanted: "only settings that this kernel has", do: "delete the lines"}
	var found []string
	for _, l := range m.written() {
		if slices.Contains(gone, l.key) && !m.there(l.key) {
			found = append(found, fmt.Sprintf("%s sets %s", clip(l.file), l.key))
		}
	}
	if len(found) == 0 {
		r.found = "no file sets what is gone"
		return r
	}
	r.found = strings.Join(found, "; ")
	if !m.shown() {
		r.verdict = Unknown
		r.found += "; whether this kernel has it is hidden: /proc/sys/net/ipv4 cannot be looked at"
		return r
	}
	r.verdict = Warn
	return r
}
