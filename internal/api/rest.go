package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// findingJSON is a finding as it is on the log; OpenAPI describes it as an events.Finding.
type findingJSON json.RawMessage

// MarshalJSON writes the record.
func (f findingJSON) MarshalJSON() ([]byte, error) { return f, nil }

// Schema implements huma.SchemaProvider.
func (findingJSON) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[events.Finding](), true, "Finding")
}

// Window is exported, as Paging is, because huma passes over embedded fields that are not. It is the span of event time that a question is about.
type Window struct {
	From   time.Time `query:"from" doc:"Start of the time asked for, RFC 3339; 24 hours before its end when left out"`
	To     time.Time `query:"to" doc:"End of the time asked for, not part of it; now when left out"`
	Tenant string    `query:"tenant" maxLength:"64" doc:"One of the tenants that you may see; all of them when left out"`
}

func (w *Window) span(limit time.Duration) (report.Span, error) {
	to := w.To
	if to.IsZero() {
		to = time.Now()
	}
	from := w.From
	if from.IsZero() {
		from = to.Add(-24 * time.Hour)
	}
	switch {
	case !from.Before(to):
		return report.Span{}, refuse("from", "must be before to", from)
	case to.Sub(from) > limit:
		return report.Span{}, refuse("from", fmt.Sprintf("at most %v may be asked for at once", limit), from)
	case from.Year() < 1971 || to.Year() > 2105:
		return report.Span{}, refuse("from", "the history holds the years 1971 to 2105", from)
	}
	return report.Span{From: events.MillisOf(from), To: events.MillisOf(to)}, nil
}

func refuse(parameter, message string, value any) error {
	return huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "query." + parameter, Message: message, Value: value})
}

// Paging is a page's size and where it starts.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor string `query:"cursor" maxLength:"512" doc:"next_cursor of the page before, whose from and to hold where they are left out"`
}

// A cursor travels as base64 of its time, the span of its list and its id. It says nothing that the page before did not say, and
// gives no rights. A list that is about no time has no span.
func encodeCursor(c *report.Cursor, span report.Span) string {
	if c == nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d:%d:%d:%s", int64(c.Time), int64(span.From), int64(span.To), c.ID))
}

// maxCursorID is the longest id of a list: a tenant and a user.
const maxCursorID = events.MaxTenant + 1 + events.MaxID

