package wiring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/archiver"
	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/lifecycle"
	"github.com/countersign-io/countersign/internal/source/auth0"
	"github.com/countersign-io/countersign/internal/source/cloudevents"
	"github.com/countersign-io/countersign/internal/source/cloudtrail"
	"github.com/countersign-io/countersign/internal/source/ecs"
	"github.com/countersign-io/countersign/internal/source/entra"
	"github.com/countersign-io/countersign/internal/source/google"
	"github.com/countersign-io/countersign/internal/source/keycloak"
	"github.com/countersign-io/countersign/internal/source/native"
	"github.com/countersign-io/countersign/internal/source/o365"
	"github.com/countersign-io/countersign/internal/source/ocsf"
	"github.com/countersign-io/countersign/internal/source/okta"
	"github.com/countersign-io/countersign/internal/source/session"
	"github.com/countersign-io/countersign/internal/source/ssf"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/telemetry"
)

// Drain is how long each part may take to stop; it is longer than what the parts give the work at hand.
const Drain = 30 * time.Second

// Process is one process in the making: parts are added, then it runs.
type Process struct {
	Config  Config
	Log     *zap.Logger
	Metrics *prometheus.Registry
	Cluster *stream.Cluster

	// ingest is the HTTP ingest, when this process has one.
	ingest   *ingest.Server
	services []lifecycle.Service
	ready    []func(context.Context) error
	closers  []func() error
}

// Open checks what all parts share and connects nothing yet.
func Open(cfg Config, log *zap.Logger) (*Process, error) {
	reg := telemetry.Registry()
	cluster, err := stream.Connect(cfg.Kafka, reg)
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	return &Process{Config: cfg, Log: log, Metrics: reg, Cluster: cluster, ready: []func(context.Context) error{named("kafka", cluster.Ping)}}, nil
}

