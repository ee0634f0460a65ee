package api

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
)

type pipelineAnswer struct {
	Body struct {
		Topics  []report.TopicState `json:"topics" nullable:"false"`
		Groups  []report.GroupLag   `json:"groups" nullable:"false" doc:"Consumer groups that have committed anything"`
		Log     string              `json:"log" enum:"ok,away" doc:"Whether Kafka answers; topics and groups are as it said last"`
		History string              `json:"history" enum:"ok,away"`
		Newest  events.Millis       `json:"newest_event,omitempty" doc:"Of the tenants that you may see; left out while the history is away"`
		At      time.Time           `json:"at" doc:"When it was looked at"`
	}
}

func (a *API) describePipeline(api huma.API) {
	register(a, api, "pipeline", "/v1/pipeline", "How the log and the history stand", ScopeRead, a.pipeline, saying("At most some seconds old."), aside)
}

// Topics is the log by its topics.
type Topics interface {
	// Ends returns, per partition, the first retained offset and the offset after the last record.
	Ends(ctx context.Context, topic string) (first, end []int64, err error)
	// Lag tells how many records of a topic a consumer group has not committed; known is false for a group that never
	// committed any.
	Lag(ctx context.Context, group, topic string) (lag int64, known bool, err error)
	// ReadRange hands the records of a partition between two offsets to fn, each valid during the call.
	ReadRange(ctx context.Context, topic string, partition int, from, to int64, fn func(stream.Record) error) (next int64, err error)
}

// Watched are the topics and the consumer groups of an installation.
type Watched struct {
	Topics []string
	// Groups have their Lag empty.
	Groups []report.GroupLag
}

const (
	// lookEvery is how old an answer may be, lookTime how long Kafka, and the history, may take for one.
	lookEvery = 2 * time.Second
	lookTime  = 5 * time.Second
	// maxNewest bounds the scopes whose newest event is remembered.
	maxNewest = 100
)

// lookout remembers how things stood.
type lookout struct {
	log glance[logState]

	mu     sync.Mutex
	newest map[string]*glance[newest] // by tenants
}

// logState is how the log stood when it answered last.
type logState struct {
	away   bool
	topics []report.TopicState
	groups []report.GroupLag
}

type newest struct {
	event events.Millis
	away  bool
}

// glance is what was seen last. Many who watch cost no more than one, and none waits longer than for one look.
type glance[T any] struct {
	mu     sync.Mutex
	seen   T
	at     time.Time     // when it was seen
	coming chan struct{} // closed when a newer one is there; nil when none is on its way
}

// look asks for a newer one when the last is older than lookEvery and nobody has asked yet. What it returns is closed when
// there is one. ask gets the last one; it is for others too, and does not end with the ctx of the one who asked first.
func (g *glance[T]) look(ctx context.Context, ask func(ctx context.Context, last T) T) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.coming != nil {
		return g.coming
	}
	coming := make(chan struct{})
	if time.Since(g.at) <= lookEvery {
		close(coming)
		return coming
	}
	g.coming = coming
	last := g.seen
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
		defer cancel()
		seen := ask(ctx, last)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.seen, g.at, g.coming = seen, time.Now(), nil
		close(coming)
	}()
	return coming
}

func (g *glance[T]) last() (seen T, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen, g.at
}

func (a *API) pipeline(ctx context.Context, who *principal, _ *struct{}) (*pipelineAnswer, error) {
	if a.deps.Topics == nil {
		return nil, notConfigured("The log's topics are not known here.")
	}
	ofTenants := a.looked.newestOf(who.tenants)
	for _, coming := range []<-chan struct{}{
		a.looked.log.look(ctx, a.lookAtLog),
		ofTenants.look(ctx, func(ctx context.Context, _ newest) newest {
			event, err := a.deps.History.Newest(ctx, who.tenants)
			if err != nil {
				return newest{away: true}
			}
			return newest{event: event}
		}),
	} {
		select {
		case <-coming:
		case <-ctx.Done():
			return nil, a.refusal(ctx.Err())
		}
	}
	log, at := a.looked.log.last()
	n, _ := ofTenants.last()
	answer := &pipelineAnswer{}
	b := &answer.Body
	b.Topics, b.Groups = append([]report.TopicState{}, log.topics...), append([]report.GroupLag{}, log.groups...)
	b.At, b.Log, b.History, b.Newest = at.UTC(), "ok", "ok", n.event
	if log.away {
		b.Log = "away"
	}
	if n.away {
		b.History = "away"
	}
	return answer, nil
}

// newestOf is the glance at the newest event of some tenants.
func (l *lookout) newestOf(scope report.Scope) *glance[newest] {
	key := "*"
	if !scope.All {
		key = strings.Join(scope.Tenants, " ")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	g, ok := l.newest[key]
	if !ok {
		if l.newest == nil || len(l.newest) >= maxNewest {
			l.newest = map[string]*glance[newest]{}
		}
		g = &glance[newest]{}
		l.newest[key] = g
	}
	return g
}

// lookAtLog keeps what was seen last while Kafka does not answer.
func (a *API) lookAtLog(ctx context.Context, last logState) logState {
	topics, groups, err := a.look(ctx)
	if err != nil {
		a.log.Debug("looking at the log", zap.Error(err))
		last.away = true
		return last
	}
	return logState{topics: topics, groups: groups}
}

// look asks Kafka.
func (a *API) look(ctx context.Context) (topics []report.TopicState, groups []report.GroupLag, err error) {
	for _, name := range a.deps.Watched.Topics {
		first, end, err := a.deps.Topics.Ends(ctx, name)
		if errors.Is(err, stream.ErrTopicMissing) {
			continue // not made yet
		}
		if err != nil {
			return nil, nil, err
		}
		t := report.TopicState{Topic: name, Partitions: len(end)}
		for p := range end {
			t.Records += end[p] - first[p]
		}
		topics = append(topics, t)
	}
	for _, g := range a.deps.Watched.Groups {
		lag, known, err := a.deps.Topics.Lag(ctx, g.Group, g.Topic)
		if errors.Is(err, stream.ErrTopicMissing) || err == nil && !known {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		g.Lag = lag
		groups = append(groups, g)
	}
	return topics, groups, nil
}
