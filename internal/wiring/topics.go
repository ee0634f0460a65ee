package wiring

import (
	"errors"
	"fmt"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

// TopicsConfig says how topics are made. It must be the same for every process of an installation.
type TopicsConfig struct {
	// Partitions of all topics. It cannot change later: keys would move.
	Partitions int `yaml:"partitions"`
	// Replication is the number of copies; 3 in production.
	Replication int `yaml:"replication"`
	// MinInSync is how many copies must have a record before it is acknowledged; 2 in production.
	MinInSync int `yaml:"min_insync"`
	// Events, Findings and Revocations are how long records are kept.
	Events      time.Duration `yaml:"events"`
	Findings    time.Duration `yaml:"findings"`
	Revocations time.Duration `yaml:"revocations"`
	// Create makes missing topics. Without it a missing topic is an error.
	Create bool `yaml:"create"`
}

const day = 24 * time.Hour

// DefaultTopics is for one node.
func DefaultTopics() TopicsConfig {
	return TopicsConfig{
		Partitions: 8, Replication: 1, MinInSync: 1, Events: 7 * day, Findings: 30 * day, Revocations: 30 * day, Create: true,
	}
}

// Validate reports every problem.
func (c TopicsConfig) Validate() error {
	var errs []error
	if c.Partitions < 1 || c.Partitions > 1024 {
		errs = append(errs, fmt.Errorf("partitions: is %d, must be between 1 and 1024", c.Partitions))
	}
	if c.Replication < 1 {
		errs = append(errs, fmt.Errorf("replication: is %d, must be at least 1", c.Replication))
	}
	if c.MinInSync < 1 || c.MinInSync > c.Replication {
		errs = append(errs, fmt.Errorf("min_insync: is %d, must be between 1 and replication (%d)", c.MinInSync, c.Replication))
	}
	for name, d := range map[string]time.Duration{"findings": c.Findings, "revocations": c.Revocations} {
		if d < day {
			errs = append(errs, fmt.Errorf("%s: is %s, must be at least 24h", name, d))
		}
	}
	if c.Events < 7*day {
		errs = append(errs, fmt.Errorf("events: is %s, must be at least 168h: a detector that was down must find what it has not read", c.Events))
	}
	return errors.Join(errs...)
}

// Specs are the topics of an installation. What must be true of them is in docs/architecture.md.
func (c TopicsConfig) Specs() []stream.TopicSpec {
	topic := func(name string, retention time.Duration) stream.TopicSpec {
		return stream.TopicSpec{
			Name: name, Partitions: c.Partitions, Replication: c.Replication, MinInSync: c.MinInSync, Retention: retention,
		}
	}
	state := topic(events.TopicState, 0)
	// The lag keeps both versions until an owner has repaired a late write of the one before.
	state.Compact, state.MinCompactionLag, state.TombstoneRetention = true, time.Hour, day
	network := state
	network.Name = events.TopicNetwork
	revocations := topic(events.TopicRevocations, c.Revocations)
	// The lag is the longest outage of the archiver that loses no decision from history.
	revocations.Compact, revocations.MinCompactionLag, revocations.TombstoneRetention = true, 7*day, day
	// A source runs where the partition of its cursor is.
	cursors := topic(events.TopicCursors, 0)
	cursors.Compact, cursors.TombstoneRetention = true, day
	// Every source writes once a minute, and only closed segments are compacted: what is read at a start stays short.
	cursors.Configs = map[string]string{"segment.ms": "3600000"}
	// The lag keeps what a late write of a former owner has shadowed until its owner has written it again.
	streams := cursors
	streams.Name, streams.MinCompactionLag = events.TopicStreams, time.Hour
	// Whoever has its one partition sends for all.
	alerts := cursors
	alerts.Name, alerts.Partitions = events.TopicAlerts, 1
	// In one order, so that no replica of the API sees less than another for long.
	access := alerts
	access.Name = events.TopicAccess
	letters := topic(events.TopicDeadLetter, c.Findings)
	// What people said and did is kept as long as history keeps decisions.
	audit := topic(events.TopicAudit, 400*day)
	marks := audit
	// The lag is the longest outage of the archiver that loses no mark but a finding's newest from history.
	marks.Name, marks.Compact, marks.MinCompactionLag, marks.TombstoneRetention = events.TopicMarks, true, 7*day, day
	return []stream.TopicSpec{
		topic(events.TopicEvents, c.Events), state, topic(events.TopicFindings, c.Findings), revocations,
		topic(events.TopicReceipts, c.Findings), cursors, streams, alerts, letters, topic(events.TopicSightings, c.Events), network,
		marks, audit, access,
	}
}
