package history

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// statusNow is the status of a requirement at a given moment: an open one whose time has run out is expired, whether or
// not a record says so.
const statusNow = "if(status = 'open' AND expires < fromUnixTimestamp64Milli({now:Int64}, 'UTC'), 'expired', status)"

// Requirements answers with one page of requirements, newest first, each with its newest status.
func (s *Store) Requirements(ctx context.Context, q report.RequirementQuery) (report.RequirementPage, error) {
	list, err := s.requirements(ctx, q)
	if err != nil {
		return report.RequirementPage{}, err
	}
	list, next := page(list, q.Limit, func(r report.Requirement) report.Cursor { return report.Cursor{Time: r.NotBefore, ID: r.ID} })
	return report.RequirementPage{Requirements: list, Next: next}, nil
}

// requirements reads up to q.Limit+1 requirements.
func (s *Store) requirements(ctx context.Context, q report.RequirementQuery) ([]report.Requirement, error) {
	where := within(q.Scope).
		during("not_before", q.Span).
		equal("user_id", "user", q.User).
		equal(statusNow, "status", string(q.Status)).
		after("not_before", "requirement", q.After)
	return s.selectRequirements(ctx, where, `ORDER BY not_before DESC, requirement DESC
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(q.Limit+1)), named("now", int64(q.Now))))
}

// selectRequirements reads requirements; rest is what follows the condition. args name now.
func (s *Store) selectRequirements(ctx context.Context, where *conditions, rest string, args []any) ([]report.Requirement, error) {
	var list []report.Requirement
	err := s.rows(ctx, requirementColumns+`
FROM ${database}.revocations FINAL
WHERE `+where.String()+`
`+rest, args, func(row rowScanner) error {
		r, err := scanRequirement(row)
		list = append(list, r)
		return err
	})
	return list, err
}

// requirementColumns are what scanRequirement reads.
const requirementColumns = `SELECT requirement, tenant, user_id, session_id, ` + statusNow + `, action, severity, acr_values, max_age,
    toUnixTimestamp64Milli(not_before), toUnixTimestamp64Milli(expires), toUnixTimestamp64Milli(closed),
    satisfied_by, policy, policy_version, reason, event_id, jti, raw`

func scanRequirement(row rowScanner) (r report.Requirement, err error) {
	var status, action, severity, acr, raw string
	var notBefore, expires, closed int64
	if err := row.Scan(&r.ID, &r.Tenant, &r.User, &r.Session, &status, &action, &severity, &acr, &r.MaxAge,
		&notBefore, &expires, &closed, &r.SatisfiedBy, &r.Policy, &r.PolicyVersion, &r.Reason, &r.EventID, &r.JTI, &raw); err != nil {
		return r, err
	}
	r.Status, r.Action, r.Severity = report.Status(status), events.Action(action), events.Severity(severity)
	r.NotBefore, r.Expires, r.Closed = millis(notBefore), millis(expires), millis(closed)
	r.ACRValues = strings.Fields(acr)
	r.Claims = json.RawMessage(raw)
	return r, nil
}

// sortEntries orders a timeline newest first, by the order of its cursor.
func sortEntries(entries []report.Entry) {
	slices.SortFunc(entries, func(a, b report.Entry) int {
		if a.Time != b.Time {
			if a.Time > b.Time {
				return -1
			}
			return 1
		}
		return strings.Compare(b.ID, a.ID)
	})
}
