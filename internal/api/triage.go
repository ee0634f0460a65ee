package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/explain"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
)

// decisionHistory is what the history knows of what belongs to a finding.
type decisionHistory interface {
	Event(ctx context.Context, scope report.Scope, id string) (report.Record, error)
	EventFindings(ctx context.Context, scope report.Scope, event string) ([]report.Record, error)
	Neighbours(ctx context.Context, scope report.Scope, tenant, user string, at report.Cursor) (report.Neighbours, error)
}

// triageHistory is what the history knows of what people made of findings.
type triageHistory interface {
	// Triage answers with the newest mark of each finding that has one, Marks with those of one finding, the newest first.
	Triage(ctx context.Context, scope report.Scope, findings []string) (map[string]events.Mark, error)
	Marks(ctx context.Context, scope report.Scope, finding string) ([]events.Mark, error)
	Rules(ctx context.Context, q report.RuleQuery) ([]report.Rule, error)
}

// Explainer explains the decision that a finding is part of. Its errors wrap those of package report.
type Explainer interface {
	Explain(ctx context.Context, scope report.Scope, finding string, now events.Millis) (*explain.Explanation, error)
}

type detailsAnswer struct {
	ETag string `header:"ETag" doc:"Of the triage, for If-Match"`
	Body struct {
		Finding     findingJSON          `json:"finding"`
		Event       eventJSON            `json:"event,omitempty" doc:"Left out when the history has it no more"`
		Triage      report.Triage        `json:"triage"`
		Marks       []events.Mark        `json:"marks" nullable:"false" doc:"How the triage came about, the newest first, at most 200"`
		Requirement *report.Requirement  `json:"requirement,omitempty" doc:"What the decision opened, or what was open already"`
		Receipts    []report.ReceiptLine `json:"receipts" nullable:"false" doc:"What applications did with the requirement, oldest first"`
		Siblings    []findingJSON        `json:"siblings" nullable:"false" doc:"The other findings of the same event"`
		Near        report.Neighbours    `json:"near" doc:"The user's findings before and after this one"`
	}
}

type explanationAnswer struct{ Body *explain.Explanation }

type triageQuestion struct {
	ID      string `path:"id" pattern:"^[0-9a-f]{32}$"`
	IfMatch string `header:"If-Match" maxLength:"256" doc:"The ETag of the triage that this one is to replace. Without it the last one holds."`
	Body    struct {
		Verdict  events.TriageVerdict `json:"verdict" enum:"open,acknowledged,true_positive,false_positive"`
		Comment  string               `json:"comment,omitempty" maxLength:"4096" doc:"At most 4096 bytes of text, with line breaks and tabs and no other control characters"`
		Assignee string               `json:"assignee,omitempty" maxLength:"256" doc:"Who looks into it: one line of at most 256 bytes"`
	}
}

type triageAnswer struct {
	ETag string `header:"ETag"`
	Body report.Triage
}

func (a *API) describeTriage(api huma.API) {
	register(a, api, "finding-details", "/v1/findings/{id}/details", "One finding with all that belongs to it", ScopeRead, a.details, refusing(http.StatusNotFound))
	register(a, api, "finding-explanation", "/v1/findings/{id}/explanation", "The decision that a finding is part of, in full", ScopeTimeline, a.explanation,
		refusing(http.StatusNotFound), aside, saying("One is made at a time, and may take seconds."))
	register(a, api, "triage-finding", "PUT /v1/findings/{id}/triage", "Say what a finding is", ScopeTriage, a.triage,
		refusing(http.StatusNotFound, http.StatusPreconditionFailed), aside,
		saying("The whole triage is replaced: what is left out becomes empty. It is on the log when this answers, and is seen by all that is asked from then on."))
	register(a, api, "rules", "/v1/rules", "The record of every detection", ScopeRead, a.rules)
	a.describeEnforcement(api)
}

// etag names the triage of a finding.
func etag(m *events.Mark) string {
	if m == nil {
		return `"open"`
	}
	return `"` + m.ID + `"`
}

// holding is the mark of a finding that holds, nil without one. While the history is away it is the newest that was seen here,
// and err says so.
func (a *API) holding(ctx context.Context, scope report.Scope, id string) (*events.Mark, error) {
	kept, err := a.deps.History.Triage(ctx, scope, []string{id})
	return newer(kept, a.recent.newest(scope)[id], id), err
}

// triaged adds the triage of some findings. What the history has is forgotten here.
func (a *API) triaged(ctx context.Context, scope report.Scope, findings []string) (map[string]report.Triage, error) {
	if len(findings) == 0 {
		return map[string]report.Triage{}, nil
	}
	kept, err := a.deps.History.Triage(ctx, scope, findings)
	if err != nil {
		return nil, err
	}
	merged := a.recent.merge(scope, findings, kept)
	a.recent.settle(kept)
	return merged, nil
}

