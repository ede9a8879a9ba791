// Package configs reads weir's configuration file and checks it as a whole.
//
// The file is YAML and read strictly: a key that is not known, a number without
// its unit, or a value outside its range is an error with its line and column,
// and all errors of a file are reported at once. Nothing is clamped silently.
//
// The structs in config.go and config_mysql.go are the schema. Their tags drive
// decoding, the effective configuration, the reload diff and schema.json;
// default.yaml is the one place of the defaults, and has an entry of each
// protocol; check_*.go hold the rules between keys. The YAML library is known to
// load.go alone.
//
// Passwords and hashes are given by User.Secret alone: no error, change or
// printed value has them.
//
// All functions may be called concurrently. A *Config is a plain value that
// nobody changes once it has been returned.
package configs
