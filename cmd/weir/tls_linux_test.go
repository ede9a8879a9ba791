package main

import (
	"strings"
	"testing"

	"weir/configs"
	"weir/internal/sock"
	"weir/internal/testnet"
	"weir/proxy/mysql"
)

func TestEachModeOfTLSToADatabaseChecksWhatItSays(t *testing.T) {
	m := testnet.StartMariaDB(t, testnet.MariaDBTLS())
	other := testnet.NewTLSFiles(t) // of another authority
	for _, tc := range []struct {
		tls  configs.BackendTLS
		want string // in the error; "" is a login
	}{
		{configs.BackendTLS{Mode: "required"}, ""},
		{configs.BackendTLS{Mode: "verify_ca", CA: m.CA()}, ""},
		{configs.BackendTLS{Mode: "verify_ca", CA: other.CA}, "signed by unknown authority"},
		{configs.BackendTLS{Mode: "verify_ca", CA: m.CA(), ServerName: "other.test"}, ""},
		{configs.BackendTLS{Mode: "verify_identity", CA: m.CA()}, ""},
		{configs.BackendTLS{Mode: "verify_identity", CA: other.CA}, "signed by unknown authority"},
		{configs.BackendTLS{Mode: "verify_identity", CA: m.CA(), ServerName: "other.test"}, "other.test"},
		{configs.BackendTLS{Mode: "verify_ca", CA: m.CA() + ".not"}, "no such file"},
		{configs.BackendTLS{Mode: "verify_ca", CA: "tls_linux_test.go"}, "no certificate"},
	} {
		bc := &configs.Backend{Name: "orders", Endpoints: []configs.Endpoint{{Address: configs.Address(m.Address())}}, TLS: tc.tls}
		err := func() error {
			conf, err := backendTLS(bc)
			if err != nil {
				return err
			}
			u := &mysql.User{Name: testnet.UserApp}
			u.SetPassword(testnet.MariaDBPassword)
			s := mysql.NewServer(&mysql.ServerOptions{Name: bc.Name, Address: m.Address(), TLS: conf, Users: map[string]*mysql.User{u.Name: u}})
			c, _, err := s.Connect(t.Context(), mysql.WarmKey(u.Name, ""))
			if err == nil {
				sock.EndBackend(c)
			}
			return err
		}()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%+v: %v, want %q", tc.tls, err, tc.want)
		}
	}
	plain := testnet.StartMariaDB(t)
	conf, err := backendTLS(&configs.Backend{Endpoints: []configs.Endpoint{{Address: "127.0.0.1:1"}}, TLS: configs.BackendTLS{Mode: "required"}})
	if err != nil {
		t.Fatal(err)
	}
	u := &mysql.User{Name: testnet.UserApp}
	u.SetPassword(testnet.MariaDBPassword)
	s := mysql.NewServer(&mysql.ServerOptions{Name: "orders", Address: plain.Address(), TLS: conf, Users: map[string]*mysql.User{u.Name: u}})
	if _, _, err := s.Connect(t.Context(), mysql.WarmKey(u.Name, "")); err == nil || !strings.Contains(err.Error(), "offers no TLS") {
		t.Errorf("a server without TLS: %v", err)
	}
}
