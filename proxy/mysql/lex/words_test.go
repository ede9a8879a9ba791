package lex

import (
	"slices"
	"strings"
	"testing"
)

func known(s string) *word {
	h := uint32(hashStart)
	for i := range len(s) {
		h = hashByte(h, s[i])
	}
	return lookup([]byte(s), h)
}

func TestListsAreSortedWordsInLowerCase(t *testing.T) {
	lists := map[string]string{"syntax": syntax, "native": native, "touching": touching, "readable": systems[systemReadable], "settable": systems[systemSettable]}
	for _, m := range marks {
		lists[m.words] = m.words
	}
	for _, list := range shows {
		lists[list] = list
	}
	for name, list := range lists {
		words := strings.Fields(list)
		if !slices.IsSorted(words) || len(slices.Compact(slices.Clone(words))) != len(words) {
			t.Errorf("%.30s: not sorted, or twice the same", name)
		}
		for _, w := range words {
			if w != strings.ToLower(w) || strings.ContainsFunc(w, func(r rune) bool { return classes[byte(r)]&inWord == 0 }) {
				t.Errorf("%q is no word in lower case", w)
			}
			if k := known(strings.ToUpper(w)); k == nil || k.name != w {
				t.Errorf("%q is not found", w)
			}
		}
	}
	for _, s := range []string{"", "f", "selec", "selects", "s", "information_schem"} {
		if k := known(s); k != nil {
			t.Errorf("%q is taken for %q", s, k.name)
		}
	}
}

// A variable that hides changes from the pool, or that a reset leaves, must not
// get onto the list by a careless edit.
func TestNoVariableIsSettableThatHidesOrStays(t *testing.T) {
	for _, name := range strings.Fields(systems[systemSettable]) {
		for _, prefix := range []string{"session_track", "sql_log", "gtid", "wsrep", "binlog", "pseudo", "skip_", "server_id", "sql_slave", "max_relay", "rand_seed", "last_insert_id", "identity", "debug"} {
			if strings.HasPrefix(name, prefix) {
				t.Errorf("%s is settable", name)
			}
		}
	}
	// Each of these is answered from what an earlier statement did.
	for _, name := range []string{"last_insert_id", "identity", "warning_count", "error_count", "last_gtid", "in_transaction", "rand_seed1", "gtid_seq_no", "pseudo_thread_id"} {
		if w := known(name); w != nil && w.system != systemOther {
			t.Errorf("%s is readable", name)
		}
	}
}

// Functions with an effect, or that may be missing and so be somebody's own.
func TestNoFunctionWithAnEffectIsHarmless(t *testing.T) {
	for _, name := range strings.Fields(`nextval setval lastval load_file name_const wsrep_sync_wait_upto_gtid wsrep_last_written_gtid nvl nvl2
		password old_password encrypt sys_guid json_table median percentile_cont release_all_locks service_get_write_locks
		against columns first next point geometry sys_exec sys_eval`) {
		got := Scan([]byte("SELECT "+name+"(1)"), true)
		if got.Plain() || got&Names == 0 {
			t.Errorf("%s(1): %v", name, got)
		}
	}
}
