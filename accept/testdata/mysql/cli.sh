#!/bin/bash
# What the mariadb command line and its companions do with a server, as a
# transcript that holds no ids, times or versions. Arguments: host port user
# password database certificate; with a certificate they use TLS.
set -uo pipefail
host=$1 port=$2 user=$3 database=$5 ca=$6
export MYSQL_PWD=$4 LC_ALL=C.UTF-8
dir=$(mktemp -d)
trap 'rm -rf "$dir"; kill $(jobs -p) 2>/dev/null' EXIT

options=(--no-defaults -h "$host" -P "$port" -u "$user" --protocol=tcp)
if [ -n "$ca" ]; then
	options+=(--ssl-ca="$ca" --ssl-verify-server-cert)
else
	options+=(--skip-ssl) # else it is used where the server has it
fi
# Statements come on standard input; errors are part of what is printed.
client() { mariadb "${options[@]}" --connect-timeout=5 --max-allowed-packet=64M "$@" 2>&1; }
db() { client -D "$database" "$@"; }
named() { sed "s#$dir#DIR#g"; }
step() { echo "== $*"; }
# fails NAME COMMAND...: what it prints, and that it failed.
fails() {
	local name=$1
	shift
	if "$@"; then
		echo "unexpected: $name: no error"
	fi
}

step login
db -e 'SELECT CURRENT_USER(), DATABASE(), 1+1'
db -e 'SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection'
db -N -e "SHOW STATUS LIKE 'Ssl_cipher'" | grep -c 'TLS\|ECDHE'
db -N -e 'status' | grep -E '^(Current database|Current user|Protocol version|Connection|Server characterset|Client characterset):' | sed 's/@.*//'

step data
db -v -v -v <<'SQL' | grep -v ' sec)$' | grep -v '^Bye\|^--------------$'
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40) UNIQUE, n INT NOT NULL DEFAULT 0) ENGINE=InnoDB;
INSERT INTO t (v) VALUES ('a'),('b'),('c');
SELECT LAST_INSERT_ID(), ROW_COUNT();
UPDATE t SET n=n+1 WHERE v<>'c';
SELECT v, n, NULL FROM t;
SQL
db -v -v -e "UPDATE t SET n=5 WHERE v='a'; UPDATE t SET n=5 WHERE v='a'" | grep Rows

step transactions
db -t <<'SQL'
BEGIN;
INSERT INTO t (v) VALUES ('lost');
SAVEPOINT s;
ROLLBACK;
START TRANSACTION;
INSERT INTO t (v) VALUES ('kept');
SAVEPOINT s;
INSERT INTO t (v) VALUES ('lost too');
ROLLBACK TO SAVEPOINT s;
COMMIT;
SET autocommit=0;
INSERT INTO t (v) VALUES ('lost at the end');
SELECT v FROM t ORDER BY v;
SQL
db -t -e 'SELECT v FROM t ORDER BY v'

step procedures
db -t <<'SQL'
DELIMITER //
CREATE PROCEDURE p(IN a INT, OUT b INT)
BEGIN
	SELECT a;
	SELECT a+1, a+2 UNION SELECT NULL, 'x';
	SET b = a*2;
END//
DELIMITER ;
CALL p(5, @b);
SELECT @b;
PREPARE q FROM 'SELECT ? + ?, ?';
SET @x = 1, @y = 2.5, @z = NULL;
EXECUTE q USING @x, @y, @z;
DEALLOCATE PREPARE q;
SQL

step forms
db --html -e 'SELECT v, n FROM t WHERE n>0'; echo
db --xml -e 'SELECT v, NULL AS x FROM t WHERE n>0'
db -E -e "SELECT v, n FROM t WHERE v='a'"
db -t --column-type-info -e 'SELECT id, v, n, NULL, 1.5, NOW(6) IS NULL FROM t LIMIT 1'

step warnings
db --show-warnings -e "SELECT CAST('abc' AS SIGNED); DROP TABLE IF EXISTS no_such_table; SELECT 1"
db -e "SELECT CAST('abc' AS SIGNED); SHOW WARNINGS; SHOW COUNT(*) WARNINGS"

step large
for quick in '' --quick; do
	db -N -B $quick -e "SELECT REPEAT('0123456789abcdef', 1310720)" | cksum
done
db -N -B --quick -e 'SELECT seq, REPEAT("y", 100) FROM seq_1_to_50000' | cksum
{ echo "CREATE TABLE big (x LONGBLOB); INSERT INTO big VALUES ('"; head -c 20971520 /dev/zero | tr '\0' z; echo "'); SELECT LENGTH(x), CRC32(x) FROM big; DROP TABLE big;"; } | db -N

