package detector

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/stream"
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
			ID: events.EventID(tenant, events.FamilyInternal, id), Kind: events.NetworkVerdict, Tenant: tenant,
			User: events.User{ID: user, Type: events.Unresolved}, Time: at, Ingested: at,
			Source: events.Source{Name: events.FamilyInternal, Family: events.FamilyInternal, ID: id}, Reason: reason,
			Verdict: &events.Verdict{Detection: policy.ResetDetection},
		}
	}
	return out
}

// BreakerState is how a tenant's breakers stand, one in each partition of the events that has seen the tenant.
type BreakerState struct {
	Tenant string `json:"tenant"`
	// Partitions have seen the tenant; in Tripped of them nothing is required of its users until a reset.
	Partitions int `json:"partitions"`
	Tripped    int `json:"tripped"`
	// Since is when the first of them tripped, Reason why; 0 and "" when none has.
	Since  events.Millis `json:"since,omitempty"`
	Reason string        `json:"reason,omitempty"`
}

// ReadBreakers reads how the breakers of all tenants stand, by name, from the state of the detectors. It reads the whole of
// it, which has a record for every user.
func ReadBreakers(ctx context.Context, table *stream.Table) ([]BreakerState, error) {
	type place struct {
		tenant    string
		partition int
	}
	breakers := map[place]policy.Breaker{}
	err := table.Load(ctx, events.TopicState, func(rec stream.Record) error {
		id, rest, ours := tenantOf(rec.Key)
		if !ours || !rest {
			return nil
		}
		payload, ok, err := stream.StatePayload(&rec)
		if err != nil || !ok {
			return err
		}
		var t tenant
		if err := t.readRest(payload); err != nil {
			return fmt.Errorf("tenant %q: %w", id, err)
		}
		breakers[place{id, rec.Partition}] = t.Breaker
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the state of breakers: %w", err)
	}
	states := map[string]BreakerState{}
	for _, at := range slices.SortedFunc(maps.Keys(breakers), func(a, b place) int { return cmp.Compare(a.partition, b.partition) }) {
		s, b := states[at.tenant], breakers[at]
		s.Tenant = at.tenant
		s.Partitions++
		if since, why := b.Tripped(); since != 0 {
			s.Tripped++
			if s.Since == 0 || since < s.Since {
				s.Since, s.Reason = since, why
			}
		}
		states[at.tenant] = s
	}
	return slices.SortedFunc(maps.Values(states), func(a, b BreakerState) int { return cmp.Compare(a.Tenant, b.Tenant) }), nil
}
