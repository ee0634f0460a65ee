package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
)

// bareConsume reads every record of a topic, all partitions at once, and only counts. It uses kafka-go directly, in the
// fastest way that kafka-go has of getting keys and values (Conn.ReadBatchWith), so that none of our plumbing is in the
// figure.
func bareConsume(ctx context.Context, address, topic string, ends []int64) (records int, bytes int64, took time.Duration, err error) {
	began := time.Now()
	counts, sizes := make([]int, len(ends)), make([]int64, len(ends))
	g, ctx := errgroup.WithContext(ctx)
	for p, end := range ends {
		g.Go(func() error {
			counts[p], sizes[p], err = barePartition(ctx, address, topic, p, end)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, 0, 0, fmt.Errorf("reading %s bare: %w", topic, err)
	}
	took = time.Since(began)
	for p := range ends {
		records += counts[p]
		bytes += sizes[p]
	}
	return records, bytes, took, nil
}

func barePartition(ctx context.Context, address, topic string, partition int, end int64) (records int, bytes int64, err error) {
	conn, err := kafka.DialLeader(ctx, "tcp", address, topic, partition)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	for next := int64(0); next < end; {
		if _, err := conn.Seek(next, kafka.SeekAbsolute|kafka.SeekDontCheck); err != nil {
			return records, bytes, err
		}
		batch := conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: 4 << 20, MaxWait: 250 * time.Millisecond})
		for next < end {
			m, err := batch.ReadMessage() // key and value, as any consumer wants them
			if err != nil {
				break // the end of the batch, or what Close tells
			}
			next = m.Offset + 1
			records++
			bytes += int64(len(m.Value))
		}
		if err := batch.Close(); err != nil {
			return records, bytes, err
		}
		if ctx.Err() != nil {
			return records, bytes, ctx.Err()
		}
	}
	return records, bytes, nil
}
