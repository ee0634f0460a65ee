package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// peopleHistory answers about persons.
type peopleHistory interface {
	Users(ctx context.Context, q report.UserQuery) (report.UserPage, error)
	User(ctx context.Context, scope report.Scope, tenant, user string, now events.Millis) (*report.UserProfile, error)
	Lanes(ctx context.Context, q report.LanesQuery) (*report.Lanes, error)
	Timeline(ctx context.Context, q report.TimelineQuery) (report.Timeline, error)
	sessionHistory
}

// sessionHistory answers about sessions.
type sessionHistory interface {
	Session(ctx context.Context, scope report.Scope, tenant, session string, now events.Millis) (*report.SessionProfile, error)
	SessionEvents(ctx context.Context, q report.SessionQuery) (report.EventPage, error)
}

// describePeople registers what is about persons.
func (a *API) describePeople(api huma.API) {
	register(a, api, "users", "/v1/users", "Users whose id or name starts with a text, by their newest event", ScopeTimeline, a.users)
	register(a, api, "user", "/v1/users/{tenant}/{user}", "What is known of one user", ScopeTimeline, a.user, refusing(http.StatusNotFound))
	register(a, api, "timeline", "/v1/users/{tenant}/{user}/timeline", "What happened to one user, newest first", ScopeTimeline, a.timeline, refusing(http.StatusNotFound))
	register(a, api, "lanes", "/v1/users/{tenant}/{user}/lanes", "One user's places, devices, networks and sessions over time", ScopeTimeline, a.lanes, refusing(http.StatusNotFound))
	register(a, api, "session", "/v1/sessions/{tenant}/{session}", "What is known of one session", ScopeTimeline, a.session, refusing(http.StatusNotFound))
	register(a, api, "session-events", "/v1/sessions/{tenant}/{session}/events", "The events of one session, newest first", ScopeTimeline, a.sessionEvents, refusing(http.StatusNotFound))
}

// eventJSON is an event as it is on the log; OpenAPI describes it as an events.Event.
type eventJSON json.RawMessage

// MarshalJSON writes the record.
func (e eventJSON) MarshalJSON() ([]byte, error) { return e, nil }

// Schema implements huma.SchemaProvider.
func (eventJSON) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[events.Event](), true, "Event")
}

// UserPath names a user. It is exported, as SessionPath and Period are, because huma passes over embedded fields that are not.
type UserPath struct {
	Tenant string `path:"tenant" maxLength:"64"`
	User   string `path:"user" maxLength:"256"`
}

// SessionPath names a session.
type SessionPath struct {
	Tenant  string `path:"tenant" maxLength:"64"`
	Session string `path:"session" maxLength:"256"`
}

// Period is a Window where the tenant is in the path.
type Period struct {
	From time.Time `query:"from" doc:"Start of the time asked for, RFC 3339; 24 hours before its end when left out"`
	To   time.Time `query:"to" doc:"End of the time asked for, not part of it; now when left out"`
}

func (p *Period) span(limit time.Duration) (report.Span, error) {
	return (&Window{From: p.From, To: p.To}).span(limit)
}

type usersQuestion struct {
	Paging
	Text   string `query:"q" maxLength:"256" doc:"How the id or the name starts, in upper or lower case; every user when left out"`
	Tenant string `query:"tenant" maxLength:"64" doc:"One of the tenants that you may see; all of them when left out"`
	Type   string `query:"type" enum:"person,workload,unresolved" doc:"Only people, only programs, or only names that were tried and that no account is known for; all when left out"`
}

type usersAnswer struct {
	Body struct {
		Users []report.UserSummary `json:"users" nullable:"false" doc:"By their newest event, newest first; a user who signs in meanwhile moves to the first page"`
		Next  string               `json:"next_cursor,omitempty" doc:"Left out on the last page"`
	}
}

func (a *API) users(ctx context.Context, who *principal, q *usersQuestion) (*usersAnswer, error) {
	after, _, err := q.cursor()
	if err != nil {
		return nil, err
	}
	if err := a.audit(ctx, who, events.AuditEntry{Tenant: q.Tenant, Action: "user.search", Target: q.Text}); err != nil {
		return nil, err
	}
	question := report.UserQuery{Scope: who.tenants.Narrow(q.Tenant), Text: q.Text, Now: now(), After: after, Limit: q.Limit}
	if question.Persons = q.Type == "person"; !question.Persons {
		question.Type = events.UserType(q.Type)
	}
	page, err := a.deps.History.Users(ctx, question)
	if err != nil {
		return nil, a.refusal(err)
	}
	answer := &usersAnswer{}
	answer.Body.Users = append([]report.UserSummary{}, page.Users...)
	answer.Body.Next = encodeCursor(page.Next, report.Span{})
	return answer, nil
}

type userAnswer struct{ Body *report.UserProfile }

func (a *API) user(ctx context.Context, who *principal, q *UserPath) (*userAnswer, error) {
	if !who.tenants.Allows(q.Tenant) {
		return nil, a.refusal(report.ErrNotFound)
	}
	if err := a.audit(ctx, who, events.AuditEntry{Tenant: q.Tenant, User: q.User, Action: "user.read"}); err != nil {
		return nil, err
	}
	u, err := a.deps.History.User(ctx, who.tenants, q.Tenant, q.User, now())
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	return &userAnswer{u}, nil
}

