package history

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// Limits of the lists in answers about one user or one session.
const (
	maxOpen         = 100
	maxFindingLines = 100
)

// Users answers with one page of users, by their newest event.
func (s *Store) Users(ctx context.Context, q report.UserQuery) (report.UserPage, error) {
	where := within(q.Scope)
	having := []string{"true"}
	args := where.with(named("limit", uint32(q.Limit+1)))
	given := func(condition string, values ...driver.NamedValue) {
		having = append(having, condition)
		for _, v := range values {
			args = append(args, v)
		}
	}
	if q.Text != "" {
		// Not LIKE: nothing in the text is a pattern.
		given("(startsWith(lowerUTF8(user_id), lowerUTF8({text:String})) OR startsWith(lowerUTF8(name), lowerUTF8({text:String})))",
			named("text", q.Text))
	}
	if q.Type != "" || q.Persons {
		given("type = {type:String}", named("type", string(q.Type)))
	}
	if q.After != (report.Cursor{}) {
		given("(newest, key) < ({after_time:Int64}, {after_id:String})", named("after_time", int64(q.After.Time)), named("after_id", q.After.ID))
	}
	var list []report.UserSummary
	err := s.rows(ctx, `SELECT tenant, user_id, argMaxIfMerge(user_name) AS name, toString(max(user_type)) AS type,
    toUnixTimestamp64Milli(max(last)) AS newest, concat(tenant, '/', user_id) AS key
FROM ${database}.by_user
WHERE `+where.String()+`
GROUP BY tenant, user_id
HAVING `+strings.Join(having, "\n  AND ")+`
ORDER BY newest DESC, key DESC
LIMIT {limit:UInt32}`, args, func(r rowScanner) error {
		var u report.UserSummary
		var last int64
		var kind, key string
		if err := r.Scan(&u.Tenant, &u.User, &u.Name, &kind, &last, &key); err != nil {
			return err
		}
		u.Type, u.Last = events.UserType(kind), millis(last)
		list = append(list, u)
		return nil
	})
	if err != nil {
		return report.UserPage{}, err
	}
	list, next := page(list, q.Limit, func(u report.UserSummary) report.Cursor {
		return report.Cursor{Time: u.Last, ID: events.Key(u.Tenant, u.User)}
	})
	return report.UserPage{Users: list, Next: next}, s.countOf(ctx, q.Scope, list, q.Now)
}

// among binds a question to users, each with the tenant of the same index.
func among(scope report.Scope, tenants, users []string) *conditions {
	// The ids alone are looked for faster than the pairs.
	return within(scope).and("user_id IN {page_users:Array(String)}").and("(tenant, user_id) IN (SELECT arrayJoin(arrayZip({page_tenants:Array(String)}, {page_users:Array(String)})))",
		named("page_tenants", tenants), named("page_users", users))
}

// countOf counts what the users of one page have: their rows are few ranges of the sort key.
func (s *Store) countOf(ctx context.Context, scope report.Scope, list []report.UserSummary, now events.Millis) error {
	if len(list) == 0 {
		return nil
	}
	at := map[string]*report.UserSummary{}
	var tenants, users []string
	for i := range list {
		u := &list[i]
		at[events.Key(u.Tenant, u.User)] = u
		tenants, users = append(tenants, u.Tenant), append(users, u.User)
	}
	where := func() *conditions { return among(scope, tenants, users) }
	asking, ctx := errgroup.WithContext(ctx)
	for _, c := range []struct {
		query string
		where *conditions
		count func(*report.UserSummary) *uint64
	}{
		{`SELECT tenant, user_id, uniqExact(id) FROM ${database}.events`, where().and(reported), func(u *report.UserSummary) *uint64 { return &u.Events }},
		{`SELECT tenant, user_id, uniqExact(id) FROM ${database}.findings`, where().and("disposition = 'active'"), func(u *report.UserSummary) *uint64 { return &u.Findings }},
		{`SELECT tenant, user_id, count() FROM ${database}.revocations FINAL`, where().and(statusNow+" = 'open'", named("now", int64(now))), func(u *report.UserSummary) *uint64 { return &u.Open }},
	} {
		asking.Go(func() error {
			return s.rows(ctx, c.query+`
WHERE `+c.where.String()+`
GROUP BY tenant, user_id`, c.where.with(), func(r rowScanner) error {
				var tenant, user string
				var n uint64
				if err := r.Scan(&tenant, &user, &n); err != nil {
					return err
				}
				if u := at[events.Key(tenant, user)]; u != nil {
					*c.count(u) = n
				}
				return nil
			})
		})
	}
	return asking.Wait()
}

