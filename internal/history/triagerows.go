package history

import (
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// Marks is a block of rows for the table of marks.
type Marks struct {
	Block
	tenant, finding, id, detection, userID, verdict, comment, assignee, setBy *values[string]
	time, logged, found                                                       *values[int64]
}

// NewMarks returns an empty block for marks.
func NewMarks() *Marks {
	b := &builder{layout: &layout{}}
	m := &Marks{
		tenant: b.text("tenant"), finding: b.hash("finding"), time: b.moment("time"), id: b.hash("id"), logged: b.moment("logged"),
		detection: b.text("detection"), userID: b.text("user_id"), found: b.moment("found"), verdict: b.text("verdict"),
		comment: b.text("comment"), assignee: b.text("assignee"), setBy: b.text("set_by"),
	}
	m.Block = b.done(TableMarks)
	return m
}

// Append adds a mark; see [Events.Append].
func (b *Marks) Append(m *events.Mark, logged time.Time) error {
	if err := m.Validate(); err != nil {
		return err
	}
	if err := moments("time", m.Time, "found", m.Found); err != nil {
		return err
	}
	id, err := hash("id", m.ID)
	if err != nil {
		return err
	}
	finding, err := hash("finding", m.Finding)
	if err != nil {
		return err
	}
	b.tenant.add(m.Tenant)
	b.finding.add(finding)
	b.time.add(int64(m.Time))
	b.id.add(id)
	b.logged.add(logged.UnixMilli())
	b.detection.add(m.Detection)
	b.userID.add(m.User)
	b.found.add(int64(m.Found))
	b.verdict.add(string(m.Verdict))
	b.comment.add(m.Comment)
	b.assignee.add(m.Assignee)
	b.setBy.add(m.By)
	b.rows++
	return nil
}

// Audit is a block of rows for the table of the audit trail.
type Audit struct {
	Block
	tenant, id, actor, via, action, target, userID, detail, outcome, address, request *values[string]
	time, logged                                                                      *values[int64]
}

// NewAudit returns an empty block for the audit trail.
func NewAudit() *Audit {
	b := &builder{layout: &layout{}}
	a := &Audit{
		tenant: b.text("tenant"), time: b.moment("time"), id: b.hash("id"), logged: b.moment("logged"), actor: b.text("actor"),
		via: b.text("via"), action: b.text("action"), target: b.text("target"), userID: b.text("user_id"), detail: b.text("detail"),
		outcome: b.text("outcome"), address: b.text("address"), request: b.text("request"),
	}
	a.Block = b.done(TableAudit)
	return a
}

// Append adds an audit entry; see [Events.Append].
func (b *Audit) Append(a *events.AuditEntry, logged time.Time) error {
	if err := a.Validate(); err != nil {
		return err
	}
	if err := moments("time", a.Time, "", 0); err != nil {
		return err
	}
	id, err := hash("id", a.ID)
	if err != nil {
		return err
	}
	b.tenant.add(a.Tenant)
	b.time.add(int64(a.Time))
	b.id.add(id)
	b.logged.add(logged.UnixMilli())
	b.actor.add(a.Actor)
	b.via.add(string(a.Via))
	b.action.add(a.Action)
	b.target.add(a.Target)
	b.userID.add(a.User)
	b.detail.add(a.Detail)
	b.outcome.add(string(a.Outcome))
	b.address.add(a.Address)
	b.request.add(a.Request)
	b.rows++
	return nil
}
