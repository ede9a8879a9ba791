package main

import (
	"weir/admin"
	"weir/configs"
)

// adminAccess reads what says who may ask over TCP.
func adminAccess(c *configs.Admin) (a admin.Access, err error) {
	a.Token = admin.NewToken(c.Token())
	if c.TLS.Cert == "" {
		return a, nil
	}
	cert, clients, err := c.TLS.Load()
	a.Certificate, a.Clients = &cert, clients
	return a, err
}
