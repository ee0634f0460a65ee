package detector

import (
	"fmt"

	"github.com/countersign-io/countersign/internal/anomaly"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/profile"
)

// Engine folds events in memory, in the order given, with the network stage in the loop: what it concludes comes back as
// events of its own at once. It is the same code as on the log, for evaluation, backtests and scenario tests. Its memory is
// that of the users' encoded state, and of some thousands decoded. It is not safe for concurrent use.
type Engine struct {
	rules   Rules
	tenants map[string]*engineTenant
	// hot are the users seen of late, cold all others, encoded: once hot is full, it is encoded and begins anew.
	hot    map[string]*User
	cold   map[string][]byte
	room   int // of hot
	offset int64
}

// engineTenant is what both stages remember of a tenant.
type engineTenant struct {
	Tenant
	network *org.State // nil without a network stage
}

// maxHot is how many users an engine keeps decoded.
const maxHot = 20_000

// Decided is one event and what it led to.
type Decided struct {
	Event   *events.Event
	Outcome Outcome
}

// NewEngine makes an engine that has seen nothing.
func NewEngine(rules Rules) *Engine {
	return &Engine{rules: rules, tenants: map[string]*engineTenant{}, hot: map[string]*User{}, cold: map[string][]byte{}, room: maxHot}
}

// Decide takes one event. The first result is the event's own; others are those of the verdicts that it led to.
func (g *Engine) Decide(e *events.Event) []Decided {
	t := g.tenants[e.Tenant]
	if t == nil {
		t = &engineTenant{}
		if g.rules.Network != nil {
			t.network = org.NewState(e.Tenant, g.rules.Network)
		}
		g.tenants[e.Tenant] = t
	}
	list := []Decided{{Event: e, Outcome: g.fold(t, e)}}
	// Verdicts may lead to sightings themselves, and so on; each is a step nearer to the end, because a user is told of an
	// incident once.
	for i := 0; i < len(list); i++ {
		m := list[i].Outcome.Sighting
		if m == nil || t.network == nil {
			continue
		}
		place := *m
		place.Offset = g.offset
		g.offset++
		for _, notice := range t.network.Fold(&place) {
			if notice.Context != nil {
				g.rules.Fold(&t.Tenant, nil, contextEvent(m, notice.Context, contextUser))
				continue
			}
			verdict := verdictEvent(m, &notice)
			list = append(list, Decided{Event: verdict, Outcome: g.fold(t, verdict)})
		}
	}
	return list
}

func (g *Engine) fold(t *engineTenant, e *events.Event) Outcome {
	if ofTenant(e) {
		return g.rules.Fold(&t.Tenant, nil, e)
	}
	return g.rules.Fold(&t.Tenant, g.user(e.Key()), e)
}

// Peek says what would be seen in an event, and remembers nothing.
func (g *Engine) Peek(e *events.Event) anomaly.Result {
	var context *org.Context
	if t := g.tenants[e.Tenant]; t != nil {
		context = t.Context
	}
	key := e.Key()
	switch u := g.hot[key]; {
	case u != nil:
		return g.rules.Catalogue.Evaluate(u.Profile.Clone(), context, e)
	case g.cold[key] != nil:
		return g.rules.Catalogue.Evaluate(g.decode(key).Profile, context, e)
	}
	return g.rules.Catalogue.Evaluate(profile.New(), context, e)
}

// Context is what the network stage has told of a tenant, nil when nothing.
func (g *Engine) Context(tenant string) *org.Context {
	if t := g.tenants[tenant]; t != nil {
		return t.Context
	}
	return nil
}

func (g *Engine) user(key string) *User {
	u := g.hot[key]
	if u != nil {
		return u
	}
	if len(g.hot) >= g.room {
		for key, u := range g.hot {
			g.cold[key] = u.AppendBinary(nil)
		}
		clear(g.hot)
	}
	if u = g.decode(key); u == nil {
		u = NewUser()
	}
	delete(g.cold, key)
	g.hot[key] = u
	return u
}

// decode returns a copy of a user that is cold, nil when there is none.
func (g *Engine) decode(key string) *User {
	state := g.cold[key]
	if state == nil {
		return nil
	}
	u, err := DecodeUser(state)
	if err != nil {
		panic(fmt.Sprintf("detector: reading what was just written of user %q: %v", key, err))
	}
	return u
}
