package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/report"
)

// enforcementHistory is what the history knows of what became of decisions.
type enforcementHistory interface {
	Enforcement(ctx context.Context, scope report.Scope, span report.Span) (*report.Enforcement, error)
	ReceiptList(ctx context.Context, q report.ReceiptQuery) (report.ReceiptPage, error)
	// Requirement answers with one requirement; now decides whether it has expired.
	Requirement(ctx context.Context, scope report.Scope, id string, now events.Millis) (report.Requirement, error)
	RequirementReceipts(ctx context.Context, scope report.Scope, requirement string) ([]report.ReceiptLine, error)
	RequirementFindings(ctx context.Context, scope report.Scope, requirement string) ([]json.RawMessage, error)
}

// healthHistory is what the history knows of where events come from, and of who was told.
type healthHistory interface {
	Sources(ctx context.Context, scope report.Scope, now events.Millis) ([]report.SourceHealth, error)
	Alerts(ctx context.Context, q report.AlertQuery) (report.AlertPage, error)
}

type enforcementAnswer struct{ Body *report.Enforcement }

type receiptsQuestion struct {
	Window
	Paging
	User        string               `query:"user" maxLength:"256"`
	App         string               `query:"app" maxLength:"256"`
	Requirement string               `query:"requirement" maxLength:"256"`
	Status      events.ReceiptStatus `query:"status" enum:"delivered,challenged,satisfied,refused,revoked"`
}

type receiptsAnswer struct {
	Body struct {
		Receipts []report.ReceiptLine `json:"receipts" nullable:"false" doc:"Newest first"`
		Next     string               `json:"next_cursor,omitempty" doc:"Left out on the last page"`
	}
}

type revocationQuestion struct {
	ID string `path:"id" minLength:"1" maxLength:"256"`
}

type revocationAnswer struct {
	Body struct {
		Requirement report.Requirement   `json:"requirement"`
		Receipts    []report.ReceiptLine `json:"receipts" nullable:"false" doc:"What applications did with it, oldest first"`
		Findings    []findingJSON        `json:"findings" nullable:"false" doc:"Those that were decided to need it, oldest first, at most 200"`
	}
}

type sourcesAnswer struct {
	Body struct {
		Sources []report.SourceHealth `json:"sources" nullable:"false" doc:"By name; those that sent something in the last 30 days, or were refused in the last one"`
	}
}

type alertsQuestion struct {
	Window
	Paging
	Kind     incident.Kind `query:"kind" enum:"user,network,breaker,flood"`
	Severity []string      `query:"severity" enum:"info,low,medium,high,critical" maxItems:"5" doc:"Any of these, separated by commas"`
	User     string        `query:"user" maxLength:"256"`
	State    string        `query:"state" enum:"open,closed"`
}

type alertsAnswer struct {
	Body struct {
		Alerts []report.Alert `json:"alerts" nullable:"false" doc:"Incidents by when they were opened, newest first, each as it is now"`
		Next   string         `json:"next_cursor,omitempty" doc:"Left out on the last page"`
	}
}

func (a *API) describeEnforcement(api huma.API) {
	register(a, api, "enforcement", "/v1/enforcement", "What became of decisions, and how fast", ScopeRead, a.enforcement)
	register(a, api, "receipts", "/v1/receipts", "What applications did with requirements, newest first", ScopeRead, a.receipts)
	register(a, api, "revocation", "/v1/revocations/{id}", "One requirement with what led to it and what became of it", ScopeRead, a.revocation, refusing(http.StatusNotFound))
	register(a, api, "sources", "/v1/sources", "How the sources of events are doing", ScopeRead, a.sources)
	register(a, api, "alerts", "/v1/alerts", "Incidents that people were told of, newest first", ScopeOperate, a.alerts)
}

func (a *API) enforcement(ctx context.Context, who *principal, q *Window) (*enforcementAnswer, error) {
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	e, err := a.deps.History.Enforcement(ctx, who.tenants.Narrow(q.Tenant), span)
	if err != nil {
		return nil, a.refusal(err)
	}
	return &enforcementAnswer{e}, nil
}

func (a *API) receipts(ctx context.Context, who *principal, q *receiptsQuestion) (*receiptsAnswer, error) {
	after, err := q.follow(&q.From, &q.To)
	if err != nil {
		return nil, err
	}
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	if q.User != "" || q.Requirement != "" {
		if err := a.audit(ctx, who, events.AuditEntry{Tenant: q.Tenant, User: q.User, Action: "receipt.search", Target: q.Requirement}); err != nil {
			return nil, err
		}
	}
	page, err := a.deps.History.ReceiptList(ctx, report.ReceiptQuery{
		Scope: who.tenants.Narrow(q.Tenant), Span: span, User: q.User, App: q.App, Requirement: q.Requirement, Status: q.Status,
		After: after, Limit: q.Limit,
	})
	if err != nil {
		return nil, a.refusal(err)
	}
	answer := &receiptsAnswer{}
	answer.Body.Receipts = append([]report.ReceiptLine{}, page.Receipts...)
	answer.Body.Next = encodeCursor(page.Next, span)
	return answer, nil
}

func (a *API) revocation(ctx context.Context, who *principal, q *revocationQuestion) (*revocationAnswer, error) {
	h := a.deps.History
	requirement, err := h.Requirement(ctx, who.tenants, q.ID, now())
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	if err := a.audit(ctx, who, events.AuditEntry{Tenant: requirement.Tenant, User: requirement.User, Action: "revocation.read", Target: q.ID}); err != nil {
		return nil, err
	}
	scope := who.tenants.Narrow(requirement.Tenant)
	receipts, err := h.RequirementReceipts(ctx, scope, q.ID)
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	findings, err := h.RequirementFindings(ctx, scope, q.ID)
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	answer := &revocationAnswer{}
	answer.Body.Requirement = requirement
	answer.Body.Receipts = append([]report.ReceiptLine{}, receipts...)
	answer.Body.Findings = make([]findingJSON, len(findings))
	for i, f := range findings {
		answer.Body.Findings[i] = findingJSON(f)
	}
	return answer, nil
}

func (a *API) sources(ctx context.Context, who *principal, _ *struct{}) (*sourcesAnswer, error) {
	list, err := a.deps.History.Sources(ctx, who.tenants, now())
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	answer := &sourcesAnswer{}
	answer.Body.Sources = append([]report.SourceHealth{}, list...)
	return answer, nil
}

func (a *API) alerts(ctx context.Context, who *principal, q *alertsQuestion) (*alertsAnswer, error) {
	after, err := q.follow(&q.From, &q.To)
	if err != nil {
		return nil, err
	}
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	if q.User != "" {
		if err := a.audit(ctx, who, events.AuditEntry{Tenant: q.Tenant, User: q.User, Action: "alert.search"}); err != nil {
			return nil, err
		}
	}
	page, err := a.deps.History.Alerts(ctx, report.AlertQuery{
		Scope: who.tenants.Narrow(q.Tenant), Span: span, Kind: q.Kind, Severity: severities(q.Severity), User: q.User, State: q.State,
		After: after, Limit: q.Limit,
	})
	if err != nil {
		return nil, a.refusal(err)
	}
	answer := &alertsAnswer{}
	answer.Body.Alerts = append([]report.Alert{}, page.Alerts...)
	answer.Body.Next = encodeCursor(page.Next, span)
	return answer, nil
}

func severities(names []string) []events.Severity {
	list := make([]events.Severity, len(names))
	for i, s := range names {
		list[i] = events.Severity(s)
	}
	return list
}
