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
	// lookEvery is how old an answer may be, lookTime how long Kafka may take for one.
	lookEvery = 2 * time.Second
	lookTime  = 5 * time.Second
	// maxNewest bounds the scopes whose newest event is remembered.
	maxNewest = 100
)

// lookout remembers how things stood, so that many who watch cost no more than one.
type lookout struct {
	mu     sync.Mutex
	at     time.Time
	away   bool
	topics []report.TopicState
	groups []report.GroupLag
	newest map[string]newest // by tenants
}

type newest struct {
	asked time.Time
	event events.Millis
	away  bool
}

func (a *API) pipeline(ctx context.Context, who *principal, _ *struct{}) (*pipelineAnswer, error) {
	if a.deps.Topics == nil {
		return nil, notConfigured("The log's topics are not known here.")
	}
	// The answer is for others too, and must not end with the one who asked first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	l := &a.looked
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.at) > lookEvery {
		topics, groups, err := a.look(ctx)
		if l.away = err != nil; err == nil {
			l.topics, l.groups = topics, groups
		} else {
			a.log.Debug("looking at the log", zap.Error(err))
		}
		l.at = now
	}
	n := a.newestOf(ctx, who.tenants)
	answer := &pipelineAnswer{}
	b := &answer.Body
	b.Topics, b.Groups = append([]report.TopicState{}, l.topics...), append([]report.GroupLag{}, l.groups...)
	b.At, b.Log, b.History, b.Newest = l.at.UTC(), "ok", "ok", n.event
	if l.away {
		b.Log = "away"
	}
	if n.away {
		b.History = "away"
	}
	return answer, nil
}

// newestOf is the newest event of some tenants. The lock is held.
func (a *API) newestOf(ctx context.Context, scope report.Scope) newest {
	l := &a.looked
	key := "*"
	if !scope.All {
		key = strings.Join(scope.Tenants, " ")
	}
	n, ok := l.newest[key]
	if ok && time.Since(n.asked) <= lookEvery {
		return n
	}
	event, err := a.deps.History.Newest(ctx, scope)
	if n = (newest{time.Now(), event, err != nil}); err != nil {
		n.event = 0
	}
	if l.newest == nil || len(l.newest) >= maxNewest {
		l.newest = map[string]newest{}
	}
	l.newest[key] = n
	return n
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
