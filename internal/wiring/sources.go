package wiring

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/source/auth0"
	"github.com/countersign-io/countersign/internal/source/entra/graph"
	"github.com/countersign-io/countersign/internal/source/google"
	"github.com/countersign-io/countersign/internal/source/keycloak"
	"github.com/countersign-io/countersign/internal/source/o365"
	"github.com/countersign-io/countersign/internal/source/okta"
	"github.com/countersign-io/countersign/internal/source/ssf"
)

// SourcesConfig names the sources that ingest asks, and those that send in ways of their own. What is sent to the HTTP
// ingest needs no more than a token (ingest.tokens).
type SourcesConfig struct {
	Runner pull.Config `yaml:"runner"`
	// EntraGraph asks Microsoft Graph. Only the ingest binary can.
	EntraGraph []graph.Config `yaml:"entra_graph"`
	// Kafka reads other Kafka clusters, Azure Event Hubs among them.
	Kafka  []pull.KafkaConfig `yaml:"kafka"`
	Okta   []okta.Config      `yaml:"okta"`
	Google []google.Config    `yaml:"google"`
	O365   []o365.Config      `yaml:"o365"`
	Auth0  []auth0.Config     `yaml:"auth0"`
	// Keycloak asks the admin API for events.
	Keycloak []keycloak.Config `yaml:"keycloak"`
	// SSF receives Security Event Tokens, pushed or polled.
	SSF []ssf.Config `yaml:"ssf"`
}

// DefaultSources has none.
func DefaultSources() SourcesConfig { return SourcesConfig{Runner: pull.DefaultConfig()} }

// SourceName is a configured source.
type SourceName struct{ Name, Format, section string }

// names are those of all sources, in the order of the sections.
func (c SourcesConfig) names() []SourceName {
	var out []SourceName
	add := func(name, format, section string) { out = append(out, SourceName{name, format, section}) }
	for _, g := range c.EntraGraph {
		for _, feed := range g.Names() {
			add(feed, formatGraph, "entra_graph")
		}
	}
	for _, k := range c.Kafka {
		add(k.Name, k.Format, "kafka")
	}
	for _, o := range c.Okta {
		add(o.Name, okta.Family, "okta")
	}
	for _, g := range c.Google {
		add(g.Name, google.Family, "google")
	}
	for _, o := range c.O365 {
		add(o.Name, o365.Family, "o365")
	}
	for _, a := range c.Auth0 {
		add(a.Name, auth0.Family, "auth0")
	}
	for _, k := range c.Keycloak {
		add(k.Name, keycloak.Family, "keycloak")
	}
	for _, s := range c.SSF {
		add(s.Name, ssf.Family, "ssf")
	}
	return out
}

// SourceNames lists every configured source, those of the HTTP ingest's tokens last.
func (c Config) SourceNames() []SourceName {
	out := c.Sources.names()
	for _, t := range c.Ingest.Tokens {
		format := t.Format
		if format == "" {
			format = ingest.FormatEvent
		}
		out = append(out, SourceName{t.Source, format, "ingest.tokens"})
	}
	return out
}

// Validate reports every problem, each as "field.path: problem, what to do".
func (c SourcesConfig) Validate() error {
	var problems []error
	under := func(path string, err error) {
		if err == nil {
			return
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			problems = append(problems, errors.New(path+"."+line))
		}
	}
	under("runner", c.Runner.Validate())
	for i, s := range c.EntraGraph {
		under(fmt.Sprintf("entra_graph[%d]", i), s.Validate())
	}
	for i, s := range c.Kafka {
		under(fmt.Sprintf("kafka[%d]", i), s.Validate())
		if known := senders(); known[s.Format] == nil {
			problems = append(problems, fmt.Errorf("kafka[%d].format: %.40q is unknown, use one of %s", i, s.Format, strings.Join(names(known), ", ")))
		}
	}
	for i, s := range c.Okta {
		under(fmt.Sprintf("okta[%d]", i), s.Validate())
	}
	for i, s := range c.Google {
		under(fmt.Sprintf("google[%d]", i), s.Validate())
	}
	for i, s := range c.O365 {
		under(fmt.Sprintf("o365[%d]", i), s.Validate())
	}
	for i, s := range c.Auth0 {
		under(fmt.Sprintf("auth0[%d]", i), s.Validate())
	}
	for i, s := range c.Keycloak {
		under(fmt.Sprintf("keycloak[%d]", i), s.Validate())
	}
	for i, s := range c.SSF {
		under(fmt.Sprintf("ssf[%d]", i), s.Validate())
	}
	names := map[string]string{}
	for _, n := range c.names() {
		if other, taken := names[n.Name]; taken {
			problems = append(problems, fmt.Errorf("%s: the name %q is also that of a source in %s, give each its own", n.section, n.Name, other))
		}
		names[n.Name] = n.section
	}
	return errors.Join(problems...)
}

