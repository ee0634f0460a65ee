package stream

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// A part of a partition can be read, stopped in, and gone on with; what is not there ends the read.
func TestReadRangeReadsAPart(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic := kafkatest.Topic(t, brokers, "range", 2, map[string]string{"cleanup.policy": "compact"})
	p := c.Producer()
	for i := range 6 {
		if _, err := p.Produce(t.Context(), topic, 1, []Record{{Key: []byte(fmt.Sprint(i)), Value: []byte("v")}}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(from, to int64, stopAt int) ([]int64, int64, error) {
		var got []int64
		next, err := c.ReadRange(t.Context(), topic, 1, from, to, func(r Record) error {
			if got = append(got, r.Offset); len(got) == stopAt {
				return errEnough
			}
			return nil
		})
		return got, next, err
	}
	for _, tc := range []struct {
		from, to int64
		stopAt   int
		want     []int64
		next     int64
		err      error
	}{
		{0, 3, 0, []int64{0, 1, 2}, 3, nil},
		{4, 100, 0, []int64{4, 5}, 6, nil},
		{1, 6, 2, []int64{1, 2}, 3, errEnough},
		{6, 6, 0, nil, 6, nil},
	} {
		got, next, err := read(tc.from, tc.to, tc.stopAt)
		if d := cmp.Diff(tc.want, got); d != "" || next != tc.next || !errors.Is(err, tc.err) {
			t.Errorf("[%d, %d): %v, next %d, %v; want next %d, %v", tc.from, tc.to, got, next, err, tc.next, tc.err)
		}
	}
	if _, _, err := read(9, 12, 0); err == nil {
		t.Error("an offset past the end was read")
	}
}

var errEnough = errors.New("enough")

// Positions are found by time, and a reader goes on from given ones.
func TestOffsetsAreFoundByTime(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic := kafkatest.Topic(t, brokers, "bytime", 2, nil)
	p := c.Producer()
	began := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i := range 4 {
		record := Record{Time: began.Add(time.Duration(i) * time.Minute), Value: []byte{byte(i)}}
		if _, err := p.Produce(t.Context(), topic, 0, []Record{record}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		at   time.Time
		want []int64
	}{
		{began.Add(-time.Minute), []int64{0, 0}},
		{began.Add(time.Minute), []int64{1, 0}},
		{began.Add(90 * time.Second), []int64{2, 0}},
		{began.Add(time.Hour), []int64{4, 0}},
	} {
		got, err := c.OffsetsAt(t.Context(), topic, tc.at)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("at %v (-want, +got):\n%s", tc.at.Sub(began), d)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var seen []byte
	if err := c.Table(nil).FollowFrom(ctx, topic, []int64{2, 0}, func(r Record) error {
		if seen = append(seen, r.Value...); len(seen) == 2 {
			cancel()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]byte{2, 3}, seen); d != "" {
		t.Errorf("followed (-want, +got):\n%s", d)
	}
}
