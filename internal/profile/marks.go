package profile

import "github.com/countersign-io/countersign/internal/events"

// Marks are single facts about the user, most of them when something last was. 0 is never.
type Marks struct {
	// StrongAt is the last phishing-resistant proof of identity.
	StrongAt events.Millis
	// ManagedAt is the last success on a managed device.
	ManagedAt events.Millis
	// HostingAt is the last interactive success from a hosting network.
	HostingAt events.Millis
	// DisabledAt is since when the account is disabled; 0 while it is not.
	DisabledAt events.Millis
}

// HostingSeen tells that the user has signed in from a hosting network before.
func (m *Marks) HostingSeen() bool { return m.HostingAt != 0 }

// times are the moments in the order in which they are on the log: append, never move.
func (m *Marks) times() [4]*events.Millis {
	return [...]*events.Millis{&m.StrongAt, &m.ManagedAt, &m.HostingAt, &m.DisabledAt}
}

// times2 are those of format 2; nil are those that nothing reads any more.
func (m *Marks) times2() [10]*events.Millis {
	return [...]*events.Millis{1: &m.StrongAt, 3: &m.ManagedAt, 4: &m.HostingAt, 6: &m.DisabledAt, 9: nil}
}
