package detector

import (
	"fmt"
	"strconv"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/stream"
)

// tell counts and reports what a person has to know of an outcome: a breaker that trips, and a policy that cannot be
// evaluated, once for each set of policies.
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
		version := p.rules.Policies.Version()
		if p.toldOf != version {
			p.toldOf = version
			p.log.Warn("policy could not be evaluated, so it did not match", zap.String("reason", broken), zap.String("event", e.ID))
		}
	}
}

// ResetBreaker are the events that reset a tenant's breakers: one for each partition of the events, under the name of a
// user that nobody is and that falls there. reason is kept with them, for who reads the log later.
func ResetBreaker(tenant, reason string, partitions int, at events.Millis) []*events.Event {
	out := make([]*events.Event, partitions)
	for found, n := 0, 0; found < partitions; n++ {
		user := "breaker-" + strconv.Itoa(n)
		partition := stream.PartitionFor([]byte(events.Key(tenant, user)), partitions)
		if out[partition] != nil {
			continue
		}
		found++
		id := fmt.Sprintf("%s/%d/%d", policy.ResetDetection, at, partition)
		out[partition] = &events.Event{
			ID: events.EventID(tenant, resetFamily, id), Kind: events.NetworkVerdict, Tenant: tenant,
			User: events.User{ID: user, Type: events.Unresolved}, Time: at, Ingested: at,
			Source: events.Source{Name: resetFamily, Family: resetFamily, ID: id}, Reason: reason,
			Verdict: &events.Verdict{Detection: policy.ResetDetection},
		}
	}
	return out
}

// resetFamily is the family of sources of what countersign itself writes among the events.
const resetFamily = "countersign"
