package pull

import (
	"context"
	"fmt"
	"sync"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/stream"
)

// WarmUp tells a pipeline the ids of the newest events on the log, at most most of them, so that it knows what was
// acknowledged just before the process died that wrote it.
func WarmUp(ctx context.Context, cluster *stream.Cluster, pipeline *ingest.Pipeline, most int) error {
	return (&tail{cluster: cluster, pipeline: pipeline, most: most}).read(ctx)
}

// tail is the end of the topic of events, as far as a pipeline knows it.
type tail struct {
	cluster  *stream.Cluster
	pipeline *ingest.Pipeline
	most     int

	mu   sync.Mutex
	next []int64 // by partition; nil before the first read
}

// read tells the pipeline of the events that came since it was called last.
func (t *tail) read(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	from, err := t.begin(ctx)
	if err != nil {
		return err
	}
	t.next, err = t.cluster.Table(nil).LoadFrom(ctx, events.TopicEvents, from, func(r stream.Record) error {
		if id := eventID(r.Value); id != "" {
			t.pipeline.Remember(id)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the newest events: %w", err)
	}
	return nil
}

// begin says where to read from: where the last read ended, but no further back than the share of each partition.
func (t *tail) begin(ctx context.Context) ([]int64, error) {
	first, end, err := t.cluster.Ends(ctx, events.TopicEvents)
	if err != nil {
		return nil, fmt.Errorf("reading the newest events: %w", err)
	}
	from := make([]int64, len(end))
	for p := range from {
		from[p] = max(first[p], end[p]-int64(t.most/len(end)))
		if len(t.next) == len(end) && t.next[p] <= end[p] {
			from[p] = max(from[p], t.next[p])
		}
	}
	return from, nil
}

// eventID finds the id of an encoded event, which is its first member. What is no event has none.
func eventID(value []byte) (id string) {
	l := jlexer.Lexer{Data: value}
	l.Delim('{')
	for !l.IsDelim('}') && l.Ok() {
		key := l.UnsafeFieldName(false)
		l.WantColon()
		if key == "id" {
			id = l.String()
			break
		}
		l.SkipRecursive()
		l.WantComma()
	}
	if !l.Ok() {
		return ""
	}
	return id
}
