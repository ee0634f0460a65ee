package stepupkafka

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// remind is how often trouble that goes on is logged again.
	remind = time.Minute
	// calm is how long reading must go without trouble before it is said to be over. It is longer than the pauses between
	// tries, so that one partition that fails while others do not is one trouble, not many.
	calm = 3 * time.Second
)

// outage keeps trouble that is retried from filling the log: it is told when it begins, once every remind while it goes on,
// and when it is over, for all partitions together. It is safe for concurrent use.
type outage struct {
	log         *slog.Logger
	doing, done string // the messages while it goes on and when it is over
	calm        time.Duration

	mu                sync.Mutex
	began, last, told time.Time // began is zero while all is well
	tries             int
}

// trouble tells of a try that failed; about are attributes of the log's line.
func (o *outage) trouble(now time.Time, err error, about ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.began.IsZero() {
		o.began, o.told, o.tries = now, time.Time{}, 0
	}
	o.last = now
	o.tries++
	if !o.told.IsZero() && now.Sub(o.told) < remind {
		return
	}
	o.told = now
	o.log.Warn(o.doing, append(about, "tries", o.tries, "for", now.Sub(o.began).Round(time.Second), "error", err)...)
}

// well tells that all has been done that there was to do.
func (o *outage) well(now time.Time, about ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.began.IsZero() || now.Sub(o.last) < o.calm {
		return
	}
	o.log.Info(o.done, append(about, "tries", o.tries, "after", now.Sub(o.began).Round(time.Millisecond))...)
	o.began = time.Time{}
}
