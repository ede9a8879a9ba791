// What node's mariadb does with a server, as a transcript that holds no ids,
// times or versions. Arguments: host port user password database certificate;
// with a certificate the connection uses TLS and checks the server's.
'use strict';
const fs = require('fs');
const os = require('os');
const path = require('path');
const {crc32, say, step, fails, sleeping} = require('./transcript.js');
const mariadb = require('mariadb');

const [host, port, user, password, database, ca] = process.argv.slice(2);

function dial(more) {
  const o = {host, port: +port, user, password, database, dateStrings: true, rowsAsArray: true, permitLocalInfile: true, connectTimeout: 5000, maxAllowedPacket: 64 << 20};
  if (ca) o.ssl = {ca: fs.readFileSync(ca), rejectUnauthorized: true};
  return mariadb.createConnection({...o, ...more});
}
const plain = r => Array.isArray(r) ? r.map(plain) : r && r.affectedRows !== undefined ? [r.affectedRows, r.insertId, r.warningStatus] : r;
const described = e => [e.code, e.errno, e.sqlState, e.sqlMessage];

async function main() {
  const c = await dial();
  const first = async sql => (await c.query(sql))[0];

  await step('login', async () => {
    say('who', await first('SELECT CURRENT_USER(), DATABASE(), 1+1'));
    say('charset', await first('SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection'));
    say('tls', (await first("SHOW STATUS LIKE 'Ssl_cipher'"))[1] !== '');
    say('id', BigInt(c.threadId) === BigInt((await first('SELECT CONNECTION_ID()'))[0]));
    say('mariadb', [c.info.isMariaDB(), c.serverVersion() === (await first('SELECT VERSION()'))[0]]);
  });

  await step('insert', async () => {
    await c.query('CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40) UNIQUE, n INT NOT NULL DEFAULT 0) ENGINE=InnoDB');
    say('insert', plain(await c.query("INSERT INTO t (v) VALUES ('a'),('b'),('c')")));
    say('returning', plain(await c.query("INSERT INTO t (v) VALUES ('d') RETURNING id, v")));
    say('update', plain(await c.query('UPDATE t SET n=1 WHERE v=?', ['a'])));
  });

  await step('batch', async () => {
    // One command carries all parameters where the server has bulk.
    say('insert', plain(await c.batch('INSERT INTO t (v, n) VALUES (?, ?)', Array.from({length: 500}, (_, i) => [`batch ${i}`, i]))));
    say('sum', await first("SELECT COUNT(*), SUM(n) FROM t WHERE v LIKE 'batch%'"));
    await fails('one bad', () => c.batch('INSERT INTO t (v) VALUES (?)', [['x1'], ['a'], ['x2']]), described);
    say('rest', await c.query("SELECT COUNT(*) FROM t WHERE v='a'"));
    say('update', plain(await c.batch('UPDATE t SET n=n+? WHERE v=?', [[1, 'a'], [2, 'b'], [3, 'no such']])));
    await c.query("DELETE FROM t WHERE v LIKE 'batch%'");
  });

  await step('pipelined', async () => {
    // The next commands are sent before the first one's answer is there.
    const all = await Promise.allSettled([1, 2, 3, 4, 5, 6].map(i =>
      i === 3 ? c.query('SELECT * FROM no_such_table') : i === 4 ? c.execute('SELECT ? + 1', [i]) : c.query(`SELECT ${i}, SLEEP(0.01)`)));
    say('in order', all.map(r => r.status === 'fulfilled' ? r.value[0][0] : r.reason.errno));
  });

  await step('transactions', async () => {
    await c.beginTransaction();
    await c.query("INSERT INTO t (v) VALUES ('lost')");
    await c.rollback();
    await c.beginTransaction();
    await c.query("INSERT INTO t (v) VALUES ('kept')");
    await c.commit();
    say('rows', await c.query("SELECT v FROM t WHERE v IN ('lost','kept')"));
  });

  await step('prepared', async () => {
    await c.query('CREATE TABLE types (i INT, b BIGINT UNSIGNED, d DOUBLE, m DECIMAL(30,10), s VARCHAR(50), x BLOB, day DATE, at DATETIME(6), t TIME(3), bits BIT(10), nothing INT, g POINT)');
    const values = [-42, 18446744073709551615n, 1.5e300, '12345678901234567890.0123456789', "quote ' \\ \0 \u{1f332}", Buffer.from([0, 255, 254]),
      '2026-11-22', '2026-11-22 12:34:56.789012', '-30:00:01.500', Buffer.from([2, 170]), null, {type: 'Point', coordinates: [1.5, -2]}];
    say('inserted', plain(await c.execute('INSERT INTO types VALUES (?,?,?,?,?,?,?,?,?,?,?,?)', values)));
    say('binary', plain(await c.execute('SELECT *, ? FROM types WHERE i=?', ['p', -42])));
    const text = await c.query('SELECT * FROM types');
    say('text', plain(text));
    say('fields', text.meta.map(f => [f.name(), f.type, f.flags, f.scale, f.columnLength, f.collation && f.collation.name]));
    const q = await c.prepare('SELECT v FROM t WHERE n >= ? ORDER BY v');
    for (const n of [0, 1, 100]) say(`n >= ${n}`, plain(await q.execute([n])));
    q.close();
    let sum = 0n;
    for (let i = 0; i < 40; i++) sum += BigInt((await c.execute(`SELECT ${i} + ?`, [1]))[0][0]);
    say('forty', sum);
    await fails('prepare', () => c.prepare('SELECT no_such_column FROM t'), described);
  });

  await step('multi', async () => {
    const n = await dial({multipleStatements: true});
    say('results', plain(await n.query("SELECT 1; INSERT INTO t (v) VALUES ('multi 1'),('multi 2'); SELECT 'a' UNION SELECT NULL; DO 1")));
    await n.query('CREATE PROCEDURE p(IN a INT) BEGIN SELECT a; SELECT a+1, a+2; END');
    say('call', plain(await n.query('CALL p(5)')));
    say('prepared call', plain(await n.execute('CALL p(?)', [6])));
    await fails('in the middle', () => n.query('SELECT 3; SELECT * FROM no_such_table; SELECT 4'), described);
    say('after', await n.query('SELECT 5'));
    await n.end();
    await fails('not asked for', () => c.query('SELECT 1; SELECT 2'), described);
  });

  await step('stream', async () => {
    let count = 0, sum = 0;
    for await (const r of c.queryStream('SELECT seq, REPEAT("x", 100) FROM seq_1_to_20000')) { count++; sum += Number(r[0]); }
    say('rows', [count, sum]);
  });

  await step('20 MiB', async () => {
    await c.query('CREATE TABLE big (id INT, x LONGBLOB)');
    const x = Buffer.from('0123456789abcdef'.repeat(1310720));
    await c.execute('INSERT INTO big VALUES (1, ?)', [x]);
    await c.query('INSERT INTO big VALUES (2, ?)', [x.subarray(0, 1 << 20)]);
    for (const [how, ask] of [['text', () => c.query('SELECT id, x FROM big ORDER BY id')], ['binary', () => c.execute('SELECT id, x FROM big ORDER BY id')]]) {
      say(how, (await ask()).map(r => [r[0], r[1].length, crc32(r[1])]));
    }
    await c.query('TRUNCATE big');
  });

  await step('local infile', async () => {
    await c.query('CREATE TABLE loaded (id INT, v VARCHAR(20))');
    const file = path.join(os.tmpdir(), `weir-${process.pid}.csv`);
    fs.writeFileSync(file, Array.from({length: 20000}, (_, i) => `${i},row ${i}\n`).join(''));
    try {
      say('loaded', plain(await c.query(`LOAD DATA LOCAL INFILE '${file}' INTO TABLE loaded FIELDS TERMINATED BY ','`)));
    } finally {
      fs.unlinkSync(file);
    }
    say('sum', await first('SELECT COUNT(*), SUM(id), SUM(CRC32(v)) FROM loaded'));
    await fails('missing file', () => c.query("LOAD DATA LOCAL INFILE '/nonexistent/file' INTO TABLE loaded"), e => e.errno);
    say('after', await first('SELECT COUNT(*) FROM loaded'));
  });

  await step('charsets', async () => {
    for (const collation of ['utf8mb4_unicode_ci', 'utf8mb4_bin', 'latin1_swedish_ci', 'utf8mb3_general_ci']) {
      const n = await dial({collation});
      say(collation, await n.query("SELECT @@character_set_client, @@character_set_results, @@collation_connection, HEX(CONVERT('\u00e9' USING utf8mb4)), 'Z'"));
      await n.end();
    }
    const n = await dial({sessionVariables: {sql_mode: 'ANSI', wait_timeout: 77}, initSql: ['SET @x=1', 'SET @y=2'], timezone: '+03:00'});
    say('init', await n.query('SELECT @@sql_mode, @@wait_timeout, @x, @y, @@time_zone'));
    await n.end();
  });

  await step('warnings', async () => {
    await c.query("SELECT CAST('abc' AS SIGNED)");
    say('warnings', await c.query('SHOW WARNINGS'));
    await c.execute('SELECT CAST(? AS SIGNED)', ['def']);
    say('of a prepared one', await c.query('SHOW WARNINGS'));
  });

  await step('errors', async () => {
    for (const sql of ['SELEC 1', 'SELECT * FROM no_such_table', "INSERT INTO t (v) VALUES ('a')", '', 'DROP DATABASE vault']) {
      await fails(sql, () => c.query(sql), described);
    }
    await fails('wrong password', () => dial({password: 'wrong'}), described);
    await fails('unknown database', () => dial({database: `${database}_nowhere`}), described);
    await c.query('USE other');
    await fails('use', () => c.query(`USE ${database}_nowhere`), described);
    say('still', await first('SELECT DATABASE()'));
    await c.query(`USE ${database}`);
  });

  await step('flags', async () => {
    for (const [name, more] of [['no found rows', {foundRows: false}], ['found rows', {foundRows: true}]]) {
      const n = await dial(more);
      say(name, plain(await n.query("UPDATE t SET n=n WHERE v='a'")));
      await n.end();
    }
    for (const [name, more] of [['compress', {compress: true}], ['no bulk', {bulk: false}], ['no pipeline', {pipelining: false}], ['no database', {database: undefined}]]) {
      const n = await dial(more);
      say(name, await n.query("SELECT LENGTH(REPEAT('x', 100000)), DATABASE()"));
      await n.end();
    }
  });

  await step('change user and reset', async () => {
    await c.query("SET @a = 1, SESSION sql_mode=''");
    await c.changeUser({user, password, database: 'other'});
    say('changed', await first('SELECT DATABASE(), @a, @@sql_mode = @@global.sql_mode'));
    await c.changeUser({user, password, database});
    const n = await dial();
    await n.query('SET @a = 1');
    await n.query('CREATE TEMPORARY TABLE tmp (a INT)');
    await n.reset();
    say('reset', await n.query('SELECT @a, DATABASE()'));
    await fails('temporary', () => n.query('SELECT * FROM tmp'), described);
    await n.end();
  });

  await step('kill', async () => {
    const n = await dial(), own = await dial();
    const one = async sql => Number((await own.query(sql))[0][0]);
    for (const [how, id] of [['by its greeting', async () => n.threadId], ['by CONNECTION_ID()', async () => (await n.query('SELECT CONNECTION_ID()'))[0][0]]]) {
      const number = await id();
      const ended = n.query('SELECT SLEEP(17.5)').then(() => 'not killed', described);
      say('sleeps', await sleeping(one));
      await own.query(`KILL QUERY ${number}`);
      say(how, await ended);
      say('lives', await n.query('SELECT 1'));
    }
    n.on('error', () => {});
    await own.query(`KILL ${n.threadId}`);
    say('lost', await n.query('SELECT 1').then(() => 'not', () => true));
    say('valid', own.isValid());
    await own.ping();
    await own.end();
  });
}

main().catch(e => { console.log(`unexpected: ${e.stack}`); process.exitCode = 1; }).then(() => process.exit());