func named(name string, check func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := check(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
}

// Add adds a part. Parts start in the order in which they are added and stop in reverse.
func (p *Process) Add(s lifecycle.Service) { p.services = append(p.services, s) }

// AddTopics makes sure that the topics are there before any later part starts. It waits for Kafka to answer.
func (p *Process) AddTopics() {
	p.Add(lifecycle.Service{
		Name: "topics",
		Run:  func(ctx context.Context) error { <-ctx.Done(); return nil },
		Ready: func(ctx context.Context) error {
			return retry(ctx, time.Minute, p.ensureTopics)
		},
	})
}

// ensureTopics makes the topics, or looks that they are there.
func (p *Process) ensureTopics(ctx context.Context) error {
	if p.Config.Topics.Create {
		return p.Cluster.EnsureTopics(ctx, p.Config.Topics.Specs())
	}
	for _, spec := range p.Config.Topics.Specs() {
		if _, err := p.Cluster.Partitions(ctx, spec.Name); err != nil {
			return err
		}
	}
	return nil
}

// retry tries until it succeeds, at most for limit. A topic that differs from its specification stays so.
func retry(ctx context.Context, limit time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := try(ctx)
		if err == nil || errors.Is(err, stream.ErrTopicMismatch) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// Pipeline is the way of a record from a decoder to the log, with places and networks. It adds the part that keeps the
// databases fresh.
func (p *Process) Pipeline() (*ingest.Pipeline, error) {
	places, err := geo.Open(p.Config.Geo, geo.Deps{Logger: p.Log.Named("geo"), Registerer: p.Metrics})
	if err != nil {
		return nil, fmt.Errorf("geo: %w", err)
	}
	p.Add(lifecycle.Service{Name: "geo", Run: places.Run})
	pipeline, err := ingest.NewPipeline(p.Config.Ingest.Pipeline, ingest.PipelineDeps{
		Publisher: p.Cluster.Publisher(stream.PublisherConfig{}), Geo: places, Families: families(), Registerer: p.Metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("ingest.pipeline: %w", err)
	}
	return pipeline, nil
}

// formatGraph is the format of Microsoft Graph's records.
const formatGraph = "entra-graph"

// Decoders are the formats that ingest reads, by name.
func Decoders() map[string]ingest.Decoder {
	return map[string]ingest.Decoder{
		ingest.FormatEvent: native.Decoder{}, ingest.FormatSession: session.Reports(), "cloudevents": cloudevents.Structured(native.Decoder{}),
		"entra-eventhub": entra.EventHub(), "entra-loganalytics": entra.LogAnalytics(), formatGraph: entra.Graph(),
		okta.Family: okta.SystemLog(), google.Family: google.Activities(), o365.Family: o365.Audit(), auth0.Family: auth0.Logs(),
		cloudtrail.Family: cloudtrail.Records(), ocsf.Family: ocsf.Events(), ecs.Family: ecs.Documents(), ssf.Family: ssf.Claims(),
		keycloak.Family: keycloak.Events(),
	}
}

// senders are the formats that may be sent or read: all but the claims of Security Event Tokens that nobody has verified.
func senders() map[string]ingest.Decoder {
	decoders := Decoders()
	delete(decoders, ssf.Family)
	return decoders
}

// families are the identity spaces of the foreign formats.
func families() map[string]bool {
	return map[string]bool{
		session.Family: true, entra.Family: true, okta.Family: true, google.Family: true, o365.Family: true, auth0.Family: true,
		cloudtrail.Family: true, keycloak.Family: true, ocsf.Family: true, ecs.Family: true, ssf.Family: true,
		events.FamilyInternal: true,
	}
}

// cloudEvents wraps a decoder; attribute is given for the binary mode.
func cloudEvents(inner ingest.Decoder, attribute func(name string) string) ingest.Decoder {
	if attribute == nil {
		return cloudevents.Structured(inner)
	}
	return cloudevents.Binary(inner, attribute("id"), attribute("time"))
}

// AddIngest adds the HTTP ingest and the configured sources. client may be nil in programs without the Graph SDK. It
// returns the HTTP part, for its address.
func (p *Process) AddIngest(client GraphClient) (*ingest.Server, error) {
	pipeline, err := p.Pipeline()
	if err != nil {
		return nil, err
	}
	in, err := p.newInflow(pipeline, client)
	if err != nil {
		return nil, err
	}
	s, err := ingest.New(p.Config.Ingest, ingest.Deps{
		Pipeline: pipeline, Decoders: senders(), Logger: p.Log.Named("ingest"), Registerer: p.Metrics, Ready: p.Cluster.Ping,
		CloudEvents: cloudEvents, Challenge: okta.Challenge, Receivers: in.receivers(), Recall: in.recall,
		Report: in.Report,
	})
	if err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	p.ingest = s
	p.Add(lifecycle.Service{Name: "sources", Run: in.run, Ready: in.ready})
	p.Add(lifecycle.Service{Name: "ingest", Run: s.Run, Ready: func(ctx context.Context) error {
		s.Addr(ctx)
		return ctx.Err()
	}})
	return s, nil
}

// AddDetector adds the detector.
func (p *Process) AddDetector() error {
	d, err := detector.New(p.Config.Detector, detector.Deps{Cluster: p.Cluster, Log: p.Log.Named("detector"), Metrics: p.Metrics})
	if err != nil {
		return fmt.Errorf("detector: %w", err)
	}
	p.Add(lifecycle.Service{Name: "detector", Run: d.Run})
	return nil
}

// Store opens the history, once for each part that asks, and closes it when the process ends.
func (p *Process) Store() (*history.Store, error) {
	store, err := history.Open(p.Config.ClickHouse)
	if err != nil {
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	p.closers = append(p.closers, store.Close)
	return store, nil
}

// AddArchiver adds the archiver.
func (p *Process) AddArchiver() error {
	store, err := p.Store()
	if err != nil {
		return err
	}
	a, err := archiver.New(p.Config.Archiver, archiver.Deps{
		Consumer: p.Cluster, Publisher: p.Cluster.Publisher(stream.PublisherConfig{}), Store: store,
		Logger: p.Log.Named("archiver"), Registerer: p.Metrics,
	})
	if err != nil {
		return fmt.Errorf("archiver: %w", err)
	}
	p.Add(lifecycle.Service{Name: "archiver", Run: a.Run, Ready: a.Ready})
	p.ready = append(p.ready, named("clickhouse", store.Ready))
	return nil
}

func service(name string, run func(context.Context) error, addr func(context.Context) (string, error)) lifecycle.Service {
	return lifecycle.Service{Name: name, Run: run, Ready: func(ctx context.Context) error {
		_, err := addr(ctx)
		return err
	}}
}

// Run runs the process until ctx ends. started is told when every part runs; it may be nil.
func (p *Process) Run(ctx context.Context, started func()) error {
	if p.Config.Telemetry.Listen != "" {
		server := telemetry.NewServer(p.Config.Telemetry.Listen, p.Metrics, p.check)
		// First in, last out: health is told while the rest starts and stops.
		p.services = append([]lifecycle.Service{service("telemetry", server.Run, server.Addr)}, p.services...)
	}
	err := lifecycle.Run(ctx, Drain, started, p.services...)
	for _, v := range slices.Backward(p.closers) {
		err = errors.Join(err, v())
	}
	return errors.Join(err, p.Cluster.Close())
}

func (p *Process) check(ctx context.Context) error {
	var errs []error
	for _, ready := range p.ready {
		errs = append(errs, ready(ctx))
	}
	return errors.Join(errs...)
}
