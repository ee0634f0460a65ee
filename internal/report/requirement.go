package report

import (
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
)

// RequirementOf is the requirement that a claims set tells of. raw is the claims set as it is on the log.
func RequirementOf(c *revocation.Claims, raw []byte) Requirement {
	seconds := func(s int64) events.Millis { return events.Millis(s) * events.Second }
	return Requirement{
		ID: c.ID, Tenant: c.Tenant, User: c.User, Session: c.Session, Status: Status(c.Status), Action: c.Action,
		Severity: c.Severity, ACRValues: c.ACRValues, MaxAge: uint32(min(max(c.MaxAge, 0), 1<<31)),
		NotBefore: seconds(c.NotBefore), Expires: seconds(c.Expires), Closed: seconds(c.ClosedAt),
		SatisfiedBy: c.SatisfiedBy, Policy: c.Policy, PolicyVersion: c.PolicyVersion, Reason: c.ReasonAdmin,
		EventID: c.EventID, JTI: c.JTI, Claims: raw,
	}
}