// GraphClient makes the client of a tenant's Graph. It is injected because only the ingest binary links the SDK behind it.
type GraphClient func(graph.Config) (graph.Getter, error)

var errNoGraph = errors.New("sources.entra_graph: this program is built without the Microsoft Graph SDK; use the ingest binary (cmd/ingest)")

// asked are the sources that have to be asked. Transmitters are made before, because some of them also send.
func (c SourcesConfig) asked(client GraphClient, transmitters []*ssf.Transmitter) ([]pull.Source, error) {
	var out []pull.Source
	var problems []error
	decoders := Decoders()
	add := func(section string, i int, name, format, tenant string, fetcher pull.Fetcher, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("sources.%s[%d].%w", section, i, err))
			return
		}
		s := pull.Source{Name: name, Format: format, Decoder: decoders[format], Fetcher: fetcher}
		if tenant != "" {
			s.Tenants = []string{tenant}
		}
		out = append(out, s)
	}
	limits := graph.NewLimits()
	for i, cfg := range c.EntraGraph {
		if client == nil {
			return nil, errNoGraph
		}
		getter, err := client(cfg)
		if err != nil {
			add("entra_graph", i, "", "", "", nil, err)
			continue
		}
		feeds, err := graph.New(cfg, graph.Deps{Getter: getter, Limits: limits})
		if err != nil {
			add("entra_graph", i, "", "", "", nil, err)
		}
		for _, f := range feeds {
			add("entra_graph", i, f.Name(), formatGraph, strings.ToLower(cfg.Tenant), f, nil)
		}
	}
	for i, cfg := range c.Okta {
		p, err := okta.New(cfg, okta.Deps{})
		add("okta", i, cfg.Name, okta.Family, cfg.Tenant, p, err)
	}
	for i, cfg := range c.Google {
		p, err := google.New(cfg, google.Deps{})
		add("google", i, cfg.Name, google.Family, cfg.Tenant, p, err)
	}
	for i, cfg := range c.O365 {
		p, err := o365.New(cfg, o365.Deps{})
		add("o365", i, cfg.Name, o365.Family, strings.ToLower(cfg.Tenant), p, err)
	}
	for i, cfg := range c.Auth0 {
		p, err := auth0.New(cfg, auth0.Deps{})
		add("auth0", i, cfg.Name, auth0.Family, cfg.Tenant, p, err)
	}
	for i, cfg := range c.Keycloak {
		p, err := keycloak.New(cfg, keycloak.Deps{})
		add("keycloak", i, cfg.Name, keycloak.Family, "", p, err)
	}
	for i, t := range transmitters {
		if c.SSF[i].Polls() {
			out = append(out, pull.Source{Name: t.Name(), Format: ssf.Family, Decoder: t.Decoder(), Tenants: []string{t.Tenant()}, Fetcher: t})
		}
	}
	return out, errors.Join(problems...)
}

// names are the keys of decoders, in order.
func names(decoders map[string]ingest.Decoder) []string {
	return slices.Sorted(maps.Keys(decoders))
}

// only is c with no other sources than the one of that name, for work that concerns it alone.
func (c SourcesConfig) only(name string) (SourcesConfig, error) {
	keep := c
	keep.EntraGraph = filter(c.EntraGraph, func(g graph.Config) bool { return slices.Contains(g.Names(), name) })
	keep.Okta = filter(c.Okta, func(o okta.Config) bool { return o.Name == name })
	keep.Google = filter(c.Google, func(g google.Config) bool { return g.Name == name })
	keep.O365 = filter(c.O365, func(o o365.Config) bool { return o.Name == name })
	keep.Auth0 = filter(c.Auth0, func(a auth0.Config) bool { return a.Name == name })
	keep.Keycloak = filter(c.Keycloak, func(k keycloak.Config) bool { return k.Name == name })
	keep.SSF, keep.Kafka = nil, nil // they have no history to ask for
	if len(keep.names()) > 0 {
		return keep, nil
	}
	var known []string
	for _, n := range c.names() {
		known = append(known, n.Name)
	}
	if len(known) == 0 {
		return keep, fmt.Errorf("no source is configured: name the configuration with --config, see docs/sources.md")
	}
	return keep, fmt.Errorf("no source that can be asked for its history has the name %.80q; configured are %s", name, strings.Join(known, ", "))
}

func filter[T any](in []T, keep func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(in), func(v T) bool { return !keep(v) })
}
