package lex

import (
	"strconv"
	"strings"
	"testing"
)

func TestKillIsReadInEachOfItsForms(t *testing.T) {
	for sql, want := range map[string]KillStatement{
		"KILL 5":                       {ID: 5},
		"kill\t05;":                    {ID: 5},
		" /* a */ KILL -- b\n 7 ; # c": {ID: 7},
		"#a\nKILL 1;;":                 {ID: 1},
		"KILL HARD 5":                  {ID: 5},
		"KILL SOFT CONNECTION 5":       {ID: 5},
		"Kill Connection/**/5":         {ID: 5},
		"KILL QUERY 12":                {Query: true, ID: 12},
		"KILL HARD QUERY 12":           {Query: true, ID: 12},
		"KILL SOFT QUERY ID 12":        {Query: true, ByQueryID: true, ID: 12},
		"KILL 18446744073709551615":    {ID: 1<<64 - 1},
	} {
		got, ok := Kill([]byte(sql))
		if !ok {
			t.Errorf("%q is not read", sql)
			continue
		}
		number := sql[got.At:got.End]
		if n, err := strconv.ParseUint(number, 10, 64); err != nil || n != want.ID {
			t.Errorf("%q: the number is %q", sql, number)
		}
		got.At, got.End = 0, 0
		if got != want {
			t.Errorf("%q: %+v, want %+v", sql, got, want)
		}
	}
}

func TestOtherKillsAreNotRead(t *testing.T) {
	for _, sql := range []string{
		"", ";", "KILL", "KILL;", "KILL 5 6", "KILL 5; SELECT 1", "SELECT 1; KILL 5", "KILL 5 + 1", "KILL (5)", "KILL -5", "KILL 5.", "KILL 5e1", "KILL 0x5", "KILL '5'", "KILL \"5\"", "KILL @a",
		"KILL CONNECTION_ID()", "KILL ?", "KILL USER a", "KILL QUERY USER a", "KILL ID 5", "KILL CONNECTION ID 5", "KILL QUERY HARD 5", "KILL HARD SOFT 5", "KILL 18446744073709551616", "KILL 99999999999999999999",
		"KILL /*! 5 */", "KILL /*!99999 1 */ 5", "/*! KILL */ 5", "KILL 5 /*", "KILL 5\x00", "KILL\xa05", "`KILL` 5", "KILLS 5", "KILL5", "EXPLAIN KILL 5", "kil 5", "KILL 5" + strings.Repeat(" ", window),
	} {
		if k, ok := Kill([]byte(sql)); ok || k != (KillStatement{}) {
			t.Errorf("%.60q: %+v, %v", sql, k, ok)
		}
	}
}

func TestConnectionIDIsAskedForInOneWayOnly(t *testing.T) {
	for _, sql := range []string{"SELECT CONNECTION_ID()", "select connection_id()", " \nSelect\tConnection_Id ( ) ; ", "SELECT CONNECTION_ID();"} {
		if !ConnectionID([]byte(sql)) {
			t.Errorf("%q is not seen", sql)
		}
	}
	for _, sql := range []string{"", "SELECT", "SELECTCONNECTION_ID()", "SELECT CONNECTION_ID", "SELECT CONNECTION_ID(1)", "SELECT CONNECTION_ID() + 1", "SELECT CONNECTION_ID();;", "SELECT CONNECTION_ID()) ",
		"SELECT CONNECTION_ID() AS id", "SELECT 1, CONNECTION_ID()", "SELECT /**/ CONNECTION_ID()", "SELECT CONNECTION_ID(); SELECT 1", "SELECT `CONNECTION_ID`()", "SELECT CONNECTION_ID()\x00"} {
		if ConnectionID([]byte(sql)) {
			t.Errorf("%q is taken for it", sql)
		}
	}
}
