package courier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/ssf/dialect"
	"github.com/countersign-io/countersign/internal/stream"
)

var _ ssf.Registry = (*Courier)(nil)

// settleWait is how long a request waits for a partition that changes hands.
const settleWait = 5 * time.Second

// holder returns the holding of a partition, waiting for a moment when it changes hands, or an *ssf.ElsewhereError.
func (c *Courier) holder(ctx context.Context, partition int) (*holding, error) {
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	for {
		c.mu.Lock()
		h, changed := c.holdings[partition], c.changed
		c.mu.Unlock()
		if h != nil && h.ctx.Err() == nil {
			return h, nil
		}
		_, held, moved := c.table.holder(partition)
		if peer := held.peer(c.url); peer != "" {
			return nil, &ssf.ElsewhereError{URL: peer}
		}
		select {
		case <-changed:
		case <-moved:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for a courier to take the stream up: %w", ctx.Err())
		}
	}
}

// find returns a stream that this courier holds. Which receiver asks is looked at there: elsewhere nobody is told anything.
func (c *Courier) find(ctx context.Context, id string) (*outlet, error) {
	if !validID(id) {
		return nil, ssf.ErrNotFound
	}
	h, err := c.holder(ctx, stream.PartitionFor([]byte(id), c.partitions))
	if err != nil {
		return nil, err
	}
	if o := h.outlet(id); o != nil {
		return o, nil
	}
	return nil, ssf.ErrNotFound
}

// findFor is find for a receiver; the stream is in use by it.
func (c *Courier) findFor(ctx context.Context, r *ssf.Receiver, id string) (*outlet, error) {
	o, err := c.find(ctx, id)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stream.Receiver != r.ID || o.stream.Tenant != r.Tenant {
		return nil, ssf.ErrNotFound
	}
	o.stream.Used = max(o.stream.Used, time.Now().Unix())
	return o, nil
}

// Create keeps a new stream. It gets an id whose partition this courier holds.
func (c *Courier) Create(ctx context.Context, s ssf.Stream) (ssf.Stream, error) {
	r, known := c.receiver(s.Receiver)
	if !known {
		return s, &ssf.InvalidError{Problem: "the receiver is not known"}
	}
	h, err := c.anyHolding(ctx)
	if err != nil {
		return s, err
	}
	for s.ID = newID(); stream.PartitionFor([]byte(s.ID), c.partitions) != h.partition; {
		s.ID = newID()
	}
	now := time.Now()
	s.Created, s.Used = now.Unix(), now.Unix()
	if s.Status == "" {
		s.Status = ssf.Enabled
	}
	if _, err := encodeConfig(s, nil, c.secrets); err != nil {
		return s, err
	}
	o := newOutlet(h, s, c.hub.count())
	o.restore(&progress{}, c.hub.ends())
	o.configDirty, o.dirty = true, true

	c.creating.Lock()
	mine, all := 0, 0
	for _, other := range c.all() {
		if all++; other.Receiver == s.Receiver {
			mine++
		}
	}
	if mine >= max(r.MaxStreams, 1) || all >= c.cfg.MaxStreams {
		c.creating.Unlock()
		return s, ssf.ErrTooManyStreams
	}
	h.mu.Lock()
	h.outlets[s.ID] = o
	h.dirty[o] = struct{}{}
	done := h.waiter()
	h.mu.Unlock()
	c.creating.Unlock()
	return s, c.elsewhere(h, h.wait(ctx, done))
}

// elsewhere turns the loss of a partition into what the caller can act on.
func (c *Courier) elsewhere(h *holding, err error) error {
	if errors.Is(err, errFenced) {
		if _, held, _ := c.table.holder(h.partition); held.peer(c.url) != "" {
			return &ssf.ElsewhereError{URL: held.URL}
		}
	}
	if errors.Is(err, errFenced) || errors.Is(err, errReleased) {
		return fmt.Errorf("%w: %w", ssf.ErrMoving, err)
	}
	return err
}

// ownWait is how long a new stream waits for a partition of this courier's own. There may be more couriers than partitions.
const ownWait = time.Second

