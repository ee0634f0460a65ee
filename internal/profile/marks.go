package profile

import "github.com/countersign-io/countersign/internal/events"

// Marks are single facts about the user, most of them when something last was. 0 is never.
type Marks struct {
	// Strongest is the rank of the strongest proof of identity of late, StrongestAt when it was last given.
	Strongest   uint8
	StrongestAt events.Millis
	// StrongAt is the last phishing-resistant proof, StepUpAt the last second factor that the person gave.
	StrongAt, StepUpAt events.Millis
	// ManagedAt is the last success on a managed device, ManagedDevice that device's [Hash].
	ManagedAt     events.Millis
	ManagedDevice uint64
	// HostingAt is the last interactive success from a hosting network.
	HostingAt events.Millis
	// RevokedAt is when all sessions were last ended, by the user, an administrator or countersign.
	RevokedAt events.Millis
	// DisabledAt is since when the account is disabled; 0 while it is not.
	DisabledAt events.Millis
	// CredentialAt is the last change of the password or other primary credential.
	CredentialAt events.Millis
	// LastFailure is the last failed attempt, LastInteractive the last success of the person, not of a program on their behalf.
	LastFailure, LastInteractive events.Millis
}

// HostingSeen tells that the user has signed in from a hosting network before.
func (m *Marks) HostingSeen() bool { return m.HostingAt != 0 }

// Prove notes a proof of identity of some strength. A weaker one than the strongest takes its place when that is older
// than keep.
func (m *Marks) Prove(s events.Strength, t, keep events.Millis) {
	rank := uint8(s.Rank())
	if rank > m.Strongest || m.StrongestAt < earlier(t, keep) {
		m.Strongest, m.StrongestAt = rank, t
	} else if rank == m.Strongest {
		m.StrongestAt = max(m.StrongestAt, t)
	}
	if s == events.PhishingResistant {
		m.StrongAt = max(m.StrongAt, t)
	}
}

// times are the moments in the order in which they are on the log: append, never move.
func (m *Marks) times() [10]*events.Millis {
	return [...]*events.Millis{
		&m.StrongestAt, &m.StrongAt, &m.StepUpAt, &m.ManagedAt, &m.HostingAt, &m.RevokedAt, &m.DisabledAt, &m.CredentialAt,
		&m.LastFailure, &m.LastInteractive,
	}
}
