package lex

import "strings"

// word is what is known about a word, wherever it stands.
type word struct {
	name   string
	id     id
	verb   verb   // the kind of statement that it begins
	call   call   // what a parenthesis behind it makes of it
	traits Traits // what it brings by itself
	show   show   // what SHOW with it shows
	system system // whether it is a system variable
}

// call says what word( means. A name that is not listed is taken for a stored or
// a loadable function.
type call uint8

const (
	callForeign  call = iota
	callSyntax        // no call: IN (, VALUES (
	callNative        // built in, with or without blanks before the parenthesis
	callTouching      // built in only if the parenthesis touches: COUNT (x) may be a stored function
)

// id names the words that the grammar asks for.
type id uint8

const (
	idNone id = iota
	idAgainst
	idAs
	idDual
	idFor
	idFrom
	idGlobal
	idIn
	idInto
	idLastInsertID
	idLocal
	idRecursive
	idSession
	idTo
	idTransaction
	idUpdate
	idValue
	idWith
)

// syntax are words that no server takes for a function's name, most because they
// are reserved. Measured on MariaDB 10.11 in the modes default, ANSI, ORACLE and
// IGNORE_SPACE: functions stored under their names cannot be called without quotes.
const syntax = `
	all and any as between binary by case char cross datetime dec decimal desc
	describe distinct distinctrow div double else except exists explain float for
	from group having high_priority in index inner interval into is join
	key like limit natural nchar not numeric on or order outer over partition
	regexp rlike row select set some sql_big_result sql_buffer_result
	sql_calc_found_rows sql_no_cache sql_small_result straight_join then
	union using value values varbinary varchar when where window with xor`

// native are built-in functions that change nothing and read nothing that an
// earlier statement left. MariaDB since 10.3 and MySQL 8.0 both have them: where
// a server lacks one, a function of that name is somebody's own.
const native = `
	abs acos addtime aes_decrypt aes_encrypt ascii asin atan atan2 avg benchmark bin
	bit_count bit_length ceil ceiling char char_length character_length charset
	coalesce coercibility collation compress concat concat_ws connection_id conv
	convert convert_tz cos cot crc32 current_date current_role current_time
	current_timestamp current_user database date date_format datediff day dayname
	dayofmonth dayofweek dayofyear default degrees elt exp export_set extractvalue
	field find_in_set floor format from_base64 from_days from_unixtime get_format
	greatest hex hour if ifnull inet6_aton inet6_ntoa inet_aton inet_ntoa insert instr
	interval is_free_lock is_used_lock isnull json_array json_array_append
	json_array_insert json_contains json_contains_path json_depth json_extract
	json_insert json_keys json_length json_merge_patch json_merge_preserve json_object
	json_quote json_remove json_replace json_search json_set json_type json_unquote
	json_valid last_day last_value lcase least left length ln localtime localtimestamp
	locate log log10 log2 lower lpad ltrim make_set makedate maketime master_pos_wait
	match md5 microsecond minute mod month monthname nullif oct octet_length ord
	period_add period_diff pi pow power quarter quote radians regexp_instr
	regexp_replace regexp_substr release_lock repeat replace reverse right round
	row_number rpad rtrim schema sec_to_time second sha sha1 sha2 sign sin sleep
	soundex space sqrt str_to_date strcmp substring_index subtime sysdate tan time
	time_format time_to_sec timediff timestamp timestampadd timestampdiff to_base64
	to_days to_seconds truncate ucase uncompress uncompressed_length unhex
	unix_timestamp updatexml upper user utc_date utc_time utc_timestamp uuid uuid_short
	version week weekday weekofyear weight_string year yearweek`

// touching are built-in functions whose names are free for others unless the
// parenthesis touches them.
const touching = `
	adddate bit_and bit_or bit_xor cast count cume_dist curdate curtime date_add
	date_sub dense_rank extract first_value group_concat lag lead max mid min now
	nth_value ntile percent_rank position rank session_user std stddev stddev_pop
	stddev_samp subdate substr substring sum system_user trim var_pop var_samp
	variance`

// marks are the words that bring traits of their own, as functions or not.
var marks = []struct {
	traits Traits
	call   call
	words  string
}{
	{Names, callSyntax, `join straight_join table`},
	{Holds, callForeign, `dumpfile outfile procedure`},
	{Holds, callNative, `get_lock`},
	{Sets, callNative, `rand`},
	{Sets, callSyntax, `sql_calc_found_rows`},
	{Previous, callNative, `found_rows last_insert_id row_count`},
	// Sequences are reached without a FROM: NEXT VALUE FOR s, s.nextval.
	{Names | Sets | Previous, callForeign, `currval lastval nextval setval`},
	// With sql_mode=ORACLE.
	{Previous, callForeign, `rowcount sqlcode sqlerrm`},
	// Tables that show what this connection did. Their schema may be the default
	// one, so they are known without it.
	{Previous, callForeign, `
		events_stages_current events_stages_history events_statements_current
		events_statements_history events_transactions_current events_transactions_history
		events_waits_current events_waits_history information_schema memory_summary_by_thread_by_event_name
		optimizer_trace performance_schema profiling session_account_connect_attrs
		session_connect_attrs session_status session_variables status_by_thread sys
		user_variables user_variables_by_thread variables_by_thread`},
}

var ids = map[string]id{
	"against": idAgainst, "as": idAs, "dual": idDual, "for": idFor, "from": idFrom, "global": idGlobal, "in": idIn,
	"into": idInto, "last_insert_id": idLastInsertID, "local": idLocal, "recursive": idRecursive, "session": idSession,
	"to": idTo, "transaction": idTransaction, "update": idUpdate, "value": idValue, "with": idWith,
}

// unlisted stands where a word is expected to be known and is not.
var unlisted word

// The table is an open hash over the first bytes, filled once: a lookup is made
// for each word of each statement.
const (
	slots     = 2048
	hashStart = 2166136261 // FNV-1a
)

func hashByte(h uint32, b byte) uint32 { return (h ^ uint32(b|0x20)) * 16777619 }

var table = build()

// lookup finds what is known about b, whose hash is h; nil is nothing.
func lookup(b []byte, h uint32) *word {
	for i := h; ; i++ {
		w := table[i%slots]
		if w == nil || equalFold(b, w.name) {
			return w
		}
	}
}

func build() *[slots]*word {
	var t [slots]*word
	of := func(name string) *word {
		h := uint32(hashStart)
		for i := range len(name) {
			h = hashByte(h, name[i])
		}
		for {
			w := &t[h%slots]
			if *w == nil {
				*w = &word{name: name}
			}
			if (*w).name == name {
				return *w
			}
			h++
		}
	}
	for list, c := range map[string]call{syntax: callSyntax, native: callNative, touching: callTouching} {
		for _, name := range strings.Fields(list) {
			// Some words are both, as CHAR(10) and CHAR(77): either way no call of another's.
			of(name).call = max(of(name).call, c)
		}
	}
	for _, m := range marks {
		for _, name := range strings.Fields(m.words) {
			w := of(name)
			w.traits, w.call = m.traits, max(w.call, m.call)
		}
	}
	for name, id := range ids {
		of(name).id = id
	}
	for name, v := range verbs {
		of(name).verb = v
	}
	for s, list := range shows {
		for _, name := range strings.Fields(list) {
			of(name).show = s
		}
	}
	for s, list := range systems {
		for _, name := range strings.Fields(list) {
			of(name).system = max(of(name).system, s)
		}
	}
	return &t
}
