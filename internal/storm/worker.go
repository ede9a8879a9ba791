package storm

import (
	"context"
	"errors"
	"time"
)

// worker makes one request at a time.
type worker struct {
	*run
	link   link
	client client // over link
}

// work makes requests until all are begun or the storm is ended. The deadline of
// the one that is under way is not after until; and when ctx ends, cut ends it.
func (w *worker) work(ctx context.Context) {
	defer w.client.hangUp()
	for w.ended(ctx) == "" && w.begun.Add(1) <= int64(w.o.Requests) {
		began := time.Now()
		if err := w.client.once(ctx, w.deadline()); err != nil {
			w.client.hangUp()
			k := kind(err)
			if end := w.ended(ctx); end != "" && !errors.As(err, new(refusal)) {
				k = end
			}
			w.fail(k)
			continue
		}
		w.latency.Observe(time.Since(began))
		w.answered.Add(1)
	}
}
