// Package mysql is the front for MySQL and MariaDB clients in session mode: it
// logs clients in itself, and leases a backend connection that is logged in
// already at the first command that needs one. The client keeps it to its end;
// the next one gets it reset. So a client that connects, asks once and leaves
// costs the database no login and no connection.
//
// The path of a client: front.go admits it, login.go logs it in, session.go
// reads its commands, attach.go finds it a connection and gives that back,
// command.go passes a command on and answer.go its answer. What concerns the
// database alone stands in server.go (what is known of it), dial.go (how to log
// in there) and thread.go (one connection to it).
//
// Bytes between the two sides are copied as they came. Nothing is parsed but
// what ends an answer and what a statement could leave behind (package lex).
package mysql
