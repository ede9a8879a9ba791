//go:build !weir_netconn

package accept

// buildTags are those of the weir under test: the same as the tests'.
var buildTags []string
