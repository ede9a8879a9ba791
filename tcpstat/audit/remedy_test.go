package audit

import (
	"strings"
	"testing"
	"testing/fstest"
)

// Who may set what differs: in a pod most settings are not to be had.
func TestARemedyIsOneThatThePlaceAllows(t *testing.T) {
	for _, c := range []struct {
		key        string
		container  string
		kubernetes string
	}{
		{rangeKey, "docker run --sysctl net.ipv4.ip_local_port_range='10240 65535' ", `in the pod's spec, as it is a safe sysctl: securityContext: {sysctls: [{name: net.ipv4.ip_local_port_range, value: "10240 65535"}]}`},
		{"net.core.somaxconn", "docker run --sysctl net.core.somaxconn=4096 ", "not a safe sysctl: ask who runs the node for kubelet --allowed-unsafe-sysctls=net.core.somaxconn, then"},
		{"net.ipv4.tcp_tw_reuse", "docker run --sysctl net.ipv4.tcp_tw_reuse=2 ", "not a safe sysctl: "},
		{"net.netfilter.nf_conntrack_max", "on the host, as the whole machine has one: sysctl -w ", "not a pod's to set; on the node: sysctl -w "},
	} {
		value := map[string]string{rangeKey: wideRange, "net.core.somaxconn": "4096", "net.ipv4.tcp_tw_reuse": "2"}[c.key]
		r := remedy("", set(c.key, value))
		if got := r.At(Container); len(got) != 1 || !strings.HasPrefix(got[0], c.container) {
			t.Errorf("%s in a container: %q", c.key, got)
		}
		if got := r.At(Kubernetes); len(got) != 1 || !strings.HasPrefix(got[0], c.kubernetes) {
			t.Errorf("%s in Kubernetes: %q", c.key, got)
		}
		if got := r.At(Host); len(got) != 2 || !strings.HasPrefix(got[0], "sysctl -w "+c.key+"=") || !strings.Contains(got[1], "'"+c.key+" = "+value+"' >> /etc/sysctl.d/") {
			t.Errorf("%s on a host: %q", c.key, got)
		}
	}
}

// A setting of which nobody knows how far it reaches would be shown as the
// machine's own.
func TestOfEverySettingInARemedyItsReachIsKnown(t *testing.T) {
	n := 0
	for _, b := range broken {
		s := aScene()
		b.breakIt(s)
		for _, f := range s.run() {
			if f.Remedy == nil {
				continue
			}
			for _, set := range f.Remedy.Settings {
				n++
				if _, ok := scopes[set.Key]; !ok {
					t.Errorf("%s: %s", f.Name, set.Key)
				}
			}
		}
	}
	if n == 0 {
		t.Error("no remedy named a setting")
	}
}

func TestThePlaceIsToldByWhatRuntimesLeave(t *testing.T) {
	for _, c := range []struct {
		m    Machine
		want Place
	}{
		{Machine{FS: fstest.MapFS{}}, Host},
		{Machine{FS: files{"proc/1/cgroup": "0::/init.scope\n"}.tree()}, Host},
		{Machine{FS: files{".dockerenv": ""}.tree()}, Container},
		{Machine{FS: files{"run/.containerenv": ""}.tree()}, Container},
		{Machine{FS: files{"proc/1/cgroup": "0::/system.slice/docker-abc.scope/kubepods\n"}.tree()}, Container},
		{Machine{FS: files{".dockerenv": ""}.tree(), Pod: true}, Kubernetes},
	} {
		if got := c.m.place(); got != c.want {
			t.Errorf("%v: %s, want %s", c.m.FS, got, c.want)
		}
	}
}
