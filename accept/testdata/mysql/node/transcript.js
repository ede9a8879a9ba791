// What the scenarios of both drivers print with.
'use strict';
const zlib = require('zlib');

const table = Array.from({length: 256}, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

// The same as SQL's CRC32(); zlib has it only in newer versions of node.
exports.crc32 = zlib.crc32 || (bytes => {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = table[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
});

const say = exports.say = (key, value) => console.log(`${key}: ${JSON.stringify(value, (_, v) =>
  typeof v === 'bigint' ? `${v}n` : v && v.type === 'Buffer' ? Buffer.from(v.data).toString('hex') : v === undefined ? null : v)}`);

// A step must not fail: the test looks for the word.
exports.step = async (name, run) => {
  console.log(`== ${name}`);
  try {
    await run();
  } catch (e) {
    say('unexpected', `${e.message} ${e.stack}`);
  }
};

// The error that run must make, as described says it.
exports.fails = async (name, run, described) => {
  let error;
  try {
    await run();
  } catch (e) {
    error = e;
  }
  if (error) say(name, described(error));
  else say('unexpected', `${name}: no error`);
};

// Ids are the proxy's, so the statement is looked for by its text.
exports.sleeping = async one => {
  for (const end = Date.now() + 5000; Date.now() < end;) {
    if (await one("SELECT COUNT(*) FROM information_schema.processlist WHERE db=DATABASE() AND info='SELECT SLEEP(17.5)'") > 0) return true;
    await new Promise(resolve => setTimeout(resolve, 2));
  }
  return false;
};
