// Package accept runs the built weir as its users do, beside the programs they
// have: nginx and HAProxy, wrk, ab, curl and PHP, in namespaces of its own where
// the network must misbehave. What it measures it prints as lines that begin
// with "figure:"; make accept shows them.
package accept
