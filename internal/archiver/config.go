package archiver

import (
	"errors"
	"fmt"
	"time"
)

// Config says how records are gathered into inserts.
type Config struct {
	// Group starts the names of the consumer groups, one a table: "<group>.events" and so on.
	Group string `yaml:"group"`
	// SessionTimeout is how long the group waits for an archiver that has gone silent.
	SessionTimeout time.Duration `yaml:"session_timeout"`
	// FlushInterval is how long the first row of an insert waits for others. ClickHouse wants few large inserts.
	FlushInterval time.Duration `yaml:"flush_interval"`
	// FlushRows ends the wait: an insert of that many rows goes out as soon as an inserter is free. An insert costs a part
	// in the table and in each of its sums, however few its rows are.
	FlushRows int `yaml:"flush_rows"`
	// MaxRows bounds one insert.
	MaxRows int `yaml:"max_rows"`
	// PartitionBytes bounds what is buffered of one partition; times the number of assigned partitions, and about
	// three times that again for the rows made of it, it bounds the memory.
	PartitionBytes int `yaml:"partition_bytes"`
	// Inserters is how many inserts into one table run at a time.
	Inserters int `yaml:"inserters"`
	// RetryMin and RetryMax bound the growing pause between tries of an insert that does not succeed.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`
}

// DefaultConfig writes about one insert a second and table at low rates, and as many as ClickHouse takes at high ones.
func DefaultConfig() Config {
	return Config{
		Group:          "countersign.archiver",
		SessionTimeout: 30 * time.Second,
		FlushInterval:  time.Second,
		FlushRows:      20_000,
		MaxRows:        100_000,
		PartitionBytes: 16 << 20,
		Inserters:      2,
		RetryMin:       200 * time.Millisecond,
		RetryMax:       15 * time.Second,
	}
}

// Groups names the consumer groups, each with the topic that it copies.
func (c Config) Groups(name func(group, topic string)) {
	for _, s := range sinks {
		name(c.Group+"."+string(s.table), s.topic)
	}
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Group == "" {
		add("group: empty, name the consumer group")
	}
	if c.SessionTimeout < time.Second || c.SessionTimeout > 10*time.Minute {
		add("session_timeout: is %v, must be between 1s and 10m", c.SessionTimeout)
	}
	if c.FlushInterval < time.Millisecond || c.FlushInterval > time.Minute {
		add("flush_interval: is %v, must be between 1ms and 1m", c.FlushInterval)
	}
	if c.FlushRows < 1 {
		add("flush_rows: is %d, must be positive", c.FlushRows)
	}
	if c.MaxRows < max(1, c.FlushRows) || c.MaxRows > 1_000_000 {
		add("max_rows: is %d, must be between flush_rows and 1000000", c.MaxRows)
	}
	if c.PartitionBytes < 1<<16 || c.PartitionBytes > 256<<20 {
		add("partition_bytes: is %d, must be between 64 KiB and 256 MiB", c.PartitionBytes)
	}
	if c.Inserters < 1 || c.Inserters > 16 {
		add("inserters: is %d, must be between 1 and 16", c.Inserters)
	}
	if c.RetryMin <= 0 || c.RetryMax < c.RetryMin {
		add("retry_max: %v and %v make no growing pause, use for example retry_min 200ms and retry_max 15s", c.RetryMin, c.RetryMax)
	}
	return errors.Join(errs...)
}
