package configs

import (
	"crypto/x509"
	"net/netip"
	"time"
)

// ListenerTLS is what a listener has for clients that ask for TLS. The files
// are named here, read once by a check, and again by those who use them.
type ListenerTLS struct {
	// File of the certificate and its chain, PEM.
	Cert string `key:"cert" need:"yes" form:"file"`
	// File of the certificate's private key, PEM.
	Key string `key:"key" need:"yes" form:"file"`
	// Refuse clients that do not ask for TLS.
	Required bool `key:"required"`
}

// User is one entry of backends[].users: a MySQL account. Secret gives its
// secret.
type User struct {
	// Name of the account, without a host.
	Name string `key:"name" need:"yes" form:"username"`
	// Environment variable that holds the password.
	PasswordEnv string `key:"password_env" oneof:"secret" form:"variable"`
	// File that holds the password, one line of at most 4KiB. It is read again by each reload.
	PasswordFile string `key:"password_file" oneof:"secret" form:"file"`
	// The password itself. It is warned of: who reads the file has it.
	Password Hidden `key:"password" oneof:"secret" form:"password" secret:"yes"`
	// Hash of the password as mysql_native_password stores it: a star and 40 hexadecimal digits, in quotes.
	NativeHash Hidden `key:"native_hash" oneof:"secret" form:"nativehash" secret:"yes"`
	// The account has no password. Written, it is true.
	NoPassword bool `key:"no_password" oneof:"secret"`
	// Most backend connections of this user at one time.
	MaxOpen int `key:"max_open" range:"1..65535" absent:"pool.max_open alone"`
	// How important this user's sessions are where they wait for a connection, 1 to 5.
	Priority int `key:"priority" range:"1..5" absent:"the listener's"`
	// Networks and addresses from which clients may log in as this user: the server sees weir's address in place of theirs. Others are answered as with a wrong password.
	Allow []netip.Prefix `key:"allow" absent:"everyone"`

	// read is what password_env or password_file gave when the configuration
	// was loaded, nil where they gave nothing. It is a function so that printing
	// a User does not show it: fmt follows pointers and goes past Hidden there.
	read func() string
}

// MySQL says how the sessions of a MySQL backend are served.
type MySQL struct {
	// When a client has a backend connection: session keeps it from the first command that needs one to the client's end, transaction gives it back as soon as nothing of the client's is on it.
	Mode string `key:"mode" enum:"session transaction"`
	// When a connection's session state is reset before another client has it: always, or proven, which leaves the reset out where no statement can have left anything.
	Reset string `key:"reset" enum:"always proven"`
	// Server version that clients are greeted with, such as 10.11.6-MariaDB.
	ServerVersion string `key:"server_version" form:"version" absent:"learned from the backend"`
	// Authentication plugin that clients are asked for: native is mysql_native_password, sha2 is caching_sha2_password.
	Auth string `key:"auth" enum:"native sha2"`
	// Database of the connections that weir makes on its own, for min_idle and for the first connection to the server.
	Database string `key:"database" form:"database" absent:"none"`
	// Longest wait for the first byte of an answer, and for each further part of it. Then the statement is killed at the backend (KILL QUERY). One that sends rows all the time is not bounded. Needs pool.reserved.
	QueryTimeout time.Duration `key:"query_timeout" absent:"no limit"`
	// Longest time that a client may keep a backend connection without sending a command. Then the client is closed.
	IdleAttachedTimeout time.Duration `key:"idle_attached_timeout" absent:"no limit"`
	// Time from which a query is a slow one, for log.slow_query.
	Slow time.Duration `key:"slow"`
}

// BackendTLS is TLS to a backend. The files are named here, read once by a check,
// and again by those who use them.
type BackendTLS struct {
	// disabled; required encrypts and verifies nothing; verify_ca verifies who signed the certificate; verify_identity verifies its name too.
	Mode string `key:"mode" enum:"disabled required verify_ca verify_identity"`
	// File of the certificates that are trusted to sign, PEM.
	CA string `key:"ca" form:"file" absent:"those of the system"`
	// Name that the certificate must have, and that is asked for (SNI).
	ServerName string `key:"server_name" form:"servername" absent:"the endpoint's host"`
	// File of weir's own certificate and its chain, PEM.
	Cert string `key:"cert" form:"file" absent:"none"`
	// File of the private key to cert, PEM.
	Key string `key:"key" form:"file" absent:"none"`
}

// Roots reads the certificates that are trusted to sign; nil are those of the
// system.
func (t *BackendTLS) Roots() (*x509.CertPool, error) {
	if t.CA == "" {
		return nil, nil
	}
	return readCerts(t.CA)
}
