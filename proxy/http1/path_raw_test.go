//go:build linux && !weir_netconn

package http1_test

// rawPath says which path of sock the tests run on.
const rawPath = true