type timelineQuestion struct {
	UserPath
	Period
	Paging
	Kinds []string `query:"kind" enum:"event,finding,requirement,receipt" maxItems:"4" doc:"Any of these, separated by commas; all when left out"`
}

type timelineAnswer struct {
	Body struct {
		Entries []report.Entry `json:"entries" nullable:"false" doc:"Newest first"`
		Next    string         `json:"next_cursor,omitempty" doc:"Left out on the last page"`
	}
}

func (a *API) timeline(ctx context.Context, who *principal, q *timelineQuestion) (*timelineAnswer, error) {
	if !who.tenants.Allows(q.Tenant) {
		return nil, a.refusal(report.ErrNotFound)
	}
	after, err := q.follow(&q.From, &q.To)
	if err != nil {
		return nil, err
	}
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	if err := a.audit(ctx, who, events.AuditEntry{Tenant: q.Tenant, User: q.User, Action: "user.timeline"}); err != nil {
		return nil, err
	}
	page, err := a.deps.History.Timeline(ctx, report.TimelineQuery{
		Scope: who.tenants, Tenant: q.Tenant, User: q.User, Span: span, Kinds: q.Kinds, Now: now(), After: after, Limit: q.Limit,
	})
	if err != nil {
		return nil, a.refusal(err)
	}
	answer := &timelineAnswer{}
	answer.Body.Entries = append([]report.Entry{}, page.Entries...)
	answer.Body.Next = encodeCursor(page.Next, span)
	return answer, nil
}

type lanesQuestion struct {
	UserPath
	Period
}

type lanesAnswer struct{ Body *report.Lanes }

func (a *API) lanes(ctx context.Context, who *principal, q *lanesQuestion) (*lanesAnswer, error) {
	if !who.tenants.Allows(q.Tenant) {
		return nil, a.refusal(report.ErrNotFound)
	}
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	if err := a.audit(ctx, who, events.AuditEntry{Tenant: q.Tenant, User: q.User, Action: "user.lanes"}); err != nil {
		return nil, err
	}
	lanes, err := a.deps.History.Lanes(ctx, report.LanesQuery{Scope: who.tenants, Tenant: q.Tenant, User: q.User, Span: span, Now: now()})
	if err != nil {
		return nil, a.refusal(err)
	}
	return &lanesAnswer{lanes}, nil
}

type sessionAnswer struct{ Body *report.SessionProfile }

func (a *API) session(ctx context.Context, who *principal, q *SessionPath) (*sessionAnswer, error) {
	if !who.tenants.Allows(q.Tenant) {
		return nil, a.refusal(report.ErrNotFound)
	}
	s, err := a.deps.History.Session(ctx, who.tenants, q.Tenant, q.Session, now())
	var users []string
	if err == nil {
		users = append([]string{s.User}, s.Others...)
	}
	if err := a.auditSession(ctx, who, "session.read", q, users, err); err != nil {
		return nil, err
	}
	return &sessionAnswer{s}, nil
}

// auditSession writes who reads a session, once its users are known, and turns the problem of reading it into an answer. A read
// of one that there is not is in the trail too.
func (a *API) auditSession(ctx context.Context, who *principal, action string, q *SessionPath, users []string, problem error) error {
	if problem != nil && !errors.Is(problem, report.ErrNotFound) {
		return a.refusalOfOne(problem)
	}
	entry := events.AuditEntry{Tenant: q.Tenant, Action: action, Target: q.Session}
	if len(users) > 0 {
		entry.User = users[0]
	}
	if len(users) > 1 {
		entry.Detail = fmt.Sprintf("also of %q", users[1:])
	}
	if err := a.audit(ctx, who, entry); err != nil {
		return err
	}
	if problem != nil {
		return a.refusalOfOne(problem)
	}
	return nil
}

type sessionEventsQuestion struct {
	SessionPath
	Paging
}

type eventsAnswer struct {
	Body struct {
		Events []eventJSON `json:"events" nullable:"false" doc:"Newest first"`
		Next   string      `json:"next_cursor,omitempty" doc:"Left out on the last page"`
	}
}

func (a *API) sessionEvents(ctx context.Context, who *principal, q *sessionEventsQuestion) (*eventsAnswer, error) {
	if !who.tenants.Allows(q.Tenant) {
		return nil, a.refusal(report.ErrNotFound)
	}
	after, _, err := q.cursor()
	if err != nil {
		return nil, err
	}
	page, err := a.deps.History.SessionEvents(ctx, report.SessionQuery{
		Scope: who.tenants, Tenant: q.Tenant, Session: q.Session, After: after, Limit: q.Limit,
	})
	answer := &eventsAnswer{}
	answer.Body.Events = make([]eventJSON, len(page.Events))
	var users []string
	for i, raw := range page.Events {
		answer.Body.Events[i] = eventJSON(raw)
		if e, err := events.Decode(raw); err == nil && !slices.Contains(users, e.User.ID) {
			users = append(users, e.User.ID)
		}
	}
	if err := a.auditSession(ctx, who, "session.events", &q.SessionPath, users, err); err != nil {
		return nil, err
	}
	answer.Body.Next = encodeCursor(page.Next, report.Span{})
	return answer, nil
}
