// Package limiter holds what says "not yet" and "no": the queue of those who
// wait, the pacer that spaces dials, and the budget of retries. It knows
// nothing of connections or pools.
package limiter
