package storm

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

const mysqlForm = "mysql://USER[:PASSWORD]@HOST:PORT/DATABASE"

// encode is what most URLs need that are not of the form.
const encode = "or mysql://USER@unix(/PATH)/DATABASE for a unix socket; " +
	"in user, password and database the characters %/?#[]@: are written as %25 and so on"

var errMySQLForm = errors.New("the URL must be " + mysqlForm + ", " + encode)

// tlsModes are the values of the parameter tls, as the driver knows them.
var tlsModes = []string{"false", "preferred", "skip-verify", "true"}

// unixHost is the place of a unix socket's path in a URL, where others have host:port.
var unixHost = regexp.MustCompile(`^(mysql://(?:[^@/]*@)?)unix\(([^()]*)\)`)

// HasPassword says whether a target's URL has a password in it, which everybody
// on this machine can read then in the list of processes.
func HasPassword(raw string) bool {
	u, _, err := parseMySQL(raw)
	if err != nil {
		return false
	}
	_, has := u.User.Password()
	return has
}

// parseMySQL takes a URL to pieces.
func parseMySQL(raw string) (u *url.URL, socket string, err error) {
	scheme, rest, _ := strings.Cut(raw, "://")
	raw = strings.ToLower(scheme) + "://" + rest
	if m := unixHost.FindStringSubmatchIndex(raw); m != nil {
		socket = raw[m[4]:m[5]]
		raw = raw[:m[3]] + raw[m[1]:]
		if socket == "" {
			return nil, "", errMySQLForm
		}
	}
	u, err = url.Parse(raw)
	// A # that is not written as %23 ends what is taken for the host.
	if err != nil || u.Scheme != "mysql" || u.Fragment != "" || u.User.Username() == "" {
		return nil, "", errMySQLForm
	}
	return u, socket, nil
}

func (o *Options) mysqlTarget(ctx context.Context) (t target, err error) {
	u, socket, err := parseMySQL(o.URL)
	if err != nil {
		return t, err
	}
	cfg := mysql.NewConfig()
	cfg.Logger = &mysql.NopLogger{}
	cfg.User, cfg.Passwd, cfg.DBName = u.User.Username(), o.Password, strings.TrimPrefix(u.Path, "/")
	if p, has := u.User.Password(); has {
		cfg.Passwd = p
	}
	parameters, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return t, errMySQLForm
	}
	for name, values := range parameters {
		value := values[len(values)-1]
		switch {
		case len(values) > 1:
			return t, fmt.Errorf("the URL has the parameter %s more than once", name)
		case name == "tls" && slices.Contains(tlsModes, value):
			cfg.TLSConfig = value
		case name == "tls":
			return t, fmt.Errorf("tls=%s: must be one of %v", value, tlsModes)
		case name == "socket" && socket == "" && value != "":
			socket = value
		case name == "socket":
			return t, errors.New("socket: must be one path")
		default:
			return t, fmt.Errorf("the URL has the parameter %s; there are only tls and socket", name)
		}
	}
	switch {
	case socket != "" && u.Host != "" && u.Host != "localhost":
		return t, fmt.Errorf("the URL has the host %s and a unix socket; write one of them", u.Host)
	case socket != "":
		t.network, t.address = "unix", socket
		cfg.Net, cfg.Addr = "unix", socket
	case u.Hostname() == "":
		return t, errMySQLForm
	default:
		if t, err = o.tcpTarget(ctx, u, "3306"); err != nil {
			return t, err
		}
		cfg.Net, cfg.Addr = "tcp", u.Host // what a certificate is checked against
	}
	t.unit, t.encrypted = "queries", cfg.TLSConfig != "" && cfg.TLSConfig != "false"
	query := o.Query
	if query == "" {
		query = "SELECT 1"
	}
	t.client = func(s *run, l *link) (client, error) { return newMySQLClient(s, l, cfg, query) }
	return t, nil
}
