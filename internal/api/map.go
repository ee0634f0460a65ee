package api

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// placesHistory answers about places, networks and applications.
type placesHistory interface {
	Map(ctx context.Context, q report.MapQuery) (*report.WorldMap, error)
	Network(ctx context.Context, q report.NetworkQuery) (*report.NetworkProfile, error)
	Apps(ctx context.Context, q report.AppQuery) ([]report.AppSummary, error)
	App(ctx context.Context, q report.AppQuery) (*report.AppProfile, error)
}

// describePlaces registers what is about places, networks and applications.
func (a *API) describePlaces(api huma.API) {
	register(a, api, "map", "/v1/map", "Places with events, and the ways between places that nobody can travel", ScopeRead, a.worldMap)
	register(a, api, "network", "/v1/networks", "Who came from an address or a prefix", ScopeTimeline, a.network)
	register(a, api, "apps", "/v1/apps", "Applications, those with most events first", ScopeRead, a.apps)
	register(a, api, "app", "/v1/apps/{tenant}/{app}", "One application", ScopeRead, a.app, refusing(http.StatusNotFound))
}

type mapQuestion struct {
	Window
	Severity []string `query:"severity" enum:"info,low,medium,high,critical" maxItems:"5" doc:"Arcs of any of these, separated by commas; of all when left out"`
}

type mapAnswer struct{ Body *report.WorldMap }

func (a *API) worldMap(ctx context.Context, who *principal, q *mapQuestion) (*mapAnswer, error) {
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	severities := make([]events.Severity, len(q.Severity))
	for i, s := range q.Severity {
		severities[i] = events.Severity(s)
	}
	m, err := a.deps.History.Map(ctx, report.MapQuery{Scope: who.tenants.Narrow(q.Tenant), Span: span, Severity: severities, Now: now()})
	if err != nil {
		return nil, a.refusal(err)
	}
	return &mapAnswer{m}, nil
}

type networkQuestion struct {
	Window
	IP     string `query:"ip" maxLength:"45" doc:"An address; either this or prefix"`
	Prefix string `query:"prefix" maxLength:"49" doc:"A /24 of IPv4 or a /48 of IPv6" example:"192.0.2.0/24"`
}

type networkAnswer struct{ Body *report.NetworkProfile }

func (a *API) network(ctx context.Context, who *principal, q *networkQuestion) (*networkAnswer, error) {
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	question := report.NetworkQuery{Scope: who.tenants.Narrow(q.Tenant), Span: span, Prefix: q.Prefix}
	switch {
	case (q.IP == "") == (q.Prefix == ""):
		return nil, refuse("ip", "either ip or prefix must be given", q.IP)
	case q.IP != "":
		ip, err := netip.ParseAddr(q.IP)
		if err != nil || ip.IsUnspecified() {
			return nil, refuse("ip", "must be an IPv4 or IPv6 address", q.IP)
		}
		question.IP = ip.Unmap().WithZone("")
	case !events.ValidPrefix(q.Prefix):
		return nil, refuse("prefix", "must be a /24 of IPv4 or a /48 of IPv6, such as 192.0.2.0/24", q.Prefix)
	}
	if err := a.audit(ctx, who, events.AuditEntry{Tenant: q.Tenant, Action: "network.read", Target: q.IP + q.Prefix}); err != nil {
		return nil, err
	}
	n, err := a.deps.History.Network(ctx, question)
	if err != nil {
		return nil, a.refusal(err)
	}
	return &networkAnswer{n}, nil
}

type appsAnswer struct {
	Body struct {
		Apps []report.AppSummary `json:"apps" nullable:"false" doc:"At most 200, those with most events first"`
	}
}

func (a *API) apps(ctx context.Context, who *principal, q *Window) (*appsAnswer, error) {
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	apps, err := a.deps.History.Apps(ctx, report.AppQuery{Scope: who.tenants.Narrow(q.Tenant), Span: span, Now: now()})
	if err != nil {
		return nil, a.refusal(err)
	}
	answer := &appsAnswer{}
	answer.Body.Apps = append([]report.AppSummary{}, apps...)
	return answer, nil
}

type appQuestion struct {
	Tenant string `path:"tenant" maxLength:"64"`
	App    string `path:"app" maxLength:"256"`
	Period
}

type appAnswer struct{ Body *report.AppProfile }

func (a *API) app(ctx context.Context, who *principal, q *appQuestion) (*appAnswer, error) {
	if !who.tenants.Allows(q.Tenant) {
		return nil, a.refusal(report.ErrNotFound)
	}
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	app, err := a.deps.History.App(ctx, report.AppQuery{Scope: who.tenants, Tenant: q.Tenant, App: q.App, Span: span, Now: now()})
	if err != nil {
		return nil, a.refusal(err)
	}
	return &appAnswer{app}, nil
}
