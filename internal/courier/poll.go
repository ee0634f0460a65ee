package courier

import (
	"context"
	"slices"
	"time"

	"github.com/countersign-io/countersign/internal/ssf"
)

// poll answers one poll (RFC 8936 §2.4). Acknowledgements are durable before anything is handed out. Of each subject only
// the first SET is handed out, the next one after its acknowledgement: the members of a JSON object have no order, so this
// is what keeps it. What was handed out and not acknowledged comes again after a while.
func (o *outlet) poll(ctx context.Context, q ssf.PollRequest) (ssf.PollResponse, error) {
	none := ssf.PollResponse{Sets: map[string]string{}}
	if err := o.acknowledge(ctx, q.Ack, q.SetErrs); err != nil {
		return none, err
	}
	limit := o.c.cfg.PollSets
	if q.MaxEvents != nil {
		limit = min(limit, *q.MaxEvents)
	}
	if limit <= 0 {
		return none, nil
	}
	waits := false
	defer func() {
		if waits {
			o.mu.Lock()
			o.polling = false
			o.mu.Unlock()
		}
	}()
	for {
		o.pull()
		answer, again, news, err := o.handOut(ctx, limit)
		if err != nil || len(answer.Sets) > 0 || q.ReturnImmediately {
			return answer, err
		}
		if o.isStopped() {
			return none, o.holding.gone()
		}
		if !waits {
			o.mu.Lock()
			taken := o.polling
			o.polling = true
			o.mu.Unlock()
			if taken {
				return answer, nil // somebody waits already
			}
			waits = true
		}
		var timer <-chan time.Time
		if !again.IsZero() {
			t := time.NewTimer(time.Until(again))
			defer t.Stop()
			timer = t.C
		}
		select {
		case <-news:
		case <-timer:
		case <-o.holding.ctx.Done():
			return none, o.holding.gone()
		case <-ctx.Done():
			return none, nil // the wait is over, and there was nothing
		}
	}
}

// handOut marks SETs as handed out and writes them. Without any it returns when there may be some: at a time, or with news.
func (o *outlet) handOut(ctx context.Context, limit int) (out ssf.PollResponse, again time.Time, news <-chan struct{}, err error) {
	out.Sets = map[string]string{}
	var picked []*item
	o.mu.Lock()
	news = o.news
	now := time.Now()
	s := o.stream
	for !o.stopped && o.problem == nil && len(picked) < limit {
		it, at := o.ready(now)
		if it == nil {
			again = at
			break
		}
		it.subject.current = it // until it is written
		picked = append(picked, it)
	}
	more := o.hasMore(now)
	o.mu.Unlock()

	written := make(map[*item]string, len(picked))
	ended := map[*item]string{} // with what outcome
	for _, it := range picked {
		t, compact, r := o.write(ctx, it, &s)
		switch r.outcome {
		case "":
			written[it] = compact
			out.Sets[t.JTI] = compact
		case outcomeRejected:
			if o.c.bury(ctx, &s, it, r) == nil {
				ended[it] = r.outcome
			}
		case outcomeDropped:
			ended[it] = r.outcome
		}
	}
	o.mu.Lock()
	for _, it := range picked {
		o.free(it.subject)
		switch {
		case ended[it] != "":
			o.c.metrics.sets.WithLabelValues(methodPoll, ended[it]).Inc()
			o.remove(it)
		case written[it] == "":
			it.due = now.Add(time.Second)
		default:
			if it.attempts++; it.attempts > 1 {
				o.c.metrics.redeliveries.WithLabelValues(methodPoll).Inc()
			}
			o.turn++
			it.handed, it.turn, it.due = true, o.turn, now.Add(o.c.cfg.RedeliverAfter)
		}
	}
	o.mu.Unlock()
	if len(ended) > 0 {
		o.holding.changed(o)
	}
	if len(ended) == len(picked) && len(picked) > 0 {
		return o.handOut(ctx, limit)
	}
	out.MoreAvailable = more && len(out.Sets) > 0
	return out, again, news, nil
}

// hasMore reports whether a poll that acknowledges what is being handed out would find more at once. It is called with o.mu
// held.
func (o *outlet) hasMore(now time.Time) bool {
	if it, _ := o.ready(now); it != nil {
		return true
	}
	behind := func(s *subject) bool { return s.current != nil && len(s.items) > 1 }
	if behind(o.controls) {
		return true
	}
	if o.stream.Status != ssf.Enabled {
		return false
	}
	for _, s := range o.subjects {
		if behind(s) {
			return true
		}
	}
	return !o.room() // what does not fit the window is on the log
}

// acknowledge ends the delivery of SETs and returns when that is durable. What the receiver could not use goes to the dead
// letters first. Ids that are not known were acknowledged before.
func (o *outlet) acknowledge(ctx context.Context, acks []string, errs map[string]ssf.SetError) error {
	if len(acks)+len(errs) == 0 {
		return nil
	}
	if err := o.recall(ctx); err != nil {
		return err
	}
	o.mu.Lock()
	s := o.stream
	known := map[string][]*item{}
	note := func(q *subject) {
		for _, it := range q.items {
			known[it.jti] = append(known[it.jti], it)
		}
	}
	note(o.controls)
	for _, q := range o.subjects {
		note(q)
	}
	o.mu.Unlock()
	for jti, e := range errs {
		for _, it := range known[jti] {
			if err := o.c.bury(ctx, &s, it, result{reason: setErrReason(e)}); err != nil {
				return err
			}
		}
	}
	changed := false
	o.mu.Lock()
	now := time.Now()
	end := func(jti, outcome string) {
		for _, it := range known[jti] {
			if it.control == nil && !it.at.IsZero() && outcome == outcomeDelivered {
				o.c.metrics.accepted.WithLabelValues(methodPoll).Observe(now.Sub(it.at).Seconds())
			}
			o.c.metrics.sets.WithLabelValues(methodPoll, outcome).Inc()
			o.remove(it)
			changed = true
		}
		delete(known, jti)
	}
	for jti := range errs {
		end(jti, outcomeRejected)
	}
	for _, jti := range acks {
		end(jti, outcomeDelivered)
	}
	if changed {
		o.succeeded(now)
	}
	o.mu.Unlock()
	if !changed {
		return nil
	}
	o.pull() // there may be room
	return o.holding.save(ctx, o)
}

// recall returns when what waited as the stream was held last has been read again: it may be what is acknowledged.
func (o *outlet) recall(ctx context.Context) error {
	for {
		o.pull()
		o.mu.Lock()
		partition, stopped := slices.IndexFunc(o.cursors, func(c cursor) bool { return len(c.again) > 0 }), o.stopped
		var from int64
		if partition >= 0 {
			from = o.cursors[partition].again[0]
		}
		o.mu.Unlock()
		switch {
		case partition < 0:
			return nil
		case stopped:
			return o.holding.gone()
		}
		if err := o.c.hub.read(ctx, partition, from); err != nil {
			return err
		}
		if !pause(ctx, time.Millisecond) { // somebody else may be about to take it in
			return ctx.Err()
		}
	}
}
