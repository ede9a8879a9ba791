package audit

import (
	"fmt"
	"strings"
)

// Setting is a kernel setting and the value it should have.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Remedy says what to do, for each place. Only one of the lists is for the place
// that is at hand; scripts get all of them.
type Remedy struct {
	Do         string    `json:"do,omitempty"` // where no setting is the answer, or besides
	Settings   []Setting `json:"settings,omitempty"`
	Host       []string  `json:"host,omitempty"`
	Container  []string  `json:"container,omitempty"`
	Kubernetes []string  `json:"kubernetes,omitempty"`
}

// At returns the lines for a place.
func (r *Remedy) At(p Place) []string {
	switch p {
	case Kubernetes:
		return r.Kubernetes
	case Container:
		return r.Container
	}
	return r.Host
}

// scope is how far a setting reaches.
type scope int

const (
	node   scope = iota // one for the whole machine
	unsafe              // of a network namespace; Kubernetes lets a pod set it only where the node allows
	safe                // of a network namespace; any pod may set it
)

// scopes has the settings that remedies name. Those that are safe are in
// pkg/kubelet/sysctl/safe_sysctls.go of Kubernetes: ip_local_port_range and
// tcp_syncookies always, ip_local_reserved_ports since 1.27, tcp_fin_timeout and
// tcp_keepalive_time since 1.29.
var scopes = map[string]scope{
	"fs.file-max":                                       node,
	"fs.nr_open":                                        node,
	"net.ipv4.tcp_max_orphans":                          node,
	"net.ipv4.tcp_tw_recycle":                           node,
	"net.netfilter.nf_conntrack_max":                    node,
	"net.core.somaxconn":                                unsafe,
	"net.ipv4.tcp_abort_on_overflow":                    unsafe,
	"net.ipv4.tcp_max_syn_backlog":                      unsafe,
	"net.ipv4.tcp_max_tw_buckets":                       unsafe,
	"net.ipv4.tcp_timestamps":                           unsafe,
	"net.ipv4.tcp_tw_reuse":                             unsafe,
	"net.ipv4.tcp_tw_reuse_delay":                       unsafe,
	"net.ipv4.tcp_tw_timeout":                           unsafe,
	"net.netfilter.nf_conntrack_tcp_timeout_close_wait": unsafe,
	"net.netfilter.nf_conntrack_tcp_timeout_time_wait":  unsafe,
	"net.ipv4.ip_local_port_range":                      safe,
	"net.ipv4.ip_local_reserved_ports":                  safe,
	"net.ipv4.tcp_fin_timeout":                          safe,
	"net.ipv4.tcp_keepalive_time":                       safe,
	"net.ipv4.tcp_syncookies":                           safe,
}

func remedy(do string, set []Setting) *Remedy {
	r := &Remedy{Do: do, Settings: set}
	for _, s := range set {
		now := "sysctl -w " + s.Key + "=" + quoted(s.Value)
		r.Host = append(r.Host, now, fmt.Sprintf("echo '%s = %s' >> /etc/sysctl.d/90-weir.conf  # for the next boot", s.Key, s.Value))
		sc := scopes[s.Key]
		if sc == node {
			r.Container = append(r.Container, "on the host, as the whole machine has one: "+now)
			r.Kubernetes = append(r.Kubernetes, "not a pod's to set; on the node: "+now)
			continue
		}
		r.Container = append(r.Container, fmt.Sprintf("docker run --sysctl %s=%s ... (not with --network host: there the host's counts)", s.Key, quoted(s.Value)))
		yaml := fmt.Sprintf(`securityContext: {sysctls: [{name: %s, value: "%s"}]}`, s.Key, s.Value)
		if sc == safe {
			r.Kubernetes = append(r.Kubernetes, "in the pod's spec, as it is a safe sysctl: "+yaml)
		} else {
			r.Kubernetes = append(r.Kubernetes, fmt.Sprintf("not a safe sysctl: ask who runs the node for kubelet --allowed-unsafe-sysctls=%s, then in the pod's spec: %s", s.Key, yaml))
		}
	}
	return r
}

func quoted(value string) string {
	if strings.ContainsAny(value, " \t") {
		return "'" + value + "'"
	}
	return value
}

func set(key, value string) []Setting { return []Setting{{key, value}} }
