package courier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// A partition that is claimed away while the group says that it is ours is disputed: who claims it is not of our group. After
// so many times in disputeWindow this courier pauses before it claims again, each time twice as long.
const (
	maxLosses     = 3 // each is two changes of hands
	disputeWindow = time.Minute
	firstPause    = 10 * time.Second
	longestPause  = 10 * time.Minute
)

// dispute counts how often a partition was claimed away.
type dispute struct {
	losses  int
	since   time.Time // the first of the losses
	pause   time.Duration
	settled time.Time // after it all is forgotten
}

// lose notes that the partition was claimed away, and returns how long to pause before it is claimed again.
func (d *dispute) lose(now time.Time) time.Duration {
	if now.After(d.settled) {
		d.pause = 0
	}
	if d.pause == 0 {
		if d.losses == 0 || now.Sub(d.since) > disputeWindow {
			d.losses, d.since = 0, now
		}
		if d.losses++; d.losses < maxLosses {
			return 0
		}
		d.losses = 0
	}
	d.pause = min(max(2*d.pause, firstPause), longestPause)
	d.settled = now.Add(3*d.pause + disputeWindow) // the other may pause as long
	return d.pause
}

// yieldTo pauses after a partition was claimed away that is assigned to this courier.
func (c *Courier) yieldTo(ctx context.Context, partition int) {
	c.mu.Lock()
	d := c.disputes[partition]
	if d == nil {
		d = new(dispute)
		c.disputes[partition] = d
	}
	before := d.pause
	wait := d.lose(time.Now())
	c.mu.Unlock()
	if wait == 0 {
		return
	}
	if before < wait && wait == firstPause {
		_, held, _ := c.table.holder(partition)
		c.log.Error("streams change hands all the time: another courier with another courier.group or secrets_key_file?",
			zap.Int("partition", partition), zap.String("courier", clip(held.URL)), zap.Duration("pause", wait))
	}
	pause(ctx, wait)
}

// mayClaim waits for as long as a partition is that of a courier with another key. It reports false when ctx ends.
func (c *Courier) mayClaim(ctx context.Context, partition int) bool {
	for told := false; ; told = true {
		_, held, changed := c.table.holder(partition)
		if !c.table.foreign(partition) {
			return true
		}
		if !told {
			c.log.Error("streams are left to a courier with another key, whose secrets cannot be opened here (courier.secrets_key_file)",
				zap.Int("partition", partition), zap.String("courier", clip(held.URL)))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// Ready reports why this courier cannot do its part: it does not serve yet, or there are streams that it must leave to
// couriers with another key.
func (c *Courier) Ready(context.Context) error {
	select {
	case <-c.ready:
	default:
		return errors.New("the courier is reading the streams")
	}
	for p := range c.partitions {
		if c.table.foreign(p) {
			return fmt.Errorf("partition %d of the streams has secrets of a courier with another key (courier.secrets_key_file)", p)
		}
	}
	return nil
}
