package history

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// markColumns are what scanMark reads.
const markColumns = `lower(hex(id)), tenant, lower(hex(finding)), detection, user_id, toUnixTimestamp64Milli(found), verdict, comment, assignee, set_by, toUnixTimestamp64Milli(time)`

func scanMark(r rowScanner) (events.Mark, error) {
	var m events.Mark
	var found, at int64
	var verdict string
	err := r.Scan(&m.ID, &m.Tenant, &m.Finding, &m.Detection, &m.User, &found, &verdict, &m.Comment, &m.Assignee, &m.By, &at)
	m.Found, m.Time, m.Verdict = millis(found), millis(at), events.TriageVerdict(verdict)
	return m, err
}

// idsOf is the set of the ids in a parameter, as columns hold them.
func idsOf(parameter string) string {
	return "(SELECT toFixedString(unhex(arrayJoin({" + parameter + ":Array(String)})), 16))"
}

// hashes leaves out what is no id of ours: it is an id of nothing.
func hashes(ids []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		_, err := hash("id", id)
		return err != nil
	})
}

// Triage answers with the newest mark of each of some findings, by the finding's id. A finding without a mark is not among
// them.
func (s *Store) Triage(ctx context.Context, scope report.Scope, findings []string) (map[string]events.Mark, error) {
	newest := map[string]events.Mark{}
	if findings = hashes(findings); len(findings) == 0 {
		return newest, nil
	}
	where := within(scope).and("finding IN "+idsOf("findings"), named("findings", findings))
	err := s.rows(ctx, `SELECT `+markColumns+`
FROM ${database}.marks
WHERE `+where.String()+`
ORDER BY marks.time DESC, marks.id DESC
LIMIT 1 BY finding`, where.with(), func(r rowScanner) error {
		m, err := scanMark(r)
		newest[m.Finding] = m
		return err
	})
	return newest, err
}

// maxMarks is how many marks of one finding are shown: the newest.
const maxMarks = 200

