package events

import "strconv"

// FamilyInternal is the source family of events that countersign itself writes.
const FamilyInternal = "countersign"

// NewErasure is the event that has everything forgotten that is remembered of a user up to at. It goes to [TopicEvents]
// with its own key. It is the log's way of erasing: the detector forgets the user, the archiver deletes what the history
// has, and a replay does both at the same point. Written twice it does no harm.
func NewErasure(tenant, user string, at Millis) *Event {
	tenant, user = Canonical(tenant), Canonical(user)
	source := "erasure-" + strconv.FormatInt(int64(at), 10) + "-" + ID("erasure", tenant, user)
	return &Event{
		ID: EventID(tenant, FamilyInternal, source), Kind: Erasure, Tenant: tenant, User: User{ID: user}, Time: at, Ingested: at,
		Source: Source{Family: FamilyInternal, ID: source, Name: "countersign"},
	}
}
