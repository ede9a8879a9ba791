// What node's mysql2 does with a server, as a transcript that holds no ids,
// times or versions. Arguments: host port user password database certificate;
// with a certificate the connection uses TLS and checks the server's.
'use strict';
const fs = require('fs');
const os = require('os');
const path = require('path');
const {Readable} = require('stream');
const {crc32, say, step, fails, sleeping} = require('./transcript.js');
const mysql = require('mysql2/promise');
const plain = require('mysql2');

const [host, port, user, password, database, ca] = process.argv.slice(2);

function options(more) {
  const o = {host, port: +port, user, password, database, dateStrings: true, supportBigNumbers: true, connectTimeout: 5000};
  if (ca) o.ssl = {ca: fs.readFileSync(ca), rejectUnauthorized: true};
  return {...o, ...more};
}
const dial = more => mysql.createConnection(options(more));
const rows = async (c, sql, params) => (await c.query({sql, rowsAsArray: true}, params))[0];
const described = e => [e.code, e.errno, e.sqlState, e.sqlMessage || e.message];

async function main() {
  const c = await dial();
  const first = async sql => (await rows(c, sql))[0];

  await step('login', async () => {
    say('who', await first('SELECT CURRENT_USER(), DATABASE(), 1+1'));
    say('charset', await first('SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection'));
    say('tls', (await first("SHOW STATUS LIKE 'Ssl_cipher'"))[1] !== '');
    say('id', c.threadId === (await first('SELECT CONNECTION_ID()'))[0]);
  });

  await step('insert', async () => {
    const ok = ([r]) => [r.insertId, r.affectedRows, r.changedRows, r.info, r.warningStatus, r.serverStatus];
    await c.query('CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40) UNIQUE, n INT NOT NULL DEFAULT 0) ENGINE=InnoDB');
    say('insert', ok(await c.query('INSERT INTO t (v) VALUES ?', [[['a'], ['b'], ['c']]])));
    say('unchanged', ok(await c.query("UPDATE t SET n=0 WHERE v='a'")));
    say('changed', ok(await c.query("UPDATE t SET n=1 WHERE v IN ('a','b')")));
    say('rows', await rows(c, 'SELECT * FROM t ORDER BY id'));
  });

  await step('session tracking', async () => {
    for (const sql of ['USE other', `USE ${database}`, "SET time_zone='+02:00'", 'SET autocommit=0', 'SET autocommit=1', 'SET NAMES latin1', 'SET NAMES utf8mb4']) {
      const [r] = await c.query(sql);
      say(sql, r.stateChanges ? [r.stateChanges.schema, r.stateChanges.systemVariables] : null);
    }
  });

  await step('transactions', async () => {
    await c.beginTransaction();
    await c.query("INSERT INTO t (v) VALUES ('lost')");
    await c.rollback();
    await c.beginTransaction();
    await c.query("INSERT INTO t (v) VALUES ('kept')");
    await c.commit();
    say('rows', await rows(c, "SELECT v FROM t WHERE v IN ('lost','kept')"));
  });

  await step('prepared', async () => {
    await c.query('CREATE TABLE types (i INT, b BIGINT UNSIGNED, d DOUBLE, m DECIMAL(30,10), s VARCHAR(50), x BLOB, day DATE, at DATETIME(6), t TIME(3), bits BIT(10), nothing INT)');
    const values = [-42, '18446744073709551615', 1.5e300, '12345678901234567890.0123456789', "quote ' \\ \0 \u{1f332}", Buffer.from([0, 255, 254]),
      '2026-11-22', '2026-11-22 12:34:56.789012', '-30:00:01.500', Buffer.from([2, 170]), null];
    const [r] = await c.execute('INSERT INTO types VALUES (?,?,?,?,?,?,?,?,?,?,?)', values);
    say('inserted', r.affectedRows);
    const [row, fields] = await c.execute({sql: 'SELECT *, ? AS p FROM types WHERE i=?', rowsAsArray: true}, ['p', -42]);
    say('binary', row);
    say('text', await rows(c, 'SELECT * FROM types'));
    say('fields', fields.map(f => [f.name, f.columnType, f.flags, f.decimals, f.columnLength, f.characterSet]));
    const q = await c.prepare('SELECT v FROM t WHERE n >= ? ORDER BY v');
    for (const n of [0, 1, 100]) {
      say(`n >= ${n}`, (await q.execute([n]))[0].map(x => x.v));
    }
    await q.close();
    let sum = 0;
    for (let i = 0; i < 40; i++) {
      sum += (await c.execute({sql: `SELECT ${i} + ?`, rowsAsArray: true}, [1]))[0][0][0];
    }
    say('forty', sum);
    await fails('prepare', () => c.execute('SELECT no_such_column FROM t'), described);
    say('date', (await c.execute({sql: 'SELECT ? + INTERVAL 1 DAY', rowsAsArray: true}, [new Date(Date.UTC(2026, 10, 22, 12))]))[0].length);
  });

  await step('multi', async () => {
    const n = await dial({multipleStatements: true});
    const flat = ([r]) => r.map(x => Array.isArray(x) ? x : [x.affectedRows, x.info]);
    say('results', flat(await n.query({sql: "SELECT 1; INSERT INTO t (v) VALUES ('multi 1'),('multi 2'); SELECT 'a' UNION SELECT NULL; DO 1", rowsAsArray: true})));
    await n.query('CREATE PROCEDURE p(IN a INT) BEGIN SELECT a; SELECT a+1, a+2; END');
    say('call', flat(await n.query({sql: 'CALL p(5)', rowsAsArray: true})));
    say('prepared call', flat(await n.execute({sql: 'CALL p(?)', rowsAsArray: true}, [6])));
    await fails('in the middle', () => n.query('SELECT 3; SELECT * FROM no_such_table; SELECT 4'), described);
    say('after', await rows(n, 'SELECT 5'));
    await n.end();
    await fails('not asked for', () => c.query('SELECT 1; SELECT 2'), described);
  });

  await step('queued', async () => {
    say('in order', (await Promise.all([1, 2, 3, 4, 5].map(i => rows(c, `SELECT ${i}, SLEEP(${(5 - i) / 100})`)))).map(r => r[0][0]));
  });

  await step('stream', async () => {
    const n = plain.createConnection(options());
    let count = 0, sum = 0;
    await new Promise((resolve, reject) => n.query('SELECT seq, REPEAT("x", 100) AS x FROM seq_1_to_20000').stream({highWaterMark: 5})
      .on('data', r => { count++; sum += r.seq; }).on('end', resolve).on('error', reject));
    say('rows', [count, sum]);
    n.end();
  });

  await step('20 MiB', async () => {
    await c.query('CREATE TABLE big (id INT, x LONGBLOB)');
    const x = Buffer.from('0123456789abcdef'.repeat(1310720));
    await c.execute('INSERT INTO big VALUES (1, ?)', [x]);
    await c.query('INSERT INTO big VALUES (2, ?)', [x.subarray(0, 1 << 20)]);
    for (const [how, ask] of [['text', () => c.query('SELECT id, x FROM big ORDER BY id')], ['binary', () => c.execute('SELECT id, x FROM big ORDER BY id')]]) {
      say(how, (await ask())[0].map(r => [r.id, r.x.length, crc32(r.x)]));
    }
    await c.query('TRUNCATE big');
  });

  await step('local infile', async () => {
    await c.query('CREATE TABLE loaded (id INT, v VARCHAR(20))');
    const lines = Array.from({length: 2000}, (_, i) => Buffer.from(`${i},row ${i}\n`));
    const load = infileStreamFactory => c.query({sql: "LOAD DATA LOCAL INFILE 'named' INTO TABLE loaded FIELDS TERMINATED BY ','", infileStreamFactory});
    const [r] = await load(() => Readable.from(lines));
    say('loaded', [r.affectedRows, r.info]);
    say('sum', await first('SELECT COUNT(*), SUM(id), SUM(CRC32(v)) FROM loaded'));
    say('empty', (await load(() => Readable.from([])))[0].affectedRows);
    const file = path.join(os.tmpdir(), 'weir-no-such-file');
    await fails('missing file', () => load(() => fs.createReadStream(file)), e => e.code);
    say('after', await first('SELECT COUNT(*) FROM loaded'));
  });

  await step('charsets', async () => {
    for (const charset of ['utf8mb4', 'utf8mb4_bin', 'latin1', 'UTF8_GENERAL_CI', 'CP1251_GENERAL_CI']) {
      const n = await dial({charset});
      say(charset, await rows(n, "SELECT @@character_set_client, @@character_set_results, @@collation_connection, HEX(CONVERT('\u00e9' USING utf8mb4)), 'Z'"));
      await n.end();
    }
  });

  await step('warnings', async () => {
    await c.query("SELECT CAST('abc' AS SIGNED)");
    say('warnings', await rows(c, 'SHOW WARNINGS'));
    await c.execute('SELECT CAST(? AS SIGNED)', ['def']);
    say('of a prepared one', await rows(c, 'SHOW WARNINGS'));
  });

  await step('errors', async () => {
    for (const sql of ['SELEC 1', 'SELECT * FROM no_such_table', "INSERT INTO t (v) VALUES ('a')", '', 'DROP DATABASE vault']) {
      await fails(sql, () => c.query(sql), described);
    }
    await fails('wrong password', () => dial({password: 'wrong'}), described);
    await fails('no password', () => dial({password: ''}), described);
    await fails('unknown database', () => dial({database: `${database}_nowhere`}), described);
    await c.query('USE other');
    await fails('use', () => c.query(`USE ${database}_nowhere`), described);
    say('still', await first('SELECT DATABASE()'));
    await c.query(`USE ${database}`);
  });

  await step('flags', async () => {
    let n = await dial({flags: ['-FOUND_ROWS']});
    say('no found rows', (await n.query("UPDATE t SET n=n WHERE v='a'"))[0].affectedRows);
    await n.end();
    say('found rows', (await c.query("UPDATE t SET n=n WHERE v='a'"))[0].affectedRows);
    n = await dial({compress: true});
    say('compress', (await rows(n, "SELECT REPEAT('x', 100000)"))[0][0].length);
    await n.end();
    n = await dial({flags: ['-DEPRECATE_EOF', '-SESSION_TRACK']});
    say('old', [await rows(n, 'SELECT 1'), (await n.execute({sql: 'SELECT ? + 1', rowsAsArray: true}, [1]))[0], (await n.query('USE other'))[0].stateChanges || null]);
    await n.end();
  });

  await step('ignore space', async () => {
    const n = await dial({flags: ['IGNORE_SPACE'], database: undefined});
    say('mode', await rows(n, "SELECT @@sql_mode LIKE '%IGNORE_SPACE%', DATABASE()"));
    say('count', await rows(n, 'SELECT COUNT (*)'));
    await n.end();
  });

  await step('change user and reset', async () => {
    await c.query("SET @a = 1, SESSION sql_mode=''");
    await c.changeUser({user, password, database: 'other'});
    say('changed', await first('SELECT DATABASE(), @a, @@sql_mode = @@global.sql_mode'));
    say('id', c.threadId === (await first('SELECT CONNECTION_ID()'))[0]);
    await fails('wrong password', () => c.changeUser({user, password: 'wrong'}), described);
    const n = await dial();
    await n.query('SET @a = 1');
    await n.query('CREATE TEMPORARY TABLE tmp (a INT)');
    const kept = await n.prepare('SELECT 1');
    await new Promise((resolve, reject) => n.connection.reset(e => e ? reject(e) : resolve()));
    say('reset', await rows(n, 'SELECT @a, DATABASE()'));
    await fails('temporary', () => n.query('SELECT * FROM tmp'), described);
    await n.end();
  });

  await step('kill', async () => {
    const n = await dial(), own = await dial();
    const one = async sql => (await rows(own, sql))[0][0];
    for (const [how, id] of [['by its greeting', async () => n.threadId], ['by CONNECTION_ID()', async () => (await rows(n, 'SELECT CONNECTION_ID()'))[0][0]]]) {
      const number = await id();
      const ended = n.query('SELECT SLEEP(17.5)').then(() => 'not killed', described);
      say('sleeps', await sleeping(one));
      await own.query(`KILL QUERY ${number}`);
      say(how, await ended);
      say('lives', await rows(n, 'SELECT 1'));
    }
    await own.query(`KILL ${n.threadId}`);
    say('lost', await n.query('SELECT 1').then(() => 'not', () => true));
    n.destroy();
    await own.ping();
    await own.end();
  });
}

main().catch(e => { console.log(`unexpected: ${e.stack}`); process.exitCode = 1; }).then(() => process.exit());
