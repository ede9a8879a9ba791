#!/bin/bash
# mariadb-dump | mariadb, there and back: what the database holds after is what
# it held before. Arguments: host port user password database certificate.
set -euo pipefail
host=$1 port=$2 user=$3 database=$5 ca=$6
export MYSQL_PWD=$4
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
options=(--no-defaults -h "$host" -P "$port" -u "$user" --protocol=tcp --default-character-set=utf8mb4 --max-allowed-packet=64M)
if [ -n "$ca" ]; then
	options+=(--ssl-ca="$ca" --ssl-verify-server-cert)
else
	options+=(--skip-ssl) # else it is used where the server has it
fi
db() { mariadb "${options[@]}" "$database" "$@"; }
dump() { mariadb-dump "${options[@]}" --skip-dump-date --skip-comments --hex-blob --routines --triggers "$@"; }

db <<'SQL'
CREATE TABLE plain (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(100), x BLOB, d DECIMAL(20,5), at DATETIME(6), KEY (v)) ENGINE=InnoDB;
INSERT INTO plain (v, x, d, at) SELECT CONCAT('row ', seq, ' ''\\ ', _utf8mb4 x'f09f8cb2'), UNHEX(MD5(seq)), seq/7, '2026-01-01' + INTERVAL seq SECOND FROM seq_1_to_4000;
INSERT INTO plain (v) VALUES (NULL);
CREATE TABLE old (a INT, b TEXT) ENGINE=MyISAM CHARACTER SET latin1;
INSERT INTO old VALUES (1, 'caf\u00e9'), (2, REPEAT('x', 60000));
CREATE TABLE big (id INT PRIMARY KEY, x LONGBLOB);
INSERT INTO big VALUES (1, REPEAT('0123456789abcdef', 400000)), (2, ''), (3, NULL);
CREATE VIEW seen AS SELECT id, v FROM plain WHERE id < 10;
CREATE SEQUENCE numbers START WITH 5 INCREMENT BY 3;
DO NEXTVAL(numbers);
DELIMITER //
CREATE TRIGGER tr BEFORE INSERT ON old FOR EACH ROW BEGIN SET NEW.b = IFNULL(NEW.b, 'none'); END//
CREATE FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN a + 1//
CREATE PROCEDURE p() BEGIN SELECT 'a'; SELECT 'b'; END//
DELIMITER ;
SQL

sums() {
	db -N -e "CHECKSUM TABLE plain, old, big; SELECT COUNT(*), SUM(CRC32(v)), SUM(CRC32(x)), SUM(d) FROM plain; SELECT f(1), (SELECT COUNT(*) FROM seen); CALL p();
		SELECT TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_COLLATION FROM information_schema.tables WHERE TABLE_SCHEMA=DATABASE() ORDER BY 1" |
		grep -v "^$database.*checksum"
}

round() { # NAME OPTIONS...: dumps, empties, fills and dumps again
	local name=$1
	shift
	echo "== $name"
	sums >"$dir/before"
	dump "$@" "$database" >"$dir/first.sql"
	db -e "DROP DATABASE $database; CREATE DATABASE $database CHARACTER SET utf8mb4"
	db <"$dir/first.sql"
	sums >"$dir/after"
	dump "$@" "$database" >"$dir/second.sql"
	# What MariaDB says of itself and the sandbox marker are in both.
	cksum <"$dir/first.sql"
	cmp "$dir/first.sql" "$dir/second.sql" && echo same
	cmp "$dir/before" "$dir/after" && cat "$dir/after"
}

round "locked tables" --lock-tables
round "one transaction" --single-transaction --quick
round "without most options" --single-transaction --skip-opt --create-options --add-drop-table --complete-insert --extended-insert

echo "== piped"
db -e "CREATE TABLE target LIKE plain"
dump --skip-triggers --no-create-info "$database" plain | sed 's/`plain`/`target`/g' | db
db -N -e 'SELECT COUNT(*), SUM(CRC32(v)), SUM(CRC32(x)), SUM(d) FROM target'

echo "== table"
mkdir "$dir/empty"
dump --skip-triggers --no-data "$database" plain | cksum
echo "== xml"
dump --xml "$database" big | grep -v "<options" | cksum