// unsettled are the newest marks that the history does not have yet, one a finding, by the findings' ids.
func (a *API) unsettled(ctx context.Context, scope report.Scope) ([]*events.Mark, error) {
	seen := a.recent.newest(scope)
	if len(seen) == 0 {
		return nil, nil
	}
	ids := make([]string, 0, len(seen))
	for id := range seen {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	kept, err := a.deps.History.Triage(ctx, scope, ids)
	if err != nil {
		return nil, err
	}
	var list []*events.Mark
	for _, id := range ids {
		if k, ok := kept[id]; !ok || k.Compare(seen[id]) < 0 {
			list = append(list, seen[id])
		}
	}
	a.recent.settle(kept)
	return list, nil
}

func (a *API) details(ctx context.Context, who *principal, q *findingQuestion) (*detailsAnswer, error) {
	h := a.deps.History
	raw, err := h.Finding(ctx, who.tenants, q.ID)
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	f, err := events.DecodeFinding(raw)
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	if err := a.audit(ctx, who, events.AuditEntry{Tenant: f.Tenant, User: f.User.ID, Target: f.ID, Action: "finding.details"}); err != nil {
		return nil, err
	}
	scope := who.tenants.Narrow(f.Tenant)
	answer := &detailsAnswer{}
	body := &answer.Body
	body.Finding, body.Receipts, body.Siblings = findingJSON(raw), []report.ReceiptLine{}, []findingJSON{}
	event, err := h.Event(ctx, scope, f.EventID)
	if err != nil && !errors.Is(err, report.ErrNotFound) {
		return nil, a.refusalOfOne(err)
	}
	body.Event = eventJSON(event.Raw)
	others, err := h.EventFindings(ctx, scope, f.EventID)
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	for _, r := range others {
		if other, err := events.DecodeFinding(r.Raw); err == nil && other.ID != f.ID {
			body.Siblings = append(body.Siblings, findingJSON(r.Raw))
		}
	}
	marks, err := h.Marks(ctx, scope, f.ID)
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	body.Marks = append([]events.Mark{}, together(marks, a.recent.of(f.Tenant, f.ID))...)
	var holds *events.Mark
	if len(body.Marks) > 0 {
		holds = &body.Marks[0]
	}
	body.Triage, answer.ETag = report.TriageOf(holds), etag(holds)
	if f.Decision != nil && f.Decision.Requirement != "" {
		if err := a.enforced(ctx, scope, f.Decision.Requirement, answer); err != nil {
			return nil, a.refusalOfOne(err)
		}
	}
	body.Near, err = h.Neighbours(ctx, scope, f.Tenant, f.User.ID, report.Cursor{Time: f.Time, ID: f.ID})
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	return answer, nil
}

// enforced adds what became of a finding's requirement.
func (a *API) enforced(ctx context.Context, scope report.Scope, id string, answer *detailsAnswer) error {
	requirement, err := a.deps.History.Requirement(ctx, scope, id, now())
	if errors.Is(err, report.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	answer.Body.Requirement = &requirement
	receipts, err := a.deps.History.RequirementReceipts(ctx, scope, id)
	answer.Body.Receipts = append(answer.Body.Receipts, receipts...)
	return err
}

// explanationTimeout bounds an explanation.
const explanationTimeout = 20 * time.Second

func (a *API) explanation(ctx context.Context, who *principal, q *findingQuestion) (*explanationAnswer, error) {
	if a.deps.Explainer == nil {
		return nil, notConfigured("Explanations are not available here.")
	}
	ctx, cancel := context.WithTimeout(ctx, explanationTimeout)
	defer cancel()
	if err := take(ctx, a.explaining, a.cfg.QuestionWait); err != nil {
		return nil, unavailable(busy, "Another explanation is being made; ask again soon.")
	}
	defer func() { <-a.explaining }()
	x, err := a.deps.Explainer.Explain(ctx, who.tenants, q.ID, now())
	switch {
	case err == nil:
		entry := events.AuditEntry{Target: q.ID, Action: "finding.explanation"}
		if len(x.Findings) > 0 { // it is the finding's decision
			entry.Tenant, entry.User = x.Findings[0].Finding.Tenant, x.Findings[0].Finding.User.ID
		}
		if err := a.audit(ctx, who, entry); err != nil {
			return nil, err
		}
		return &explanationAnswer{x}, nil
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, unavailable(tooLong, "The explanation takes too long now; ask again later.")
	}
	return nil, a.refusalOfOne(err)
}

// errBusy says that a place did not get free in time.
var errBusy = errors.New("busy")

// take takes a place, for which it waits for some time.
func take(ctx context.Context, places chan struct{}, patience time.Duration) error {
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case places <- struct{}{}:
		return nil
	case <-wait.C:
		return errBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Patience of a mark: for what the history knows, and for the log.
const (
	markLookup  = 2 * time.Second
	markPublish = 10 * time.Second
)

func (a *API) triage(ctx context.Context, who *principal, q *triageQuestion) (*triageAnswer, error) {
	var problems []error
	for _, field := range []struct {
		location, value string
		problem         error
	}{
		{"body.comment", q.Body.Comment, events.ValidComment(q.Body.Comment)},
		{"body.assignee", q.Body.Assignee, events.ValidLine(q.Body.Assignee, events.MaxAssignee)},
	} {
		if field.problem != nil {
			problems = append(problems, &huma.ErrorDetail{Location: field.location, Message: field.problem.Error(), Value: field.value})
		}
	}
	if len(problems) > 0 {
		return nil, huma.Error422UnprocessableEntity("validation failed", problems...)
	}
	f, err := a.markable(ctx, who, q.ID)
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	// One at a time, so that of two who saw the same triage here one is told that the other was first. Over several APIs the
	// later one holds, and both marks are kept.
	if err := take(ctx, a.marking, a.cfg.QuestionWait); err != nil {
		return nil, unavailable(busy, "Another mark is being written; try again soon.")
	}
	defer func() { <-a.marking }()

	look, cancel := context.WithTimeout(ctx, markLookup)
	holds, err := a.holding(look, who.tenants.Narrow(f.tenant), q.ID)
	cancel()
	switch {
	case q.IfMatch == "":
	case err != nil:
		return nil, a.refusalOfOne(err) // whether it matches is not known
	case !permits(q.IfMatch, etag(holds)):
		return nil, huma.Error412PreconditionFailed("Somebody else has marked the finding meanwhile; look at what they said.")
	}
	entry := events.AuditEntry{Tenant: f.tenant, User: f.user, Target: q.ID, Action: "finding.triage", Detail: string(q.Body.Verdict)}
	if err := a.audit(ctx, who, entry); err != nil {
		return nil, err
	}
	m := &events.Mark{
		Tenant: f.tenant, Finding: q.ID, Detection: f.detection, User: f.user, Found: f.found, Verdict: q.Body.Verdict,
		Comment: q.Body.Comment, Assignee: q.Body.Assignee, By: who.name, Time: now(),
	}
	if holds != nil {
		if holds.Verdict == m.Verdict && holds.Comment == m.Comment && holds.Assignee == m.Assignee && holds.By == m.By {
			return &triageAnswer{etag(holds), report.TriageOf(holds)}, nil // a repeat
		}
		m.Time = max(m.Time, holds.Time+1) // whatever the clock of another machine said
	}
	m.ID = events.MarkID(m)
	if err := a.mark(ctx, m); err != nil {
		entry.Outcome = events.AuditFailed
		a.note(ctx, entry)
		return nil, err
	}
	return &triageAnswer{etag(m), report.TriageOf(m)}, nil
}

// mark writes a mark and waits for the log.
func (a *API) mark(ctx context.Context, m *events.Mark) error {
	if err := m.Validate(); err != nil {
		return a.refusal(err)
	}
	// A caller that leaves does not take its mark along.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markPublish)
	defer cancel()
	err := a.deps.Publisher.Publish(ctx, events.TopicMarks, []stream.Record{{Key: []byte(m.Key()), Value: events.Encode(m)}})
	if err != nil {
		a.log.Warn("writing a mark", zap.Error(err))
		return unavailable(logAway, "The log is not available now, and the mark may not be written. Look again soon.")
	}
	a.recent.see(m)
	return nil
}

// markable is a finding that the caller may see, also when the history is away and the finding was seen here.
func (a *API) markable(ctx context.Context, who *principal, id string) (marked, error) {
	if f, ok := a.recent.finding(id); ok {
		if !who.tenants.Allows(f.tenant) {
			return marked{}, report.ErrNotFound
		}
		return f, nil
	}
	raw, err := a.deps.History.Finding(ctx, who.tenants, id)
	if err != nil {
		return marked{}, err
	}
	f, err := events.DecodeFinding(raw)
	if err != nil {
		return marked{}, err
	}
	return markedOf(f), nil
}

// permits tells whether an If-Match field lets a triage be replaced: a strong comparison, by RFC 9110, section 13.1.1.
func permits(ifMatch, tag string) bool {
	for candidate := range strings.SplitSeq(ifMatch, ",") {
		if c := strings.TrimSpace(candidate); c == tag || c == "*" {
			return true
		}
	}
	return false
}