step local infile
seq 1 20000 | sed 's/.*/&,row &/' >"$dir/rows.csv"
db -e 'CREATE TABLE loaded (id INT, v VARCHAR(20))'
db -v -v --local-infile=1 -e "LOAD DATA LOCAL INFILE '$dir/rows.csv' INTO TABLE loaded FIELDS TERMINATED BY ','; SHOW WARNINGS" | grep -v ' sec)$' | named
db -e 'SELECT COUNT(*), SUM(id), SUM(CRC32(v)) FROM loaded'
fails 'missing file' db --local-infile=1 -e "LOAD DATA LOCAL INFILE '/nonexistent/file' INTO TABLE loaded"
fails 'not allowed' db --local-infile=0 -e "LOAD DATA LOCAL INFILE '$dir/rows.csv' INTO TABLE loaded" | named
mariadb-import "${options[@]}" --local --fields-terminated-by=, "$database" "$dir/rows.csv" 2>&1 | named
mv "$dir/rows.csv" "$dir/loaded.csv"
mariadb-import "${options[@]}" --local --fields-terminated-by=, "$database" "$dir/loaded.csv" 2>&1 | named

step charsets
for charset in utf8mb4 latin1 utf8mb3 cp1251 auto; do
	db -N --default-character-set=$charset -e "SELECT @@character_set_client, @@character_set_results, @@collation_connection, HEX(CONCAT(_utf8mb4 x'c3a9', _utf8mb4 x'f09f8cb2'))"
	db -N --default-character-set=$charset -e "SELECT _utf8mb4 x'f09f8cb2c3a9'" | od -An -tx1
done
db -N --init-command="SET NAMES utf8mb4 COLLATE utf8mb4_bin" -e 'SELECT @@collation_connection'

step errors
for sql in 'SELEC 1' 'SELECT * FROM no_such_table' "INSERT INTO t (v) VALUES ('a')" 'DROP DATABASE vault' 'USE vault' 'USE nowhere_at_all' \
	'KILL 4000000000' "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT='own words'"; do
	fails "$sql" db -e "$sql"
done
fails 'wrong password' env MYSQL_PWD=wrong mariadb "${options[@]}" -e 'SELECT 1' 2>&1
fails 'unknown database' client -D "${database}_nowhere" -e 'SELECT 1'
fails 'forbidden database' client -D vault -e 'SELECT 1'
db -f -t -e 'SELECT 1; SELECT * FROM no_such_table; SELECT 2'

step databases
client -t <<SQL
SELECT DATABASE();
USE other
SELECT DATABASE();
USE $database
SELECT DATABASE(), COUNT(*) FROM t;
SQL

step field list
# Completion asks for the fields of every table by COM_FIELD_LIST, and is for a
# terminal only. It is told to quit, as an end of input that comes before the
# client has set up its terminal is lost.
printf '%s\n' "SELECT 'asked', 'for';" quit | script -qec "mariadb ${options[*]} -s -D $database" /dev/null 2>&1 | tr -d '\r' | grep '^asked'

step flags
db --compress -N -e "SELECT LENGTH(REPEAT('x', 100000))"
db --safe-updates -N -e 'SELECT @@sql_safe_updates, @@sql_select_limit, @@max_join_size'
fails 'safe updates' db --safe-updates -e 'DELETE FROM t'
db --abort-source-on-error -N -e 'SELECT 1'
db -N --skip-reconnect -e 'SELECT CONNECTION_ID() = CONNECTION_ID()'

step kill
for how in QUERY CONNECTION; do
	db -N --unbuffered -e "SELECT CONNECTION_ID(); SELECT SLEEP(17.5)" >"$dir/out" 2>&1 &
	for _ in $(seq 200); do
		[ "$(db -N -e "SELECT COUNT(*) FROM information_schema.processlist WHERE db=DATABASE() AND info='SELECT SLEEP(17.5)'")" = 1 ] && break
	done
	db -e "KILL $how $(head -1 "$dir/out")"
	wait $!
	# A proxy may say more than the server, which only closes.
	sed 1d "$dir/out" | sed -E 's/ERROR (1053|1927|2013|2026).*/lost/'
done

step companions
mariadb-admin "${options[@]}" ping 2>&1
mariadb-admin "${options[@]}" status 2>&1 | sed 's/[0-9.]\+/N/g'
mariadb-show "${options[@]}" "$database" 2>&1
mariadb-show "${options[@]}" --count "$database" t 2>&1
mariadb-check "${options[@]}" "$database" 2>&1
fails 'no right' mariadb-admin "${options[@]}" flush-hosts 2>&1
fails 'no right' mariadb-admin "${options[@]}" debug 2>&1
