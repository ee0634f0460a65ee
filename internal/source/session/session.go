// Package session decodes what applications report of the use of their sessions: the SDK's stepup.Observe, or any
// program that posts the same JSON. A report is small and says only what an application knows; a busy application sends
// one a session and minute, and one at once when address or user agent changed.
package session

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// Family is the identity space of reports.
const Family = "session"

// maxValue is the largest report, in bytes.
const maxValue = 16 << 10

// Reports decodes reports: one object, or an array of them. schemas/session.v1.json describes them.
func Reports() *foreign.Format { return &foreign.Format{Max: maxValue, Record: decode} }

// report is one report; every text is "" when it did not say.
type report struct {
	id, session, tenant, user, ip, agent, app, outcome string
	moment                                             string
}

func decode(record []byte, emit foreign.Emit) {
	var r report
	l := &jlexer.Lexer{Data: record}
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "id":
			r.id = foreign.Text(l)
		case "session":
			r.session = foreign.Text(l)
		case "tenant":
			r.tenant = foreign.Text(l)
		case "user":
			r.user = foreign.Text(l)
		case "ip":
			r.ip = foreign.Text(l)
		case "user_agent":
			r.agent = foreign.Text(l)
		case "app":
			r.app = foreign.Text(l)
		case "outcome":
			r.outcome = foreign.Text(l)
		case "time":
			r.moment = foreign.Text(l)
		default:
			l.SkipRecursive()
		}
	})
	if l.Consumed(); l.Error() != nil {
		emit(record, nil, foreign.Broken(l))
		return
	}
	e, err := r.event()
	emit(record, e, err)
}

// minute is the time within which equal reports without an id are one.
const minute = events.Millis(60_000)

func (r *report) event() (*events.Event, error) {
	var problems []error
	for _, must := range []struct{ name, text string }{{"session", r.session}, {"user", r.user}, {"time", r.moment}} {
		if must.text == "" {
			problems = append(problems, fmt.Errorf("%s: is missing", must.name))
		}
	}
	at, err := foreign.Time(r.moment)
	if err != nil {
		problems = append(problems, fmt.Errorf("time: %w", err))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if r.id == "" {
		// Programs that report every request, without counting, are sampled here: repeats have one id.
		r.id = events.ID("session_use", r.app, r.session, r.user, r.ip, r.agent, strconv.FormatInt(int64(at/minute), 10))
	}
	e := &events.Event{
		Kind: events.SessionUse, Tenant: r.tenant, User: events.User{ID: r.user}, Time: at,
		Source:  events.Source{Family: Family, ID: r.id},
		Outcome: events.Outcome(r.outcome),
		App:     events.Ref{ID: r.app}, Session: events.Session{ID: r.session}, UserAgent: r.agent,
	}
	e.IP, e.AddressText = foreign.Address(r.ip)
	return e, nil
}
