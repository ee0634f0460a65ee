package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// ReadRange hands the records of one partition at or past from, and before to, to fn, each valid during the call, and
// returns where the next call goes on: at to when there is nothing more. It works on compacted topics. An offset that
// retention has passed stands for the first retained one. An error of fn ends the read and is returned; the record that it
// was given counts as read. Network trouble is returned, not retried.
func (c *Cluster) ReadRange(ctx context.Context, topic string, partition int, from, to int64, fn func(Record) error) (next int64, err error) {
	s := c.scan(topic, partition, from)
	for s.next < to {
		var failed error
		_, err := s.fetch(ctx, scanWait, to, func(r *Record) error {
			failed = fn(*r)
			return failed
		})
		switch {
		case failed != nil:
			return s.next, failed
		case errors.Is(err, errOutOfRange):
			first, end, err := c.ends(ctx, topic, partition)
			if err != nil {
				return s.next, err
			}
			if s.next >= first {
				return s.next, fmt.Errorf("%s/%d ends at %d, before %d: the topic was truncated or created anew", topic, partition, end, s.next)
			}
			s.next = min(first, to)
		case err != nil:
			return s.next, err
		case s.next >= s.high:
			return min(s.next, to), nil // the log ends before to
		}
	}
	return s.next, nil
}

// OffsetsAt returns, per partition of topic, the offset of the first record whose time is not before at; the end of the
// partition where there is none.
func (c *Cluster) OffsetsAt(ctx context.Context, topic string, at time.Time) ([]int64, error) {
	_, out, err := c.Ends(ctx, topic)
	if err != nil {
		return nil, err
	}
	ask := make([]kafka.OffsetRequest, len(out))
	for p := range ask {
		ask[p] = kafka.TimeOffsetOf(p, at)
	}
	res, err := c.client().ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{c.physical(topic): ask}})
	if err != nil {
		c.noteError(err)
		return nil, fmt.Errorf("looking up offsets of %s by time: %w", topic, err)
	}
	seen := 0
	for _, p := range res.Topics[c.physical(topic)] {
		if p.Error != nil {
			c.renewTransport()
			return nil, fmt.Errorf("looking up offsets of %s/%d by time: %w", topic, p.Partition, p.Error)
		}
		seen++
		for offset := range p.Offsets {
			if offset >= 0 && p.Partition < len(out) {
				out[p.Partition] = min(offset, out[p.Partition])
			}
		}
	}
	if seen != len(out) {
		return nil, fmt.Errorf("looking up offsets of %s by time: %d of %d partitions answered", topic, seen, len(out))
	}
	return out, nil
}

// FollowFrom hands every record at or past the given offsets, one a partition, to fn as it arrives, until ctx ends, and
// returns nil then. Like Follow it retries network trouble for ever.
func (t *Table) FollowFrom(ctx context.Context, topic string, from []int64, fn func(Record) error) error {
	err := t.between(ctx, topic, from, from, serial(fn), func() {}, true)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// Lag tells how many records of topic a consumer group has not committed. known is false for a group that has committed
// nothing there. It only looks.
func (c *Cluster) Lag(ctx context.Context, group, topic string) (lag int64, known bool, err error) {
	first, end, err := c.Ends(ctx, topic)
	if err != nil {
		return 0, false, err
	}
	partitions := make([]int, len(end))
	for p := range partitions {
		partitions[p] = p
	}
	res, err := c.client().OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: c.physical(group), Topics: map[string][]int{c.physical(topic): partitions},
	})
	if err == nil {
		err = res.Error
	}
	if errors.Is(err, kafka.GroupIdNotFound) { // some brokers say so, others that there are no offsets
		err, res = nil, &kafka.OffsetFetchResponse{}
	}
	if err != nil {
		c.noteError(err)
		return 0, false, fmt.Errorf("looking up offsets of group %s: %w", group, err)
	}
	committed := make([]int64, len(end))
	for p := range committed {
		committed[p] = -1
	}
	for _, p := range res.Topics[c.physical(topic)] {
		if p.Error != nil {
			return 0, false, fmt.Errorf("looking up offsets of group %s in %s/%d: %w", group, topic, p.Partition, p.Error)
		}
		if p.Partition >= 0 && p.Partition < len(committed) {
			committed[p.Partition] = p.CommittedOffset
		}
	}
	for p, at := range committed {
		known = known || at >= 0
		lag += max(0, end[p]-max(at, first[p]))
	}
	return lag, known, nil
}

// LoadSince hands every record of topic that is there now and entered the log at or after a moment to fn and returns, as
// [Table.Load] does for a whole topic.
func (c *Cluster) LoadSince(ctx context.Context, topic string, since time.Time, fn func(Record) error) error {
	from, err := c.OffsetsAt(ctx, topic, since)
	if err != nil {
		return err
	}
	_, err = c.Table(nil).LoadFrom(ctx, topic, from, fn)
	return err
}
