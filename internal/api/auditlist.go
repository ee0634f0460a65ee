package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

type auditHistory interface {
	Audit(ctx context.Context, q report.AuditQuery) (report.AuditPage, error)
}

type auditQuestion struct {
	Window
	Paging
	Actor   string `query:"actor" maxLength:"256" doc:"Who asked"`
	User    string `query:"user" maxLength:"256" doc:"The id of the person whose data it was"`
	Action  string `query:"action" maxLength:"64" example:"finding." doc:"An action; with a dot at its end, all that start so"`
	Outcome string `query:"outcome" enum:"done,refused,failed"`
}

type auditAnswer struct {
	Body struct {
		Entries []events.AuditEntry `json:"entries" nullable:"false" doc:"Newest first"`
		Next    string              `json:"next_cursor,omitempty" doc:"Left out on the last page"`
	}
}

func (a *API) describeAudit(api huma.API) {
	register(a, api, "audit", "/v1/audit", "Who read and did what, newest first", ScopeAudit, a.auditTrail)
}

// auditTrail shows the trail, and leaves an entry in it. The trail is what the archiver has brought to the history: the
// newest entries are seconds behind the log.
func (a *API) auditTrail(ctx context.Context, who *principal, q *auditQuestion) (*auditAnswer, error) {
	after, err := q.follow(&q.From, &q.To)
	if err != nil {
		return nil, err
	}
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	if err := a.audit(ctx, who, events.AuditEntry{Tenant: q.Tenant, User: q.User, Action: "audit.read"}); err != nil {
		return nil, err
	}
	page, err := a.deps.History.Audit(ctx, report.AuditQuery{
		Scope: who.tenants.Narrow(q.Tenant), Span: span, Actor: q.Actor, User: q.User, Action: q.Action, Outcome: events.AuditOutcome(q.Outcome),
		After: after, Limit: q.Limit,
	})
	if err != nil {
		return nil, a.refusal(err)
	}
	answer := &auditAnswer{}
	answer.Body.Entries = append([]events.AuditEntry{}, page.Entries...)
	answer.Body.Next = encodeCursor(page.Next, span)
	return answer, nil
}
