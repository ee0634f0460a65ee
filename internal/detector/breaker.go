package detector

import (
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
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
