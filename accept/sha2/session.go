package main

import (
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/server"
)

// session is a client's session: the answers of a MySQL 8 to the few statements
// that weir and its test send, and user variables, which a reset clears. The rest
// is an error, as EmptyHandler has it.
type session struct {
	server.EmptyHandler
	vars map[string]string
}

func (s *session) UseDB(name string) error {
	say(event{Did: "USE " + name})
	return nil
}

func (s *session) HandleQuery(query string) (*mysql.Result, error) {
	switch verb, rest, _ := strings.Cut(query, " "); strings.ToUpper(verb) {
	case "SELECT":
		return s.ask(rest)
	case "SET":
		say(event{Did: query})
		if name, value, ok := strings.Cut(rest, "="); ok && strings.HasPrefix(name, "@") && !strings.HasPrefix(name, "@@") {
			s.vars[strings.TrimSpace(name)] = strings.Trim(value, " '")
		}
		return nil, nil
	}
	return nil, fmt.Errorf("this server does not know %q", query)
}

// settings are what a fresh session of MySQL 8 answers.
var settings = map[string]any{
	"1": 1, "NULL": nil, "CURRENT_ROLE()": "NONE", "@@wait_timeout": 28800, "@@session_track_schema": 1,
	"@@sql_mode": "", "@@collation_database": "utf8mb4_general_ci", "@@collation_server": "utf8mb4_general_ci",
}

// ask answers a list of settings and user variables with one row of text.
func (s *session) ask(list string) (*mysql.Result, error) {
	names := strings.Split(list, ",")
	row := make([]any, len(names))
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if v, ok := settings[names[i]]; ok {
			row[i] = v
		} else if v, ok := s.vars[names[i]]; ok {
			row[i] = v
		} else if !strings.HasPrefix(names[i], "@") {
			return nil, fmt.Errorf("this server does not know %q", names[i])
		}
	}
	r, err := mysql.BuildSimpleTextResultset(names, [][]any{row})
	if err != nil {
		return nil, err
	}
	return mysql.NewResult(r), nil
}

func (s *session) HandleOtherCommand(cmd byte, data []byte) error {
	if cmd != mysql.COM_RESET_CONNECTION {
		return s.EmptyHandler.HandleOtherCommand(cmd, data)
	}
	clear(s.vars)
	say(event{Did: "COM_RESET_CONNECTION"})
	return nil
}
