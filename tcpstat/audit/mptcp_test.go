package audit

import "testing"

// The count of the kernel is a gauge, and one below zero stands there as a number
// of 20 digits. Without a list of sockets there is nothing for it to hide from.
func TestMPTCPIsToldAsFarAsItCanBeSeen(t *testing.T) {
	const on = "net.mptcp.enabled = 1: for programs that ask, as Go's listeners do since 1.24; not weir's own"
	for _, tc := range []struct {
		what, want string
		with       func(s *scene)
	}{
		{"as it comes", on, func(*scene) {}},
		{"below zero", on, func(s *scene) { s.mptcp("18446744073709551615") }},
		{"no number", on, func(s *scene) { s.mptcp("many") }},
		{"no list", on + "; 900 MPTCP sockets now", func(s *scene) { s.mptcp("900"); s.sockets = nil }},
		{"a kernel without", "not of this kernel: every connection is plain TCP", func(s *scene) { delete(s.files, sysctlFile("net.mptcp.enabled")) }},
	} {
		s := aScene()
		tc.with(s)
		if f := s.run()["mptcp"]; f.Verdict != Pass || f.Found != tc.want {
			t.Errorf("%s: %s, %q", tc.what, f.Verdict, f.Found)
		}
	}
	s := aScene()
	s.set("net.mptcp.enabled", "yes")
	if f := s.run()["mptcp"]; f.Verdict != Unknown {
		t.Errorf("%+v", f)
	}
}
