package detector

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
)

// tell counts and reports what a person has to know of an outcome: a breaker that trips, and a policy that cannot be
// evaluated, once for each reason and set of policies.
func (p *processor) tell(e *events.Event, o *Outcome) {
	if len(o.Findings) > 0 && o.Findings[0].Decision != nil && o.Findings[0].Decision.Held {
		p.metrics.held.Inc()
	}
	if o.Tripped != "" {
		p.metrics.trips.Inc()
		p.log.Error("breaker tripped: nothing is required of the tenant's users in this partition until `countersign breaker reset`",
			zap.String("tenant", e.Tenant), zap.String("reason", o.Tripped))
	}
	for _, broken := range o.Broken {
		p.metrics.broken.Inc()
		if p.toldOf.first(p.rules.Policies.Version(), broken) {
			p.log.Warn("policy could not be evaluated, so it did not match", zap.String("reason", broken), zap.String("event", e.ID))
		}
	}
}

// toldOf are the reasons that were reported, of one version of the policies.
type toldOf struct {
	version string
	reasons map[string]struct{}
}

// maxToldOf bounds what is reported of a version: a reason may name what was in the event.
const maxToldOf = 64

// first tells whether a reason has not been reported, and is to be.
func (t *toldOf) first(version, reason string) bool {
	if t.version != version {
		*t = toldOf{version: version, reasons: map[string]struct{}{}}
	}
	if _, known := t.reasons[reason]; known || len(t.reasons) >= maxToldOf {
		return false
	}
	t.reasons[reason] = struct{}{}
	return true
}

// ResetBreaker are the events that reset a tenant's breakers: one for each partition of the events, under the name of a
// user that nobody is and that falls there. reason is kept with them, for who reads the log later.
func ResetBreaker(tenant, reason string, partitions int, at events.Millis) []*events.Event {
	out := make([]*events.Event, partitions)
	for partition, user := range keysOfPartitions(tenant, "breaker-", partitions) {
		id := fmt.Sprintf("%s/%d/%d", policy.ResetDetection, at, partition)
		out[partition] = &events.Event{
			ID: events.EventID(tenant, FamilyInternal, id), Kind: events.NetworkVerdict, Tenant: tenant,
			User: events.User{ID: user, Type: events.Unresolved}, Time: at, Ingested: at,
			Source: events.Source{Name: FamilyInternal, Family: FamilyInternal, ID: id}, Reason: reason,
			Verdict: &events.Verdict{Detection: policy.ResetDetection},
		}
	}
	return out
}
