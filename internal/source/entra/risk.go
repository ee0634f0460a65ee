package entra

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// signInRisk is the risk that a sign-in was given.
func (r *record) signInRisk() events.Risk {
	risk := events.Risk{
		Level: riskLevel(r.risk.levelDuringSignIn), User: riskLevel(r.risk.levelAggregated), State: riskState(r.risk.state),
		Detections: r.risk.detections, Detail: r.risk.detail,
	}
	if len(risk.Detections) == 0 {
		risk.Detections = r.risk.olderDetections
	}
	return risk
}

// report makes the event of a risk that was seen, or of a user's risk altogether. Reports are revised: the same id comes
// again with another state and a later time, and each of them is an event.
func (r *record) report(e *events.Event, altogether bool) error {
	var p problems
	e.Kind, e.Emitted = events.RiskReport, r.emittedAt()
	id := strings.ToLower(string(r.id))
	if id == "" {
		p.missing("id")
	}
	if altogether {
		e.Time = p.moment("riskLastUpdatedDateTime", r.risk.userUpdated, true)
		e.Risk = events.Risk{User: riskLevel(r.risk.level), State: riskState(r.risk.state), Detail: r.risk.detail}
	} else {
		e.Time = r.revised(&p)
		e.Risk = events.Risk{
			Level: riskLevel(r.risk.level), State: riskState(r.risk.state), Detail: r.risk.detail,
			SignIn: bounded(strings.ToLower(r.risk.request)), Happened: p.moment("activityDateTime", r.activity, false),
		}
		if r.risk.detection != "" {
			e.Risk.Detections = []string{r.risk.detection}
		}
	}
	e.Source.ID = bounded(id + "@" + strconv.FormatInt(int64(e.Time), 10))
	r.atRisk(e, id, altogether, &p)
	if err := p.err(); err != nil {
		return err
	}
	if e.Risk.Level == "" && e.Risk.User == "" && e.Risk.State == "" {
		return &foreign.Skipped{Reason: "hidden", Category: e.Source.Category} // all that a tenant without the licence gets
	}
	e.User.HomeTenant, e.UserAgent = r.guestOf(e.Tenant), r.userAgent
	e.Correlation = bounded(strings.ToLower(r.correlation)) // that around the record is of the report
	if altogether {
		return nil // the address and place are nobody's
	}
	if strings.HasPrefix(e.Source.Category, "ServicePrincipal") {
		e.App = events.Ref{ID: bounded(r.appID)}
	}
	r.where(e)
	return nil
}

// revised is when a report was written or last revised.
func (r *record) revised(p *problems) events.Millis {
	for _, at := range [...]struct {
		field string
		text  []byte
	}{
		{"lastUpdatedDateTime", r.risk.updated}, {"detectedDateTime", r.risk.detected}, {"activityDateTime", r.activity},
	} {
		if len(known(at.text)) > 0 {
			return p.moment(at.field, at.text, true)
		}
	}
	p.missing("lastUpdatedDateTime")
	return 0
}

// atRisk sets whose risk it is.
func (r *record) atRisk(e *events.Event, id string, altogether bool, p *problems) {
	if strings.Contains(e.Source.Category, "ServicePrincipal") {
		e.User = events.User{ID: r.program, Type: events.Workload, Name: cmp.Or(r.programName, r.displayName)}
	} else {
		e.User = events.User{ID: r.user, Name: cmp.Or(r.upn, r.displayName)}
	}
	if altogether && e.User.ID == "" {
		e.User.ID = id
	}
	if e.User.ID = bounded(strings.ToLower(e.User.ID)); e.User.ID == "" {
		p.missing("userId")
	}
}

// riskLevel reads a level. "hidden" is what a tenant without the licence sees: unknown, not none.
func riskLevel(text []byte) events.RiskLevel {
	for _, level := range events.RiskLevels {
		if fold(text, string(level)) {
			return level
		}
	}
	return ""
}

// riskState reads a state of a risk.
func riskState(text []byte) events.RiskState {
	for _, s := range riskStates {
		if fold(text, s.name) {
			return s.state
		}
	}
	return ""
}

var riskStates = []struct {
	name  string
	state events.RiskState
}{
	{"none", events.RiskNotReported},
	{"atrisk", events.RiskOpen},
	{"confirmedcompromised", events.RiskConfirmed},
	{"confirmedsafe", events.RiskSafe},
	{"remediated", events.RiskRemediated},
	{"dismissed", events.RiskDismissed},
}
