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
	// name is what the audit trail calls them, via how they came in.
	name string
	via  events.Via
	// roles are for show; scopes decide.
	roles   []string
	scopes  []string
	tenants report.Scope
}

func (p *principal) may(scope string) bool { return slices.Contains(p.scopes, scope) }

// newPrincipal adds up what roles and scopes give.
func newPrincipal(name string, via events.Via, roles, scopes, tenants []string) *principal {
	p := &principal{name: name, via: via, roles: slices.Clone(roles)}
	granted := map[string]bool{}
	for _, role := range roles {
		for _, s := range RoleScopes(role) {
			granted[s] = true
		}
	}
	for _, s := range scopes {
		granted[s] = true
	}
	for _, s := range Scopes { // in their order, and nothing unknown
		if granted[s] {
			p.scopes = append(p.scopes, s)
		}
	}
	if slices.Contains(tenants, AllTenants) {
		p.tenants.All = true
	} else {
		p.tenants.Tenants = slices.Compact(slices.Sorted(slices.Values(tenants)))
	}
	return p
}

// visit is one request: who asks, from where, until when they may.
type visit struct {
	who *principal
	// request is the id of the request, address where it came from.
	request, address string
	// ends is when the session or the token ends; zero is never.
	ends time.Time
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
