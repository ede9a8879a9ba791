package lex

// system says what is known about a system variable.
type system uint8

const (
	systemOther    system = iota // nothing
	systemReadable               // what it holds does not come from earlier statements, SET aside
	systemSettable               // and SET in a session is felt by nobody else and undone by a reset
)

// systems are the variables that clients use. That a reset undoes each of the
// settable ones was measured on MariaDB 10.11; of the others it leaves
// max_relay_log_size and sql_slave_skip_counter as they were. Left out on purpose
// are session_track_*, without which the pool is blind, profiling, whose texts a
// reset leaves, and all that concerns replication.
var systems = map[system]string{
	systemReadable: `
		basedir character_set_database collation_database datadir have_openssl have_ssl
		hostname init_connect innodb_version license lower_case_file_system
		lower_case_table_names max_allowed_packet max_connections max_user_connections
		net_buffer_length performance_schema port protocol_version query_cache_size
		read_only redirect_url server_id session_track_schema session_track_state_change
		session_track_system_variables session_track_transaction_info skip_name_resolve
		socket ssl_ca system_time_zone thread_handling tls_version tmpdir version
		version_comment version_compile_machine version_compile_os version_ssl_library`,
	systemSettable: `
		analyze_max_length auto_increment_increment auto_increment_offset autocommit
		big_tables bulk_insert_buffer_size character_set_client character_set_connection
		character_set_filesystem character_set_results character_set_server
		check_constraint_checks collation_connection collation_server completion_type
		default_storage_engine default_tmp_storage_engine default_week_format
		div_precision_increment eq_range_index_dive_limit explicit_defaults_for_timestamp
		foreign_key_checks group_concat_max_len idle_transaction_timeout
		in_predicate_conversion_threshold innodb_lock_wait_timeout innodb_strict_mode
		insert_id interactive_timeout join_buffer_size join_cache_level lc_messages
		lc_time_names lock_wait_timeout log_slow_verbosity long_query_time
		low_priority_updates max_error_count max_execution_time max_heap_table_size
		max_join_size max_length_for_sort_data max_recursive_iterations max_seeks_for_key
		max_session_mem_used max_sort_length max_sp_recursion_depth max_statement_time
		min_examined_row_limit mrr_buffer_size net_read_timeout net_retry_count
		net_write_timeout old_mode optimizer_prune_level optimizer_search_depth
		optimizer_switch optimizer_use_condition_selectivity progress_report_time
		query_cache_type read_buffer_size read_rnd_buffer_size slow_query_log sort_buffer_size sql_auto_is_null
		sql_big_selects sql_buffer_result sql_mode sql_notes sql_quote_show_create
		sql_safe_updates sql_select_limit sql_warnings standard_compliant_cte
		storage_engine time_zone timestamp tmp_memory_table_size tmp_table_size
		transaction_isolation transaction_read_only tx_isolation tx_read_only
		unique_checks updatable_views_with_limit use_stat_tables wait_timeout`,
}

// reads is what it means to read a system variable.
func (l *lexer) reads() Traits {
	if l.scope != nil && l.scope.id == idGlobal {
		return 0
	}
	if l.word == nil || l.word.system == systemOther || l.word.name == "insert_id" {
		return Previous // identity, warning_count, last_gtid, and what other servers have
	}
	return 0
}

// settable says whether SET may give the variable that l is at a value.
func (l *lexer) settable() bool { return l.word != nil && l.word.system == systemSettable }