// anyHolding picks a partition that this courier holds, by chance; another courier when it is given none.
func (c *Courier) anyHolding(ctx context.Context) (*holding, error) {
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	patience := time.NewTimer(ownWait)
	defer patience.Stop()
	waited := false
	for {
		c.mu.Lock()
		changed := c.changed
		for _, h := range c.holdings {
			if h.ctx.Err() == nil {
				c.mu.Unlock()
				return h, nil
			}
		}
		c.mu.Unlock()
		for p := range c.partitions {
			if _, held, _ := c.table.holder(p); waited && held.peer(c.url) != "" {
				return nil, &ssf.ElsewhereError{URL: held.URL}
			}
		}
		select {
		case <-changed:
		case <-patience.C:
			waited = true
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting to be given streams: %w", ctx.Err())
		}
	}
}

// all lists every stream, those held here as they are now.
func (c *Courier) all() []ssf.Stream {
	held := map[string]ssf.Stream{}
	mine := map[int]bool{}
	for _, h := range c.held() {
		mine[h.partition] = true
		for _, o := range h.list() {
			held[o.id] = o.config()
		}
	}
	out := c.table.streams(func(s *ssf.Stream) bool { return !mine[stream.PartitionFor([]byte(s.ID), c.partitions)] })
	for _, s := range held {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b ssf.Stream) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Streams lists a receiver's streams, wherever they are held.
func (c *Courier) Streams(_ context.Context, r ssf.Receiver) ([]ssf.Stream, error) {
	return slices.DeleteFunc(c.all(), func(s ssf.Stream) bool { return s.Receiver != r.ID || s.Tenant != r.Tenant }), nil
}

// Stream returns one.
func (c *Courier) Stream(ctx context.Context, r ssf.Receiver, id string) (ssf.Stream, error) {
	o, err := c.findFor(ctx, &r, id)
	if err != nil {
		return ssf.Stream{}, err
	}
	return o.config(), nil
}

// config is a copy of the configuration that shares nothing that changes.
func (o *outlet) config() ssf.Stream {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.configLocked()
}

func (o *outlet) configLocked() ssf.Stream {
	s := o.stream
	s.Audience, s.Requested, s.Subjects = slices.Clone(s.Audience), slices.Clone(s.Requested), slices.Clone(s.Subjects)
	return s
}

// Update changes a stream, one change at a time.
func (c *Courier) Update(ctx context.Context, r ssf.Receiver, id string, change func(*ssf.Stream) error) (ssf.Stream, error) {
	o, err := c.findFor(ctx, &r, id)
	if err != nil {
		return ssf.Stream{}, err
	}
	select {
	case o.edit <- struct{}{}:
		defer func() { <-o.edit }()
	case <-ctx.Done():
		return ssf.Stream{}, ctx.Err()
	}
	before := o.config()
	s := before
	if err := change(&s); err != nil {
		return ssf.Stream{}, err
	}
	s.ID, s.Tenant, s.Receiver, s.Created = before.ID, before.Tenant, before.Receiver, before.Created
	if _, err := encodeConfig(s, nil, c.secrets); err != nil {
		return ssf.Stream{}, err
	}
	o.mu.Lock()
	// The transmitter may have changed the status meanwhile: who said nothing about it leaves it so.
	if s.Status == before.Status && s.Reason == before.Reason {
		s.Status, s.Reason, s.StatusBy = o.stream.Status, o.stream.Reason, o.stream.StatusBy
	}
	s.Used = max(s.Used, o.stream.Used)
	o.become(s)
	o.wake()
	o.mu.Unlock()
	o.pull()
	if err := o.holding.save(ctx, o); err != nil {
		return ssf.Stream{}, c.elsewhere(o.holding, err)
	}
	return o.config(), nil
}

// become takes a new configuration over, with what follows from it. It is called with o.mu held.
func (o *outlet) become(s ssf.Stream) {
	before := o.stream
	o.stream, o.wanted, o.configDirty, o.dirty = s, newSubjects(&s), true, true
	switch {
	case s.Status == ssf.Disabled && before.Status != ssf.Disabled:
		o.drop()
		o.controls.items = slices.DeleteFunc(o.controls.items, func(it *item) bool { return it.control.Kind != streamUpdated })
	case s.Status != ssf.Disabled && before.Status == ssf.Disabled:
		for p, end := range o.c.hub.ends() {
			o.cursors[p].next, o.cursors[p].again = end, nil
		}
	}
	if s.Status != before.Status {
		o.controls.items = slices.DeleteFunc(o.controls.items, func(it *item) bool {
			return it.control.Kind == streamUpdated && it != o.controls.current // it is not true any more
		})
	}
	if s.Status == ssf.Enabled && before.Status != ssf.Enabled {
		o.failingSince = time.Time{} // the time to be dead begins anew
	}
	if s.Delivery == before.Delivery && s.Status == before.Status {
		return
	}
	// What could not be delivered is tried anew.
	o.failures, o.until, o.limit = 0, time.Time{}, 1
	anew := func(q *subject) {
		for _, it := range q.items {
			if it.due = (time.Time{}); s.Delivery.Method != before.Delivery.Method {
				it.handed = false
			}
		}
	}
	anew(o.controls)
	for _, q := range o.subjects {
		anew(q)
	}
	if errors.Is(o.problem, errSecret) && s.Delivery != before.Delivery {
		o.problem, o.sealed = nil, nil
	}
}

// Delete ends a stream.
func (c *Courier) Delete(ctx context.Context, r ssf.Receiver, id string) error {
	o, err := c.findFor(ctx, &r, id)
	if err != nil {
		return err
	}
	h := o.holding
	o.stop()
	o.mu.Lock()
	if o.deleted {
		o.mu.Unlock()
		return ssf.ErrNotFound
	}
	o.deleted = true // nothing of it is written any more
	at := rank{h.epoch, o.revision + 1}
	o.mu.Unlock()
	h.mu.Lock()
	delete(h.outlets, id)
	h.deleted[id] = at
	done := h.waiter()
	h.mu.Unlock()
	return c.elsewhere(h, h.wait(ctx, done))
}

// Verify queues a verification SET.
func (c *Courier) Verify(ctx context.Context, r ssf.Receiver, id string, state *string) error {
	o, err := c.findFor(ctx, &r, id)
	if err != nil {
		return err
	}
	if state != nil && len(*state) > ssf.MaxState {
		return &ssf.InvalidError{Problem: fmt.Sprintf("state: is longer than %d bytes", ssf.MaxState)}
	}
	now := time.Now()
	o.mu.Lock()
	if wait := c.cfg.MinVerificationInterval - now.Sub(o.verified); !o.verified.IsZero() && wait > 0 {
		o.mu.Unlock()
		return &ssf.TooManyError{After: wait}
	}
	o.verified = now
	o.mu.Unlock()
	_, err = c.control(ctx, o, control{Kind: verification, State: state})
	return err
}

// control queues a control event and returns its jti when that is durable.
func (c *Courier) control(ctx context.Context, o *outlet, e control) (jti string, err error) {
	e.JTI, e.At = newID(), time.Now().Unix()
	o.mu.Lock()
	size := e.size()
	for _, it := range o.controls.items {
		size += it.control.size()
	}
	switch {
	case o.stream.Status == ssf.Disabled:
		o.mu.Unlock()
		return "", ssf.ErrDisabled
	case o.lost(): // nothing would be written, and nothing sent
		o.mu.Unlock()
		return "", errLost
	case len(o.controls.items) >= maxControls || size > maxControlBytes:
		o.mu.Unlock()
		return "", &ssf.TooManyError{After: 5 * time.Second}
	}
	o.addControl(e)
	// Who asks wants to know now, also after long trouble.
	o.until = time.Time{}
	for _, it := range o.controls.items {
		it.due = time.Time{}
	}
	o.wake()
	o.mu.Unlock()
	return e.JTI, c.elsewhere(o.holding, o.holding.save(ctx, o))
}

// Poll answers a poll.
func (c *Courier) Poll(ctx context.Context, r ssf.Receiver, id string, q ssf.PollRequest) (ssf.PollResponse, error) {
	o, err := c.findFor(ctx, &r, id)
	if err != nil {
		return ssf.PollResponse{}, err
	}
	if o.config().Delivery.Method != ssf.MethodPoll {
		return ssf.PollResponse{}, ssf.ErrNotPoll
	}
	answer, err := o.poll(ctx, q)
	if err != nil {
		return ssf.PollResponse{}, c.elsewhere(o.holding, err)
	}
	o.mu.Lock()
	o.lastSuccess, o.advanced = time.Now(), true // the receiver is there; written now and then only
	o.mu.Unlock()
	return answer, nil
}

// replaySince sets a stream back to a time: everything since is delivered again. It returns how many
// records of the log that are.
func (c *Courier) replaySince(ctx context.Context, o *outlet, since time.Time) (records int64, err error) {
	offsets, err := c.deps.Cluster.OffsetsAt(ctx, topicRevocations, since)
	if err != nil {
		return 0, err
	}
	ends := o.c.hub.ends()
	o.mu.Lock()
	if o.stream.Status == ssf.Disabled {
		o.mu.Unlock()
		return 0, ssf.ErrDisabled
	}
	// What waits from before that time goes on waiting; the rest is read again.
	type older struct {
		partition int
		offset    int64
	}
	var keep []older
	for _, q := range o.subjects {
		for _, it := range q.items {
			if it.offset < offsets[it.partition] {
				keep = append(keep, older{it.partition, it.offset})
			}
		}
	}
	for p := range o.cursors {
		for _, offset := range o.cursors[p].again {
			if offset < offsets[p] {
				keep = append(keep, older{p, offset})
			}
		}
	}
	o.drop()
	for p := range o.cursors {
		records += max(ends[p]-offsets[p], 0)
		o.cursors[p].next = min(o.cursors[p].next, offsets[p])
		if o.lost() {
			o.cursors[p].next = offsets[p]
		}
	}
	for _, k := range keep {
		if k.offset < o.cursors[k.partition].next {
			o.cursors[k.partition].again = append(o.cursors[k.partition].again, k.offset)
		}
	}
	for p := range o.cursors {
		slices.Sort(o.cursors[p].again)
	}
	if o.lost() {
		o.problem = nil // somebody has decided
	}
	o.mu.Unlock()
	if err := o.holding.save(ctx, o); err != nil {
		return 0, c.elsewhere(o.holding, err)
	}
	o.pull()
	return records, nil
}

// replayOne delivers one decision again, whose place a dead letter tells.
func (c *Courier) replayOne(ctx context.Context, o *outlet, jti string, partition int, offset int64) error {
	ends := c.hub.ends()
	if partition < 0 || partition >= len(ends) || offset < 0 || offset >= ends[partition] {
		return &ssf.InvalidError{Problem: "partition, offset: the log has no such place"}
	}
	d, err := c.hub.get(ctx, partition, offset)
	switch {
	case err != nil:
		return err
	case d == nil:
		return &ssf.InvalidError{Problem: "partition, offset: there is no decision there any more"}
	}
	o.mu.Lock()
	_, ok, err := dialect.Encode(o.stream, &d.claims, time.Now())
	switch {
	case err != nil || !ok || d.claims.Tenant != o.stream.Tenant:
		o.mu.Unlock()
		return &ssf.InvalidError{Problem: "the decision is not for this stream"}
	case d.claims.JTI != jti:
		o.mu.Unlock()
		return &ssf.InvalidError{Problem: "jti: the decision there has another"}
	case o.stream.Status == ssf.Disabled:
		o.mu.Unlock()
		return ssf.ErrDisabled
	case offset >= o.cursors[partition].next:
		o.mu.Unlock()
		return nil // it is still to come
	}
	if o.behind() >= blockedWindows*c.cfg.Window {
		o.mu.Unlock()
		return &ssf.TooManyError{After: 5 * time.Second}
	}
	again := &o.cursors[partition].again
	if i, waits := slices.BinarySearch(*again, offset); !waits {
		*again = slices.Insert(*again, i, offset)
	}
	o.mu.Unlock()
	if err := o.holding.save(ctx, o); err != nil {
		return c.elsewhere(o.holding, err)
	}
	o.pull()
	return nil
}
