package stream

import (
	"errors"
	"fmt"
)

// Errors a caller may branch on.
var (
	// ErrTooLarge: the records of one Produce, or one record, do not fit a record batch of MaxBatchBytes.
	ErrTooLarge = errors.New("record batch too large")
	// ErrOverloaded: a Publisher holds its limit of unacknowledged bytes; try again later.
	ErrOverloaded = errors.New("publisher overloaded")
	// ErrTopicMissing: a topic does not exist.
	ErrTopicMissing = errors.New("topic does not exist")
	// ErrTopicMismatch: a topic exists with another partition count or cleanup policy than asked for.
	ErrTopicMismatch = errors.New("topic differs from its specification")
)

// Reason says why the owner of a partition refuses to go on. Reasons are metric labels: a closed set.
type Reason string

// The reasons. In each case guessing could lose or repeat decisions, so a person decides.
const (
	// StopNoCheckpoint: there is no checkpoint, but there is state, or the group has a committed offset.
	StopNoCheckpoint Reason = "no_checkpoint"
	// StopInputLost: retention deleted input that was not processed yet.
	StopInputLost Reason = "input_lost"
	// StopInputTruncated: the checkpoint is past the end of the input; it was truncated or created anew.
	StopInputTruncated Reason = "input_truncated"
	// StopStateTruncated: the state partition lost records it had acknowledged.
	StopStateTruncated Reason = "state_truncated"
	// StopPartitionCount: the checkpoint was written for another partition count; keys have moved.
	StopPartitionCount Reason = "partition_count"
	// StopCluster: the checkpoint was written on another cluster.
	StopCluster Reason = "cluster"
	// StopTopic: the checkpoint was written for another input topic.
	StopTopic Reason = "topic"
	// StopFormat: the state was written by a newer binary, or is not readable.
	StopFormat Reason = "format"
	// StopProcessor: the processor returned an error.
	StopProcessor Reason = "processor"
	// StopTooLarge: an output or a state value does not fit a record batch.
	StopTooLarge Reason = "too_large"
)

// StopError reports that a partition is stopped until its process is restarted or the partition is assigned anew.
type StopError struct {
	Topic     string
	Partition int
	Reason    Reason
	Err       error
}

func (e *StopError) Error() string {
	return fmt.Sprintf("partition %s/%d stopped (%s): %v", e.Topic, e.Partition, e.Reason, e.Err)
}

func (e *StopError) Unwrap() error { return e.Err }
