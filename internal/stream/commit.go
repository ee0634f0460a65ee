package stream

import (
	"context"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// commitInterval is how often changed offsets are committed to the group.
const commitInterval = time.Second

// committer commits the offsets of one generation, through that generation only, so that a member which lost its
// partitions cannot commit under the generation of those who have them now.
type committer struct {
	gen     *kafka.Generation
	topic   string
	every   time.Duration
	workers sync.WaitGroup
	done    chan struct{} // closed when the generation is over for us

	mu    sync.Mutex
	dirty map[int]int64
}

func newCommitter(gen *kafka.Generation, topic string) *committer {
	return &committer{gen: gen, topic: topic, every: commitInterval, done: make(chan struct{}), dirty: make(map[int]int64)}
}

// start runs fn as part of the generation; the last commit waits for it.
func (c *committer) start(fn func(ctx context.Context)) {
	c.workers.Add(1)
	c.gen.Start(func(ctx context.Context) {
		defer c.workers.Done()
		fn(ctx)
	})
}

// mark notes that records of partition below next are done.
func (c *committer) mark(partition int, next int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty[partition] = next
}

// run commits until the generation ends, and once more when its workers have drained: the broker still accepts that.
// A failed commit is tried again with the next one; the last may be refused, which costs a repeat or a late lag display.
func (c *committer) run(ctx context.Context) {
	defer close(c.done)
	ticker := time.NewTicker(c.every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = c.flush()
		case <-ctx.Done():
			c.workers.Wait()
			_ = c.flush()
			return
		}
	}
}

func (c *committer) flush() error {
	c.mu.Lock()
	offsets := c.dirty
	c.dirty = make(map[int]int64)
	c.mu.Unlock()
	if len(offsets) == 0 {
		return nil
	}
	err := c.gen.CommitOffsets(map[string]map[int]int64{c.topic: offsets})
	if err != nil {
		c.mu.Lock()
		for p, o := range offsets {
			if _, newer := c.dirty[p]; !newer {
				c.dirty[p] = o
			}
		}
		c.mu.Unlock()
	}
	return err
}

// alive asks the group's coordinator whether the generation is still current, by committing offset.
func (c *committer) alive(partition int, offset int64) error {
	return c.gen.CommitOffsets(map[string]map[int]int64{c.topic: {partition: offset}})
}
