package courier

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/stream"
)

// stage is ours in dead letters.
const stage = "courier"

// bury writes the dead letter of a SET whose delivery is over, and returns nil when it is durable. Its source names the
// stream, its reason the jti and the receiver's words; with topic, partition and offset it can be delivered again.
func (c *Courier) bury(ctx context.Context, s *ssf.Stream, it *item, r result) error {
	d := &events.DeadLetter{Time: events.MillisOf(time.Now()), Source: "stream:" + s.ID, Stage: stage}
	jti := it.jti
	if it.control != nil {
		t, err := it.control.token(s)
		if err == nil {
			d.Bytes, err = t.Claims()
		}
		if err != nil {
			d.Bytes = nil // there is nothing to show
		}
		d.ID = events.ID("dead_letter", stage, s.ID, jti)
	} else {
		raw, err := c.hub.raw(ctx, it.partition, it.offset)
		if err != nil {
			c.log.Warn("reading a decision for its dead letter, trying again", zap.String("stream", s.ID), zap.Error(err))
			return fmt.Errorf("writing a dead letter: %w", err)
		}
		d.Topic, d.Partition, d.Offset, d.Bytes = topicRevocations, it.partition, it.offset, raw
		d.ID = events.ID("dead_letter", stage, s.ID, strconv.Itoa(it.partition), strconv.FormatInt(it.offset, 10))
	}
	d.Size = len(d.Bytes)
	d.Reason = clip(fmt.Sprintf("jti %s: %s", jti, r.reason))
	err := c.letters.Publish(ctx, events.TopicDeadLetter, []stream.Record{{Key: []byte(d.Source), Value: events.Encode(d)}})
	if err != nil {
		if ctx.Err() == nil {
			c.log.Warn("writing a dead letter, trying again", zap.String("stream", s.ID), zap.Error(err))
		}
		return fmt.Errorf("writing a dead letter: %w", err)
	}
	method := methodPush
	if s.Delivery.Method == ssf.MethodPoll {
		method = methodPoll
	}
	c.metrics.deadLetters.WithLabelValues(method).Inc()
	c.log.Warn("SET is not deliverable", zap.String("stream", s.ID), zap.String("jti", jti), zap.String("reason", r.reason))
	return nil
}
