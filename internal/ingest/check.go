package ingest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// refusal says why an event is refused.
type refusal struct {
	reason string
	err    error
}

// check stamps an event, gives it its id, and says what is wrong with it.
func (p *Pipeline) check(src *Source, e *events.Event) *refusal {
	now := events.MillisOf(p.now())
	e.Clean()
	e.Source.Name, e.Ingested = src.Name, now
	if e.Tenant == "" && len(src.Tenants) == 1 {
		e.Tenant = src.Tenants[0]
	}
	e.Tenant, e.User.ID = events.Canonical(e.Tenant), events.Canonical(e.User.ID)
	if e.Tenant == "" {
		return &refusal{reasonTenant, errors.New("tenant: the record names none; bind its token or source to one tenant (of a file: --tenant)")}
	}
	if e.Kind.Internal() || e.Verdict != nil || e.Org != nil {
		return &refusal{reasonInvalid, fmt.Errorf("kind: is %.40q with a verdict or context, which only countersign itself concludes", e.Kind)}
	}
	if err := e.Validate(); err != nil {
		return &refusal{reasonInvalid, err}
	}
	if len(src.Tenants) > 0 && !slices.Contains(src.Tenants, e.Tenant) {
		return &refusal{reasonTenant, fmt.Errorf("tenant: is %q, for which this source may not write", e.Tenant)}
	}
	if src.Format == FormatEvent && !src.TrustedPlaces && p.reserved[e.Source.Family] {
		// Else its sender could take the place of a record that is still on its way.
		return &refusal{reasonFamily, fmt.Errorf("source.family: %q is that of records that countersign reads itself; leave it out, or use a name of your own", e.Source.Family)}
	}
	if err := p.timely(e.Time, now); err != nil {
		return &refusal{reasonTime, err}
	}
	e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	p.metrics.lag.Observe(float64(now-e.Time) / events.Second)
	return nil
}

// Prepare does to one event what an intake does before it publishes it: it is checked, stamped, named and enriched.
func (p *Pipeline) Prepare(src Source, e *events.Event) error {
	if err := p.check(&src, e); err != nil {
		return err.err
	}
	p.enrich(e, src.TrustedPlaces)
	return nil
}

// canonical brings configured tenants into the form that events have.
func canonical(tenants []string) []string {
	out := slices.Clone(tenants)
	for i := range out {
		out[i] = events.Canonical(out[i])
	}
	return out
}

// timely checks a record's time against the clock.
func (p *Pipeline) timely(at, now events.Millis) error {
	if skew := at - now; skew > events.Millis(p.cfg.MaxSkew.Milliseconds()) {
		return fmt.Errorf("time: %v is %v in the future, at most %v is allowed; check the sender's clock",
			at, time.Duration(skew)*time.Millisecond, p.cfg.MaxSkew)
	}
	if at < now-events.Millis(p.cfg.MaxAge.Milliseconds()) {
		return fmt.Errorf("time: %v is older than %v days", at, int(p.cfg.MaxAge.Hours()/24))
	}
	return nil
}