// cursor reads where the page begins, and the span of the page before.
func (p *Paging) cursor() (at report.Cursor, before report.Span, err error) {
	if p.Cursor == "" {
		return at, before, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	parts := strings.SplitN(string(b), ":", 4)
	if err == nil && len(parts) == 4 && parts[3] != "" && len(parts[3]) <= maxCursorID {
		var times [3]events.Millis
		for i := range times {
			ms, err := strconv.ParseUint(parts[i], 10, 45)
			if err != nil {
				return at, before, refuse("cursor", "is not a next_cursor of this API", p.Cursor)
			}
			times[i] = events.Millis(ms)
		}
		if times[0] > 0 {
			return report.Cursor{Time: times[0], ID: parts[3]}, report.Span{From: times[1], To: times[2]}, nil
		}
	}
	return at, before, refuse("cursor", "is not a next_cursor of this API", p.Cursor)
}

// follow reads where the page begins. Where from and to are left out they become those of the page before: what is 24 hours
// ago now is later than it was then, and the oldest would be lost.
func (p *Paging) follow(from, to *time.Time) (report.Cursor, error) {
	at, before, err := p.cursor()
	if from.IsZero() && before.From > 0 {
		*from = before.From.Time()
	}
	if to.IsZero() && before.To > 0 {
		*to = before.To.Time()
	}
	return at, err
}

type overviewAnswer struct{ Body *report.Overview }

type findingsQuestion struct {
	Window
	Paging
	User        string   `query:"user" maxLength:"256"`
	Detection   string   `query:"detection" maxLength:"64" example:"LOC-01"`
	Severity    []string `query:"severity" enum:"info,low,medium,high,critical" maxItems:"5" doc:"Any of these, separated by commas"`
	Disposition string   `query:"disposition" enum:"active,learning,suppressed,observed"`
	Session     string   `query:"session" maxLength:"256"`
	IP          string   `query:"ip" maxLength:"64" example:"192.0.2.0/24" doc:"An address, or a network of them"`
	Country     string   `query:"country" maxLength:"2" example:"NL"`
	App         string   `query:"app" maxLength:"256" doc:"The id of an application"`
	Triage      string   `query:"triage" enum:"open,acknowledged,true_positive,false_positive" doc:"open is also what nobody has marked"`
}

type findingsAnswer struct {
	Body struct {
		Findings []findingJSON            `json:"findings" nullable:"false" doc:"Newest first"`
		Triage   map[string]report.Triage `json:"triage" nullable:"false" doc:"What people say of these findings, by their ids; one that is left out is open, and nobody has marked it"`
		Next     string                   `json:"next_cursor,omitempty" doc:"Left out on the last page"`
	}
}

type findingQuestion struct {
	ID string `path:"id" pattern:"^[0-9a-f]{32}$"`
}

type findingAnswer struct {
	ETag string `header:"ETag" doc:"Of the triage, for If-Match"`
	Body findingJSON
}

type revocationsQuestion struct {
	Window
	Paging
	User   string `query:"user" maxLength:"256"`
	Status string `query:"status" enum:"open,satisfied,expired"`
}

type revocationsAnswer struct {
	Body struct {
		Revocations []report.Requirement `json:"revocations" nullable:"false" doc:"Newest first, each with its status now"`
		Next        string               `json:"next_cursor,omitempty" doc:"Left out on the last page"`
	}
}

// describe registers the REST operations with their OpenAPI description at /v1/openapi.json.
func (a *API) describe(mux *http.ServeMux) huma.API {
	config := huma.DefaultConfig("countersign", "1")
	config.Info.Description = "What countersign has seen and decided. Times are of events, RFC 3339 in UTC."
	config.OpenAPIPath = "/v1/openapi"
	config.DocsPath = ""    // a page of docs would load scripts from elsewhere
	config.SchemasPath = "" // and no links to schemas in answers
	config.CreateHooks = nil
	config.RejectUnknownQueryParameters = true
	// With <, > and & escaped: nothing in an answer is markup, wherever it ends up.
	escaped := huma.Format{
		Marshal:   func(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) },
		Unmarshal: json.Unmarshal,
	}
	config.Formats = map[string]huma.Format{"application/json": escaped, "json": escaped}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer"}, "session": {Type: "apiKey", In: "cookie", Name: "countersign"},
	}
	config.Security = []map[string][]string{{"token": {}}, {"session": {}}}
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	config.Components.Schemas = registry
	registry.RegisterTypeAlias(reflect.TypeFor[events.Millis](), reflect.TypeFor[time.Time]())
	registry.RegisterTypeAlias(reflect.TypeFor[events.Tri](), reflect.TypeFor[bool]())
	registry.RegisterTypeAlias(reflect.TypeFor[json.RawMessage](), reflect.TypeFor[map[string]any]())
	api := humago.New(mux, config)

	register(a, api, "me", "/v1/me", "Who you are and what you may do", anyone, a.me, aside)
	register(a, api, "overview", "/v1/overview", "Counts and a time chart", ScopeRead, a.overview)
	register(a, api, "findings", "/v1/findings", "Findings, newest first", ScopeRead, a.findings)
	register(a, api, "finding", "/v1/findings/{id}", "One finding", ScopeRead, a.finding)
	register(a, api, "revocations", "/v1/revocations", "Requirements with their status, newest first", ScopeRead, a.revocations)
	a.describePeople(api)
	a.describePlaces(api)
	a.describeTriage(api)
	a.describeActions(api)
	a.describeAudit(api)
	a.describeTokens(api)
	return api
}

func (a *API) overview(ctx context.Context, who *principal, q *Window) (*overviewAnswer, error) {
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	o, err := a.deps.History.Overview(ctx, who.tenants.Narrow(q.Tenant), span, now())
	if err != nil {
		return nil, a.refusal(err)
	}
	return &overviewAnswer{o}, nil
}

