package history

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/report"
)

// Alerts is a block of rows for the table of alerts.
type Alerts struct {
	Block
	tenant, id, kind, severity, userID, raw *values[string]
	version                                 *values[uint64]
	logged, since, opened, closed           *values[int64]
}

// NewAlerts returns an empty block for alerts.
func NewAlerts() *Alerts {
	b := &builder{layout: &layout{}}
	a := &Alerts{
		tenant: b.text("tenant"), id: b.hash("id"), version: declare[uint64](b, "version", "UInt64"), logged: b.moment("logged"),
		kind: b.text("kind"), severity: b.text("severity"), userID: b.text("user_id"), since: b.moment("since"), opened: b.moment("opened"),
		closed: b.moment("closed"), raw: b.text("raw"),
	}
	a.Block = b.done(TableAlerts)
	return a
}

// Append adds an incident as it is now, but for the names of some of its users, which nobody asks the history for and no erasure
// would find. logged and offset say when and where it entered the log, which has one partition: of an incident's rows the last
// one holds. See [Events.Append].
func (b *Alerts) Append(i *incident.Incident, logged time.Time, offset int64) error {
	id, err := hash("id", i.ID)
	if err != nil {
		return err
	}
	if err := moments("since", i.Since, "closed", i.Closed); err != nil {
		return err
	}
	if err := moments("opened", i.Opened, "", 0); err != nil {
		return err
	}
	if !events.ValidTenant(i.Tenant) {
		return fmt.Errorf("tenant: is %.80q, which is no tenant", i.Tenant)
	}
	kept := *i
	kept.Sample = nil
	raw, err := json.Marshal(&kept)
	if err != nil {
		return fmt.Errorf("writing an incident: %w", err)
	}
	const offsetBits = 20
	b.tenant.add(i.Tenant)
	b.id.add(id)
	b.version.add(uint64(logged.UnixMilli())<<offsetBits | uint64(offset)&(1<<offsetBits-1))
	b.logged.add(logged.UnixMilli())
	b.kind.add(string(i.Kind))
	b.severity.add(string(i.Severity))
	b.userID.add(i.User)
	b.since.add(int64(i.Since))
	b.opened.add(int64(i.Opened))
	b.closed.add(int64(i.Closed))
	b.raw.add(string(raw))
	b.rows++
	return nil
}

// Alerts answers with one page of incidents by when they were opened, newest first.
func (s *Store) Alerts(ctx context.Context, q report.AlertQuery) (report.AlertPage, error) {
	where := within(q.Scope).during("opened", q.Span).equal("kind", "kind", string(q.Kind)).equal("user_id", "user", q.User).
		after("opened", hexID, q.After)
	if len(q.Severity) > 0 {
		severities := make([]string, len(q.Severity))
		for i, v := range q.Severity {
			severities[i] = string(v)
		}
		where.and("severity IN {severities:Array(String)}", named("severities", severities))
	}
	switch q.State {
	case "open":
		where.and("closed = toDateTime64(0, 3, 'UTC')")
	case "closed":
		where.and("closed > toDateTime64(0, 3, 'UTC')")
	}
	list, err := s.records(ctx, `SELECT toUnixTimestamp64Milli(opened), `+hexID+`, raw
FROM ${database}.alerts FINAL
WHERE `+where.String()+`
ORDER BY opened DESC, id DESC
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(q.Limit+1))))
	if err != nil {
		return report.AlertPage{}, err
	}
	list, next := page(list, q.Limit, stored.place)
	answer := report.AlertPage{Next: next, Alerts: make([]report.Alert, len(list))}
	for n, r := range list {
		var i incident.Incident
		if err := json.Unmarshal(r.raw, &i); err != nil {
			return report.AlertPage{}, fmt.Errorf("reading an incident of the history: %w", err)
		}
		answer.Alerts[n] = report.AlertOf(&i)
	}
	return answer, nil
}
