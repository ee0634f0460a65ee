package api

import (
	"context"
	"slices"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// The scopes: what a caller may do.
const (
	// ScopeRead is for the overview, findings, requirements, apps, rules, sources, schemas and the live feed.
	ScopeRead = "read"
	// ScopeTimeline is for one person's data: users, sessions, networks, the decisions about them.
	ScopeTimeline = "timeline"
	// ScopeTriage is for saying what a finding is.
	ScopeTriage = "triage"
	// ScopeBacktest is for trying policies on the past.
	ScopeBacktest = "backtest"
	// ScopeExport is for taking data away in bulk.
	ScopeExport = "export"
	// ScopeOperate is for streams, dead letters and alerts.
	ScopeOperate = "operate"
	// ScopeAudit is for reading who read and did what.
	ScopeAudit = "audit"
	// ScopeErase is for erasing a person.
	ScopeErase = "erase"
	// ScopeAdmin is for the API's tokens.
	ScopeAdmin = "admin"
)

// Scopes lists every scope.
var Scopes = []string{ScopeRead, ScopeTimeline, ScopeTriage, ScopeBacktest, ScopeExport, ScopeOperate, ScopeAudit, ScopeErase, ScopeAdmin}

// The roles: scopes that go together.
const (
	RoleViewer  = "viewer"
	RoleAnalyst = "analyst"
	RoleAdmin   = "admin"
)

// Roles lists every role, the weakest first.
var Roles = []string{RoleViewer, RoleAnalyst, RoleAdmin}

// RoleScopes are the scopes of a role; none for an unknown one.
func RoleScopes(role string) []string {
	switch role {
	case RoleViewer:
		return []string{ScopeRead}
	case RoleAnalyst:
		return []string{ScopeRead, ScopeTimeline, ScopeTriage, ScopeBacktest, ScopeExport}
	case RoleAdmin:
		return slices.Clone(Scopes)
	}
	return nil
}

// principal is who asks. It does not change once it is made.
type principal struct {
	// name is what the audit trail calls them, via how they came in. subject tells apart whom an issuer calls the same.
	name    string
	via     events.Via
	subject string
	// roles are for show; grants decide.
	roles  []string
	grants []grant
	// tenants are those of all grants together, or of one scope: see under.
	tenants report.Scope
}

// grant is scopes for tenants: one may be an analyst here and a viewer there.
type grant struct {
	scopes  []string
	tenants report.Scope
}

// under is the principal with the tenants for which it has a scope; nil without any.
func (p *principal) under(scope string) *principal {
	if p == nil {
		return nil
	}
	var tenants []report.Scope
	for _, g := range p.grants {
		if scope == anyone || slices.Contains(g.scopes, scope) {
			tenants = append(tenants, g.tenants)
		}
	}
	if len(tenants) == 0 {
		return nil
	}
	narrowed := *p
	narrowed.tenants = union(tenants)
	return &narrowed
}

// also is the principal with those of its tenants for which it has another scope as well, by whichever grants; nil without any.
func (p *principal) also(scope string) *principal {
	other := p.under(scope)
	if other == nil {
		return nil
	}
	if other.tenants = intersection(p.tenants, other.tenants); !other.tenants.All && len(other.tenants.Tenants) == 0 {
		return nil
	}
	return other
}

// scopes are those of all grants, in the order of Scopes.
func (p *principal) scopes() []string {
	list := []string{}
	for _, s := range Scopes {
		if slices.ContainsFunc(p.grants, func(g grant) bool { return slices.Contains(g.scopes, s) }) {
			list = append(list, s)
		}
	}
	return list
}

// with adds what a role and scopes give for tenants. Unknown roles and scopes give nothing.
func (p *principal) with(role string, scopes, tenants []string) {
	if role != "" && !slices.Contains(p.roles, role) {
		p.roles = append(p.roles, role)
	}
	g := grant{tenants: scopeOf(tenants)}
	for _, s := range Scopes {
		if slices.Contains(scopes, s) || slices.Contains(RoleScopes(role), s) {
			g.scopes = append(g.scopes, s)
		}
	}
	p.grants = append(p.grants, g)
	p.tenants = union([]report.Scope{p.tenants, g.tenants})
}

// newPrincipal has one grant.
func newPrincipal(name string, via events.Via, role string, scopes, tenants []string) *principal {
	p := &principal{name: name, via: via}
	p.with(role, scopes, tenants)
	return p
}

// scopeOf reads a list of tenants, in which "*" is all.
func scopeOf(tenants []string) report.Scope {
	if slices.Contains(tenants, AllTenants) {
		return report.Scope{All: true}
	}
	return report.Scope{Tenants: slices.Compact(slices.Sorted(slices.Values(tenants)))}
}

func union(list []report.Scope) report.Scope {
	var all []string
	for _, s := range list {
		if s.All {
			return report.Scope{All: true}
		}
		all = append(all, s.Tenants...)
	}
	return scopeOf(all)
}

func intersection(x, y report.Scope) report.Scope {
	if x.All {
		return y
	}
	return report.Scope{Tenants: slices.DeleteFunc(slices.Clone(x.Tenants), func(t string) bool { return !y.Allows(t) })}
}

// covers reports whether somebody has every scope for every one of the tenants, so that they may hand it on.
func (p *principal) covers(scopes []string, tenants report.Scope) bool {
	for _, s := range scopes {
		own := p.under(s)
		if own == nil || tenants.All && !own.tenants.All {
			return false
		}
		for _, t := range tenants.Tenants {
			if !own.tenants.Allows(t) {
				return false
			}
		}
	}
	return true
}

// standing is somebody who is let in.
type standing struct {
	who *principal
	// ends is when the session or the token ends that they come with; tokenEnds is when the token ends that they, or their
	// session, came in with, whichever lasts longer here. Zero is never, or no token.
	ends, tokenEnds time.Time
}

// visit is one request: who asks, until when they may, and from where.
type visit struct {
	standing
	// request is the id of the request, address where it came from.
	request, address string
	// tls says that the way here was encrypted, the browser's to a trusted proxy included.
	tls bool
}

type visitKey struct{}

// visitOf is the visit that a request belongs to. It is empty outside of one.
func visitOf(ctx context.Context) *visit {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		return v
	}
	return &visit{}
}

// caller is the principal of a request; nil before authentication.
func caller(ctx context.Context) *principal { return visitOf(ctx).who }
