package testnet

// MariaDBPassword is the password of all users of a MariaDB but root, who has
// none.
const MariaDBPassword = "secret"

// The users of a MariaDB, from any address, and what they may do.
const (
	UserApp     = "app"     // all in databases app and other; may take the role keeper
	UserEd25519 = "apped"   // the same, with the plugin ed25519
	UserNone    = "appnone" // log in, and no more
	UserRole    = "apprl"   // all in database app; its default role is reader, and it may take keeper
	UserAll     = "appall"  // everything
)

// mariadbUsers fills a new data directory: databases app and other are empty,
// vault.secret has one row that only the roles reader and keeper may see.
var mariadbUsers = []string{
	`DELETE FROM mysql.global_priv WHERE User='' OR User='root' AND Host<>'localhost'`,
	`FLUSH PRIVILEGES`,
	`CREATE DATABASE app CHARACTER SET utf8mb4`,
	`CREATE DATABASE other CHARACTER SET utf8mb4`,
	`CREATE DATABASE vault CHARACTER SET utf8mb4`,
	`CREATE TABLE vault.secret (s VARCHAR(20))`,
	`INSERT INTO vault.secret VALUES ('kept')`,
	`CREATE ROLE reader`,
	`CREATE ROLE keeper`,
	`GRANT SELECT ON vault.* TO reader, keeper`,
	`CREATE USER app@'%' IDENTIFIED BY '` + MariaDBPassword + `'`,
	`CREATE USER apped@'%' IDENTIFIED VIA ed25519 USING PASSWORD('` + MariaDBPassword + `')`,
	`CREATE USER appnone@'%' IDENTIFIED BY '` + MariaDBPassword + `'`,
	`CREATE USER apprl@'%' IDENTIFIED BY '` + MariaDBPassword + `'`,
	`CREATE USER appall@'%' IDENTIFIED BY '` + MariaDBPassword + `'`,
	`GRANT ALL ON app.* TO app@'%', apped@'%', apprl@'%'`,
	`GRANT ALL ON other.* TO app@'%', apped@'%'`,
	`GRANT keeper TO app@'%', apped@'%', apprl@'%'`,
	`GRANT reader TO apprl@'%'`,
	`SET DEFAULT ROLE reader FOR apprl@'%'`,
	`GRANT ALL ON *.* TO appall@'%' WITH GRANT OPTION`,
}

// SysbenchConnects is sysbench's script of a client that asks one thing: an event
// is a connection, a SELECT and COM_QUIT. An error ends sysbench.
const SysbenchConnects = `
function thread_init() driver = sysbench.sql.driver() end
function event()
  local c = driver:connect()
  local one = c:query_row("SELECT 1")
  c:disconnect()
  if one ~= "1" then error("SELECT 1 gave " .. tostring(one)) end
end
`