func (a *API) findings(ctx context.Context, who *principal, q *findingsQuestion) (*findingsAnswer, error) {
	after, err := q.follow(&q.From, &q.To)
	if err != nil {
		return nil, err
	}
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	addresses, err := network(q.IP)
	if err != nil {
		return nil, err
	}
	if one := addresses.IsSingleIP(); q.User != "" || q.Session != "" || one {
		entry := events.AuditEntry{Tenant: q.Tenant, User: q.User, Action: "finding.search", Target: q.Session}
		if one {
			entry.Target = strings.TrimSpace(q.Session + " " + addresses.Addr().String())
		}
		if err := a.audit(ctx, who, entry); err != nil {
			return nil, err
		}
	}
	scope := who.tenants.Narrow(q.Tenant)
	question := report.FindingQuery{
		Scope: scope, Span: span, User: q.User, Detection: q.Detection, Severity: severities(q.Severity),
		Disposition: events.Disposition(q.Disposition), Session: q.Session, Addresses: addresses, Country: q.Country, App: q.App,
		Triage: events.TriageVerdict(q.Triage), After: after, Limit: q.Limit,
	}
	if question.Triage != "" {
		if question.Recent, err = a.unsettled(ctx, scope); err != nil {
			return nil, a.refusal(err)
		}
	}
	page, err := a.deps.History.Findings(ctx, question)
	if err != nil {
		return nil, a.refusal(err)
	}
	answer := &findingsAnswer{}
	answer.Body.Findings = make([]findingJSON, len(page.Findings))
	ids := make([]string, len(page.Findings))
	for i, raw := range page.Findings {
		answer.Body.Findings[i] = findingJSON(raw)
		if f, err := events.DecodeFinding(raw); err == nil {
			ids[i] = f.ID
		}
	}
	if answer.Body.Triage, err = a.triaged(ctx, scope, ids); err != nil {
		return nil, a.refusal(err)
	}
	answer.Body.Next = encodeCursor(page.Next, span)
	return answer, nil
}

// network reads an address or a network of them; "" is none.
func network(text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, refuse("ip", "must be an address such as 192.0.2.10, or a network such as 192.0.2.0/24", text)
	}
	return p, nil
}

func (a *API) finding(ctx context.Context, who *principal, q *findingQuestion) (*findingAnswer, error) {
	raw, err := a.deps.History.Finding(ctx, who.tenants, q.ID)
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	f, err := events.DecodeFinding(raw)
	if err != nil {
		return nil, a.refusal(err)
	}
	if err := a.audit(ctx, who, events.AuditEntry{Tenant: f.Tenant, User: f.User.ID, Action: "finding.read", Target: q.ID}); err != nil {
		return nil, err
	}
	holds, err := a.holding(ctx, who.tenants, q.ID)
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	return &findingAnswer{etag(holds), findingJSON(raw)}, nil
}

func (a *API) revocations(ctx context.Context, who *principal, q *revocationsQuestion) (*revocationsAnswer, error) {
	after, err := q.follow(&q.From, &q.To)
	if err != nil {
		return nil, err
	}
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	if q.User != "" {
		if err := a.audit(ctx, who, events.AuditEntry{Tenant: q.Tenant, User: q.User, Action: "revocation.search"}); err != nil {
			return nil, err
		}
	}
	page, err := a.deps.History.Requirements(ctx, report.RequirementQuery{
		Scope: who.tenants.Narrow(q.Tenant), Span: span, User: q.User, Status: report.Status(q.Status), Now: now(), After: after, Limit: q.Limit,
	})
	if err != nil {
		return nil, a.refusal(err)
	}
	answer := &revocationsAnswer{}
	answer.Body.Revocations = append([]report.Requirement{}, page.Requirements...)
	answer.Body.Next = encodeCursor(page.Next, span)
	return answer, nil
}

func now() events.Millis { return events.MillisOf(time.Now()) }
