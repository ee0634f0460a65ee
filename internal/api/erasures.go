package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
)

// erasureHistory knows who was erased.
type erasureHistory interface {
	Erasures(ctx context.Context, scope report.Scope) ([]report.Erasure, error)
}

type eraseRequest struct {
	PathTenant string `path:"tenant" maxLength:"64"`
	User       string `path:"user" maxLength:"256"`
	Body       struct {
		Confirm string `json:"confirm" maxLength:"256" doc:"The user's id once more: there is no way back"`
		Reason  string `json:"reason" minLength:"1" maxLength:"1024" doc:"Why, for the audit trail; no personal data"`
	}
}

type erasedAnswer struct {
	Body struct {
		Before events.Millis `json:"before" doc:"What happened up to this time is erased"`
	}
}

type erasuresQuestion struct {
	Tenant string `query:"tenant" maxLength:"64" doc:"One of the tenants that you may see; all of them when left out"`
}

type erasuresAnswer struct {
	Body struct {
		Erasures []report.Erasure `json:"erasures" nullable:"false" doc:"Newest first, at most 1000"`
	}
}

func (a *API) describeErasures(api huma.API) {
	register(a, api, "erase-user", "POST /v1/users/{tenant}/{user}/erase", "Erase what is known of a person", ScopeErase, a.erase,
		saying("The detector forgets the user, and the history deletes the user's events, findings, requirements, receipts and marks up to now. "+
			"The topics of the log drop their records by their own retention."),
		answering(http.StatusAccepted), refusing(http.StatusNotFound), aside)
	register(a, api, "erasures", "/v1/erasures", "Who was erased, and what is still to be deleted", ScopeErase, a.erasures)
}

// erase writes the erasure to the log, from which detector and archiver take it. A user need not be known: what is on the way
// is erased as well.
func (a *API) erase(ctx context.Context, who *principal, q *eraseRequest) (*erasedAnswer, error) {
	if !who.tenants.Allows(q.PathTenant) || !events.ValidTenant(q.PathTenant) {
		return nil, a.refusal(report.ErrNotFound)
	}
	if q.Body.Confirm != q.User {
		return nil, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{
			Location: "body.confirm", Message: "must be the user's id", Value: q.Body.Confirm,
		})
	}
	e := events.NewErasure(q.PathTenant, q.User, now())
	if err := e.Validate(); err != nil {
		return nil, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "path.user", Message: err.Error(), Value: q.User})
	}
	entry := events.AuditEntry{Action: "erase", Tenant: e.Tenant, User: e.User.ID, Target: "users/" + e.User.ID, Detail: q.Body.Reason}
	if err := a.audit(ctx, who, entry); err != nil {
		return nil, err
	}
	// A caller that leaves does not take the erasure along.
	write, cancel := context.WithTimeout(context.WithoutCancel(ctx), markPublish)
	defer cancel()
	if err := a.deps.Publisher.Publish(write, events.TopicEvents, []stream.Record{{Key: []byte(e.Key()), Value: events.Encode(e)}}); err != nil {
		a.log.Warn("writing an erasure", zap.Error(err))
		entry.Outcome = events.AuditFailed
		a.note(ctx, entry)
		return nil, unavailable(logAway, "The log is not available now; erase again soon, twice does no harm.")
	}
	answer := &erasedAnswer{}
	answer.Body.Before = e.Time
	return answer, nil
}

func (a *API) erasures(ctx context.Context, who *principal, q *erasuresQuestion) (*erasuresAnswer, error) {
	if err := a.audit(ctx, who, events.AuditEntry{Tenant: q.Tenant, Action: "erasure.list"}); err != nil {
		return nil, err
	}
	list, err := a.deps.History.Erasures(ctx, who.tenants.Narrow(q.Tenant))
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	answer := &erasuresAnswer{}
	answer.Body.Erasures = append([]report.Erasure{}, list...)
	return answer, nil
}
