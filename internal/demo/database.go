package demo

import (
	"context"
	"fmt"
	"net"

	"weir/internal/storm"
)

// database is a subject: a MariaDB server of the demonstration's own.
type database struct{ *mariadb }

func startDatabase(ctx context.Context, o *Options) (*database, error) {
	m, err := startMariaDB(ctx, o.Concurrency)
	if err != nil {
		return nil, err
	}
	return &database{m}, nil
}

func (d *database) words() words {
	return words{unit: "queries", backend: "the database", opened: "logins at the database", database: true}
}

func (d *database) intro(o *Options) string {
	return fmt.Sprintf("%s times connect, log in, SELECT 1 and quit, %d at a time: first straight to a MariaDB\n"+
		"  server that was started for this, then to a weir before the same server.", storm.Number(o.Requests), o.Concurrency)
}

func (d *database) outro(address string) []string {
	host, port, _ := net.SplitHostPort(address)
	return []string{
		fmt.Sprintf("MYSQL_PWD=%s mariadb -h %s -P %s -u %s %s", d.password, host, port, demoUser, demoDatabase),
		fmt.Sprintf("WEIR_STORM_PASSWORD=%s weir storm -n 20000 mysql://%s@%s/%s", d.password, demoUser, address, demoDatabase),
	}
}

func (d *database) direct() storm.Options { return d.through(d.straight.String()) }

func (d *database) through(address string) storm.Options {
	return storm.Options{URL: fmt.Sprintf("mysql://%s@%s/%s", demoUser, address, demoDatabase), Password: d.password}
}

func (d *database) behind() Backend {
	return Backend{Address: d.after, User: demoUser, Password: d.password}
}

func (d *database) ended() <-chan struct{} { return d.gone }

// seen asks over the connection that was there before, so that asking is not counted.
func (d *database) seen(ctx context.Context) (s seen, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	rows, err := d.db.QueryContext(ctx, "SHOW GLOBAL STATUS WHERE Variable_name IN ('Connections', 'Aborted_clients')")
	if err != nil {
		return s, fmt.Errorf("ask the database for its counters: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var n uint64
		if err := rows.Scan(&name, &n); err != nil {
			return s, err
		}
		switch name {
		case "Connections":
			s.opened = n
		case "Aborted_clients":
			s.aborted = n
		}
	}
	s.cpu = processorTime(d.pid())
	return s, rows.Err()
}
