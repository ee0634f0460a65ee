package wiring

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign-io/countersign/internal/api"
	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/schemas"
	"github.com/countersign-io/countersign/web"
)

// AddAPI adds the REST interface and the page. It returns the part, for its address and its link.
func (p *Process) AddAPI() (*api.API, error) {
	store, err := p.Store()
	if err != nil {
		return nil, err
	}
	bulk, err := p.Store()
	if err != nil {
		return nil, err
	}
	cfg := p.Config.API
	if cfg.PolicyFile == "" {
		cfg.PolicyFile = p.Config.Detector.PolicyFile
	}
	a, err := api.New(cfg, api.Deps{
		History: store, Log: p.Cluster, Publisher: p.Cluster.Publisher(stream.PublisherConfig{}), Schemas: schemas.FS, Web: web.FS,
		Bulk: bulk, Rules: p.rules, Topics: p.Cluster, Watched: p.Config.watched(), IngestAddr: p.ingestAddr,
		Explainer: &explainer{store: store, policies: cfg.PolicyFile, log: p.Log.Named("api")},
		Ready:     p.Cluster.Ping,
		Logger:    p.Log.Named("api"), Registerer: p.Metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	p.Add(service("api", a.Run, a.Addr))
	return a, nil
}

// rules are those of the detectors with other policies.
func (p *Process) rules(set *policy.Set) (detector.Rules, error) {
	cfg := p.Config.Detector
	cfg.PolicyFile = "" // set takes its place
	rules, err := detector.LoadRules(cfg)
	rules.Policies = set
	return rules, err
}

// ingestAddr is where the ingest of this process listens.
func (p *Process) ingestAddr(ctx context.Context) (string, error) {
	if p.ingest == nil {
		return "", errors.New("api.ingest.url: is missing, and this process has no ingest")
	}
	addr := p.ingest.Addr(ctx)
	if addr == nil {
		return "", ctx.Err()
	}
	return addr.String(), nil
}

// watched are the topics and the groups of an installation.
func (c Config) watched() api.Watched {
	var w api.Watched
	for _, spec := range c.Topics.Specs() {
		w.Topics = append(w.Topics, spec.Name)
	}
	add := func(group, topic string) { w.Groups = append(w.Groups, report.GroupLag{Group: group, Topic: topic}) }
	add(c.Detector.Group, events.TopicEvents)
	add(c.Detector.Group+"-network", events.TopicSightings)
	c.Archiver.Groups(add)
	for _, a := range c.Act.Actions {
		add(c.Act.Group+"."+a.Name, events.TopicRevocations)
	}
	return w
}
