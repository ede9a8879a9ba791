// Package lex reads SQL text as MariaDB and MySQL read it, byte by byte, far
// enough to say what a statement may do to its connection. It builds no tree,
// allocates nothing, keeps nothing and does no I/O; all its functions may be
// called at once.
//
// Scan answers for a pool that lends one backend connection to client after
// client: may the next client have it without a reset, may it stay idle without
// one. Its answer must never be too good, so it fails closed: statements,
// functions and variables are found in lists of what is known to be harmless,
// and what is not listed, or cannot be read for certain, counts as harmful.
//
// The session's sql_mode is not known. A text that MariaDB would take apart
// differently under ANSI_QUOTES, NO_BACKSLASH_ESCAPES, IGNORE_SPACE or ORACLE is
// Unknown, or is taken for the worst of its readings. So are bytes outside of
// quotes that a character set may read in its own way.
//
// # What no reader of the text can see
//
// A view, a trigger, a default or a generated column runs what its owner wrote
// in it: it may take GET_LOCK, set variables, or read LAST_INSERT_ID. All of
// them need a table's name, so the statement has Names and is never Pure. It can
// be Plain all the same: a lock that a trigger took is held until the reset.
//
// Transactions and temporary tables are not looked for: the server reports
// them, in the status flags and by its session trackers. With SET autocommit=0
// a statement that failed may leave a transaction without a flag; AUTOCOMMIT's
// own flag then is the sign.
//
// Warnings, errors and the numbers behind FOUND_ROWS and ROW_COUNT are left by
// the harmless too, and outlive the statements after them: MariaDB 10.11 clears
// warnings only when a statement uses a table, so SHOW WARNINGS may tell what a
// client before did, texts included, although its own first statement was
// SELECT 1. FOUND_ROWS survives even COM_RESET_CONNECTION. Previous is therefore
// a question to every statement of a session that began without a reset, until
// one has overwritten the values; or the last answer of the one before has to
// be an OK without warnings.
package lex
