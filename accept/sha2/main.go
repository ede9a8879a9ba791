// Command sha2server is a small MySQL server whose accounts log in with
// caching_sha2_password, which MariaDB has not: weir is tested against it.
//
//	sha2server -user app -password secret [-cert FILE -key FILE]
//
// It listens on a free port of 127.0.0.1 and prints one JSON object a line: first
// the address, then every login with the way it took, every refusal, and every
// statement that is not a question. It runs until it is killed.
//
// It has a module of its own, so that nothing of the library is in weir's go.mod.
package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"flag"
	"log"
	"net"
	"os"
	"reflect"
	"sync"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/server"
)

func main() {
	user := flag.String("user", "app", "the only account")
	password := flag.String("password", "", "its password; empty is none")
	cert := flag.String("cert", "", "certificate, PEM; without it there is no TLS")
	key := flag.String("key", "", "its private key, PEM")
	flag.Parse()

	var encrypt *tls.Config
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			log.Fatal(err)
		}
		encrypt = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	secret, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	conf := server.NewServer("8.0.40", mysql.DEFAULT_COLLATION_ID, mysql.AUTH_CACHING_SHA2_PASSWORD, secret, encrypt)
	known := &accounts{InMemoryAuthenticationHandler: server.NewInMemoryAuthenticationHandler(mysql.AUTH_CACHING_SHA2_PASSWORD)}
	if err := known.AddUser(*user, *password); err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	say(event{Listening: l.Addr().String()})
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(conf, c, known)
	}
}

// serve ends with its connection.
func serve(conf *server.Server, c net.Conn, known *accounts) {
	s := &session{vars: map[string]string{}}
	conn, err := conf.NewCustomizedConn(c, known, s)
	if err != nil {
		c.Close()
		return
	}
	for !conn.Closed() {
		if conn.HandleCommand() != nil {
			return
		}
	}
}

// accounts says how each login went.
type accounts struct {
	*server.InMemoryAuthenticationHandler
}

func (a *accounts) OnAuthSuccess(c *server.Conn) error {
	c.SetStatus(mysql.SERVER_STATUS_AUTOCOMMIT)
	way := "fast"
	_, encrypted := c.Conn.Conn.(*tls.Conn)
	if full(c) {
		// What a client sends outside of TLS is taken only if it is encrypted
		// with the server's key.
		way = "full over RSA"
		if encrypted {
			way = "full over TLS"
		}
	}
	say(event{Login: c.GetUser(), Way: way, TLS: encrypted})
	return nil
}

func (a *accounts) OnAuthFailure(c *server.Conn, err error) {
	say(event{Refused: c.GetUser(), Full: full(c), Why: err.Error()})
}

// full says whether the proof was not enough and the password itself was asked
// for. The library knows it and has no method that tells.
func full(c *server.Conn) bool {
	return reflect.ValueOf(c).Elem().FieldByName("cachingSha2FullAuth").Bool()
}

// event is one line of the output.
type event struct {
	Listening string `json:",omitempty"`
	Login     string `json:",omitempty"`
	Way       string `json:",omitempty"`
	TLS       bool   `json:",omitempty"`
	Refused   string `json:",omitempty"`
	Full      bool   `json:",omitempty"`
	Why       string `json:",omitempty"`
	Did       string `json:",omitempty"`
}

var output sync.Mutex // one line at a time

func say(e event) {
	output.Lock()
	defer output.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(e); err != nil {
		os.Exit(1) // nobody listens any more
	}
}
