package detector

import (
	"github.com/countersign-io/countersign/internal/anomaly"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/profile"
)

// Engine folds events in memory, in the order given, with the network stage in the loop: what it concludes comes back as
// events of its own at once. It is the same code as on the log, for evaluation, backtests and scenario tests. It is not
// safe for concurrent use.
type Engine struct {
	rules   Rules
	tenants map[string]*Tenant
	users   map[string]*User
}

// Decided is one event and what it led to.
type Decided struct {
	Event   *events.Event
	Outcome Outcome
}

// NewEngine makes an engine that has seen nothing.
func NewEngine(rules Rules) *Engine {
	return &Engine{rules: rules, tenants: map[string]*Tenant{}, users: map[string]*User{}}
}

// Decide takes one event. The first result is the event's own; others are those of the verdicts that it led to.
func (g *Engine) Decide(e *events.Event) []Decided {
	tenant := g.tenants[e.Tenant]
	if tenant == nil {
		tenant = &Tenant{}
		g.tenants[e.Tenant] = tenant
	}
	return []Decided{{Event: e, Outcome: g.rules.Fold(tenant, g.user(e.Key()), e)}}
}

// Peek says what would be seen in an event, and remembers nothing.
func (g *Engine) Peek(e *events.Event) anomaly.Result {
	p := profile.New()
	if u := g.users[e.Key()]; u != nil {
		p = u.Profile.Clone()
	}
	var context *org.Context
	if tenant := g.tenants[e.Tenant]; tenant != nil {
		context = tenant.Context
	}
	return g.rules.Catalogue.Evaluate(p, context, e)
}

func (g *Engine) user(key string) *User {
	u := g.users[key]
	if u == nil {
		u = NewUser()
		g.users[key] = u
	}
	return u
}
