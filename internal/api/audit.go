package api

import (
	"context"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

// Publisher writes records to the log; nil means that every in-sync replica has them.
type Publisher interface {
	Publish(ctx context.Context, topic string, records []stream.Record) error
}

// audit writes who reads or does what to the log, and returns nil when the log has it. It is called before the answer, and
// before an action is carried out: without its entry nobody reads a person's data and nothing is done. The caller sets
// Action, and of Tenant, Target, User and Detail what there is: without a Tenant it is that of a caller who has only one,
// else the entry belongs to the installation. Outcome is "done" unless it is set. An action that fails
// after its entry is written gets a second one, with the outcome "failed".
//
// The error is an answer: 503 with Retry-After.
func (a *API) audit(ctx context.Context, who *principal, e events.AuditEntry) error {
	if err := a.writeAudit(ctx, who, e); err != nil {
		a.metrics.unaudited.Inc()
		a.log.Warn("writing an audit entry", zap.String("action", e.Action), zap.Error(err))
		return unavailable(logAway, "The log is not available now, and nothing is shown or done that it cannot record. Ask again soon.")
	}
	return nil
}

// writeAudit completes an entry, writes it and waits for the log, but not for long.
func (a *API) writeAudit(ctx context.Context, who *principal, e events.AuditEntry) error {
	v := visitOf(ctx)
	if who != nil {
		e.Actor, e.Via = who.name, who.via
		switch {
		case e.Tenant != "" && !who.tenants.Allows(e.Tenant):
			// Nobody writes into the trail of a tenant that they may not see.
			e.Tenant, e.Detail = "", fmt.Sprintf("of the tenant %.80q; ", e.Tenant)+e.Detail
		case e.Tenant == "" && !who.tenants.All && len(who.tenants.Tenants) == 1:
			e.Tenant = who.tenants.Tenants[0]
		}
	}
	if e.Outcome == "" {
		e.Outcome = events.AuditDone
	}
	e.Request, e.Address, e.Time = v.request, v.address, now()
	e.Clean()
	e.ID = events.AuditID(&e)
	if err := e.Validate(); err != nil {
		return err
	}
	// A caller that leaves does not take its entry along.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.AuditWait)
	defer cancel()
	return a.deps.Publisher.Publish(ctx, events.TopicAudit, []stream.Record{{Key: []byte(e.Key()), Value: events.Encode(&e), Time: time.Now()}})
}

// forbidden refuses a request for want of something, such as a scope, and leaves a note in the trail. The error is an answer: 403.
func (a *API) forbidden(ctx context.Context, target, want string) error {
	a.note(ctx, events.AuditEntry{Action: "refused", Target: target, Detail: "without " + want, Outcome: events.AuditRefused})
	return huma.Error403Forbidden("This needs " + want + ", which you do not have.")
}

// maxNotes bounds the entries of refusals that are on their way.
const maxNotes = 64

// note writes an entry about a refusal. Nobody waits for it: a refusal stays one while the log is away, and then it is
// counted only.
func (a *API) note(ctx context.Context, e events.AuditEntry) {
	select {
	case a.notes <- struct{}{}:
	default:
		a.metrics.unaudited.Inc()
		return
	}
	who := caller(ctx)
	go func() {
		defer func() { <-a.notes }()
		if err := a.writeAudit(ctx, who, e); err != nil {
			a.metrics.unaudited.Inc()
			a.log.Warn("writing an audit entry", zap.String("action", e.Action), zap.Error(err))
		}
	}()
}