// Marks answers with the marks of a finding, the newest first.
func (s *Store) Marks(ctx context.Context, scope report.Scope, finding string) ([]events.Mark, error) {
	if len(hashes([]string{finding})) == 0 {
		return nil, nil
	}
	where := within(scope).and("finding = toFixedString(unhex({finding:String}), 16)", named("finding", finding))
	var list []events.Mark
	err := s.rows(ctx, `SELECT `+markColumns+`
FROM ${database}.marks
WHERE `+where.String()+`
ORDER BY marks.time DESC, marks.id DESC
LIMIT 1 BY marks.time, marks.id
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(maxMarks))), func(r rowScanner) error {
		m, err := scanMark(r)
		list = append(list, m)
		return err
	})
	return list, err
}

// newestMarks is a query for the finding, the detection and the verdict of the newest mark of each finding that where lets
// through.
func newestMarks(where *conditions) string {
	return `SELECT finding, argMax(detection, (marks.time, marks.id)) AS detection, argMax(verdict, (marks.time, marks.id)) AS holds
FROM ${database}.marks
WHERE ` + where.String() + `
GROUP BY finding`
}

// triaged limits findings to those whose newest mark has a verdict; open is also what has none.
func (c *conditions) triaged(q report.FindingQuery) *conditions {
	if q.Triage == "" {
		return c
	}
	marks := within(q.Scope).during("found", q.Span) // the same parameters as those of the findings
	in, holds := "IN", "= {triage:String}"
	if q.Triage == events.TriageOpen {
		in, holds = "NOT IN", "!= {triage:String}"
	}
	condition := "id " + in + " (SELECT finding FROM (" + newestMarks(marks) + ") WHERE holds " + holds + ")"
	triage := named("triage", string(q.Triage))
	if len(q.Recent) == 0 {
		return c.and(condition, triage)
	}
	recent, matching := []string{}, []string{}
	for _, m := range q.Recent {
		recent = append(recent, m.Finding)
		if m.Verdict == q.Triage {
			matching = append(matching, m.Finding)
		}
	}
	return c.and("(id NOT IN "+idsOf("recent")+" AND "+condition+" OR id IN "+idsOf("matching")+")",
		triage, named("recent", hashes(recent)), named("matching", hashes(matching)))
}

// Neighbours answers with the findings of a user before and after one of them.
func (s *Store) Neighbours(ctx context.Context, scope report.Scope, tenant, user string, at report.Cursor) (n report.Neighbours, err error) {
	for _, side := range []struct {
		compare, order string
		into           *string
	}{{"<", "DESC", &n.Previous}, {">", "ASC", &n.Next}} {
		moment := "fromUnixTimestamp64Milli({at:Int64}, 'UTC')"
		where := within(scope.Narrow(tenant)).equal("user_id", "user", user).
			and("time "+side.compare+"= "+moment+" AND (time "+side.compare+" "+moment+" OR "+hexID+" "+side.compare+" {id:String})",
				named("at", int64(at.Time)), named("id", at.ID))
		err := s.rows(ctx, `SELECT `+hexID+`
FROM ${database}.findings
WHERE `+where.String()+`
ORDER BY time `+side.order+`, id `+side.order+`
LIMIT 1`, where.with(), func(r rowScanner) error { return r.Scan(side.into) })
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// maxRequirementFindings is how many findings of one requirement are shown.
const maxRequirementFindings = 200

// RequirementFindings answers with the findings that were decided to need a requirement, oldest first.
func (s *Store) RequirementFindings(ctx context.Context, scope report.Scope, requirement string) ([]json.RawMessage, error) {
	if requirement == "" {
		return nil, nil
	}
	where := within(scope).equal("requirement", "requirement", requirement)
	list, err := s.records(ctx, `SELECT toUnixTimestamp64Milli(time), `+hexID+`, raw
FROM ${database}.findings
WHERE (tenant, time, id) IN (
    SELECT tenant, time, id
    FROM ${database}.findings
    WHERE `+where.String()+`
    ORDER BY time, id
    LIMIT 1 BY tenant, time, id
    LIMIT {limit:UInt32}
)
ORDER BY time, id, logged DESC
LIMIT 1 BY tenant, time, id`, where.with(named("limit", uint32(maxRequirementFindings))))
	if err != nil {
		return nil, err
	}
	raw := make([]json.RawMessage, len(list))
	for i, f := range list {
		raw[i] = f.raw
	}
	return raw, nil
}

// Rules answers with the record of every detection that has findings or marks in a span, in the order of their names.
func (s *Store) Rules(ctx context.Context, q report.RuleQuery) ([]report.Rule, error) {
	rules := map[string]*report.Rule{}
	rule := func(detection string) *report.Rule {
		if rules[detection] == nil {
			rules[detection] = &report.Rule{Detection: detection}
		}
		return rules[detection]
	}
	for _, part := range []func() error{
		func() error { return s.ruleFindings(ctx, q, rule) },
		func() error { return s.ruleMarks(ctx, q, rule) },
	} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	names := make([]string, 0, len(rules))
	for name := range rules {
		names = append(names, name)
	}
	slices.Sort(names)
	list := make([]report.Rule, len(names))
	for i, name := range names {
		list[i] = *rules[name]
		list[i].Finish()
	}
	return list, nil
}

// ruleFindings needs no FINAL: it counts distinct ids.
func (s *Store) ruleFindings(ctx context.Context, q report.RuleQuery, rule func(string) *report.Rule) error {
	where := within(q.Scope).during("time", q.Span)
	err := s.rows(ctx, `SELECT detection, severity, disposition = 'active' AS active, uniqExact(id)
FROM ${database}.findings
WHERE `+where.String()+`
GROUP BY detection, severity, active`, where.with(), func(r rowScanner) error {
		var detection, severity string
		var active uint8
		var n uint64
		if err := r.Scan(&detection, &severity, &active, &n); err != nil {
			return err
		}
		if active == 0 {
			rule(detection).Recorded += n
			return nil
		}
		rule(detection).Findings += n
		rule(detection).Severities.Add(events.Severity(severity), n)
		return nil
	})
	if err != nil {
		return err
	}
	where.and("disposition = 'active'")
	return s.rows(ctx, `SELECT detection, uniqExact(tenant, user_id)
FROM ${database}.findings
WHERE `+where.String()+`
GROUP BY detection`, where.with(), func(r rowScanner) error {
		var detection string
		var n uint64
		if err := r.Scan(&detection, &n); err != nil {
			return err
		}
		rule(detection).Users = n
		return nil
	})
}

func (s *Store) ruleMarks(ctx context.Context, q report.RuleQuery, rule func(string) *report.Rule) error {
	where := within(q.Scope).during("found", q.Span)
	if len(q.Recent) > 0 {
		var recent []string
		for _, m := range q.Recent {
			recent = append(recent, m.Finding)
			if m.Found >= q.Span.From && m.Found < q.Span.To && q.Scope.Allows(m.Tenant) {
				rule(m.Detection).Judge(m.Verdict, 1)
			}
		}
		where.and("finding NOT IN "+idsOf("recent"), named("recent", hashes(recent)))
	}
	return s.rows(ctx, `SELECT detection, holds, count()
FROM (`+newestMarks(where)+`)
GROUP BY detection, holds`, where.with(), func(r rowScanner) error {
		var detection, verdict string
		var n uint64
		if err := r.Scan(&detection, &verdict, &n); err != nil {
			return err
		}
		rule(detection).Judge(events.TriageVerdict(verdict), n)
		return nil
	})
}
