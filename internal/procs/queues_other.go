//go:build !linux

package procs

import "time"

// queues: other systems do not tell how long a thread stood in a run queue.
type queues struct{}

func newQueues() *queues { return nil }

func (*queues) waited() time.Duration { return 0 }