// User answers with what is known of a user. now decides which requirements are open.
func (s *Store) User(ctx context.Context, scope report.Scope, tenant, user string, now events.Millis) (*report.UserProfile, error) {
	groups, err := s.grouped(ctx, ofUser(scope, tenant, user), seenTop, byPlace, byDevice, byNetwork, byApp, bySession)
	if err != nil {
		return nil, err
	}
	all := groups[""][0]
	u := &report.UserProfile{
		Tenant: tenant, User: user, Name: all.name, Type: events.UserType(all.userType), First: millis(all.first), Last: millis(all.last), Events: all.events, Failures: all.failures,
		Surroundings: surroundings(groups), Sessions: seenList(groups[bySession]), Severities: []report.Count{},
	}
	known := all.events > 0
	severities := map[string]uint64{}
	where := ofUser(scope, tenant, user)
	err = s.rows(ctx, `SELECT severity, disposition, uniqExact(id), argMax(user_name, time)
FROM ${database}.findings
WHERE `+where.String()+`
GROUP BY severity, disposition`, where.with(), func(r rowScanner) error {
		var severity, disposition, name string
		var n uint64
		if err := r.Scan(&severity, &disposition, &n, &name); err != nil {
			return err
		}
		known = true
		if u.Name == "" {
			u.Name = name
		}
		if disposition == string(events.Active) {
			severities[severity] += n
			u.Findings += n
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, v := range slices.Backward(events.Severities) {
		u.Severities = append(u.Severities, report.Count{Name: string(v), Count: severities[string(v)]})
	}
	if u.Requirements, err = s.userRequirements(ctx, ofUser(scope, tenant, user).and(statusNow+" = 'open'"), now, maxOpen); err != nil {
		return nil, err
	}
	if u.Risk, err = s.risk(ctx, ofUser(scope, tenant, user)); err != nil {
		return nil, err
	}
	if !known && len(u.Requirements) == 0 {
		return nil, report.ErrNotFound
	}
	return u, nil
}

// userRequirements reads requirements, newest first.
func (s *Store) userRequirements(ctx context.Context, where *conditions, now events.Millis, limit int) ([]report.Requirement, error) {
	list, err := s.selectRequirements(ctx, where, `ORDER BY not_before DESC, requirement DESC
LIMIT {limit:UInt32}`, where.with(named("now", int64(now)), named("limit", uint32(limit))))
	return append([]report.Requirement{}, list...), err
}

// risk is a user's risk as the newest finding that tells it has it; nil when none does.
func (s *Store) risk(ctx context.Context, where *conditions) (*report.RiskNow, error) {
	list, err := s.records(ctx, `SELECT toUnixTimestamp64Milli(time), `+hexID+`, raw
FROM ${database}.findings
WHERE `+where.String()+`
  AND JSONHas(raw, 'evidence', 'risk')
ORDER BY time DESC, id DESC, logged DESC
LIMIT 1`, where.with())
	if err != nil || len(list) == 0 {
		return nil, err
	}
	f, err := events.DecodeFinding(list[0].raw)
	if err != nil {
		return nil, fmt.Errorf("reading the finding %s of the history: %w", list[0].cursor.ID, err)
	}
	if f.Evidence.Risk == nil { // null
		return nil, nil //nolint:nilnil // no risk is no error
	}
	return &report.RiskNow{Decibans: f.Evidence.Risk.After, Parts: f.Evidence.Risk.Parts, Time: list[0].cursor.Time, Finding: list[0].cursor.ID}, nil
}

// Session answers with what is known of a session. now decides which requirements have expired.
func (s *Store) Session(ctx context.Context, scope report.Scope, tenant, session string, now events.Millis) (*report.SessionProfile, error) {
	seen, users, err := s.ofSession(ctx, scope, tenant, session)
	if err != nil {
		return nil, err
	}
	groups, err := s.grouped(ctx, seen(), seenTop, byPlace, byDevice, byNetwork, byApp, byPerson)
	if err != nil {
		return nil, err
	}
	all := groups[""][0]
	if all.events == 0 {
		return nil, report.ErrNotFound
	}
	people := groups[byPerson]
	slices.SortFunc(people, func(a, b group) int { return cmp.Or(cmp.Compare(a.first, b.first), strings.Compare(a.key, b.key)) })
	answer := &report.SessionProfile{
		Tenant: tenant, Session: session, First: millis(all.first), Last: millis(all.last), Events: all.events, Failures: all.failures,
		Surroundings: surroundings(groups),
	}
	for i, u := range seenUsers(people) {
		if i == 0 {
			answer.User, answer.Name = u.User, u.Name
		} else {
			answer.Others = append(answer.Others, u.User)
		}
	}
	if answer.Findings, err = s.findingLines(ctx, seen(), maxFindingLines); err != nil {
		return nil, err
	}
	answer.Requirements, err = s.userRequirements(ctx, one(scope, tenant).and("user_id IN {users:Array(String)}", named("users", users)).
		and("(session_id = {session:String} OR session_id = '' AND not_before BETWEEN fromUnixTimestamp64Milli({first:Int64}) AND fromUnixTimestamp64Milli({last:Int64}))",
			named("session", session), named("first", all.first-all.first%events.Second), named("last", all.last+events.Second)), now, maxOpen)
	return answer, err
}

// maxSessionUsers bounds the users of one session who are looked at.
const maxSessionUsers = 100

// ofSession binds a question about events to one session: it finds the users and the time that the session was seen with,
// because events lie by user and time.
func (s *Store) ofSession(ctx context.Context, scope report.Scope, tenant, session string) (where func() *conditions, users []string, err error) {
	if session == "" {
		return nil, nil, report.ErrNotFound
	}
	whose := one(scope, tenant).and("session_id = {session:String}", named("session", session))
	var first, last int64
	err = s.rows(ctx, `SELECT user_id, toUnixTimestamp64Milli(min(by_session.first)) AS begun, toUnixTimestamp64Milli(max(by_session.last))
FROM ${database}.by_session
WHERE `+whose.String()+`
GROUP BY user_id
ORDER BY begun, user_id
LIMIT {limit:UInt32}`, whose.with(named("limit", uint32(maxSessionUsers))), func(r rowScanner) error {
		var user string
		var begun, ended int64
		if err := r.Scan(&user, &begun, &ended); err != nil {
			return err
		}
		if users = append(users, user); len(users) == 1 {
			first = begun
		}
		last = max(last, ended)
		return nil
	})
	if err == nil && len(users) == 0 {
		err = report.ErrNotFound
	}
	return func() *conditions {
		return one(scope, tenant).
			and("user_id IN {users:Array(String)}", named("users", users)).
			and("session_id = {session:String}", named("session", session)).
			during("time", report.Span{From: millis(first), To: millis(last + 1)})
	}, users, err
}

// SessionEvents answers with one page of a session's events, newest first.
func (s *Store) SessionEvents(ctx context.Context, q report.SessionQuery) (report.EventPage, error) {
	seen, _, err := s.ofSession(ctx, q.Scope, q.Tenant, q.Session)
	if err != nil {
		return report.EventPage{}, err
	}
	where := seen().and(reported).after("time", hexID, q.After)
	list, err := s.records(ctx, `SELECT toUnixTimestamp64Milli(time), `+hexID+`, raw
FROM ${database}.events
WHERE `+where.String()+`
ORDER BY time DESC, id DESC, logged DESC
LIMIT 1 BY time, id
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(q.Limit+1))))
	if err != nil {
		return report.EventPage{}, err
	}
	list, next := page(list, q.Limit, stored.place)
	answer := report.EventPage{Next: next, Events: make([]json.RawMessage, len(list))}
	for i, e := range list {
		answer.Events[i] = e.raw
	}
	return answer, nil
}
