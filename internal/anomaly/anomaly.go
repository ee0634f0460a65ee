// Package anomaly says what is unusual in an event, given what is remembered of its user: one file a family of
// detections, and the ladder of reasons for which a finding does not count.
//
// Everything is a pure function of the profile, the tenant's context and the event. Only successes teach what is usual. A
// finding that does not count is recorded with the reason, never dropped. [Detections] lists the catalogue, [Config] its
// parameters; docs/detections has a page for each, made of the comments here.
package anomaly

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/profile"
)

// codeVersion grows when any outcome for some input changes without a detection's own version telling.
const codeVersion = 3

// Catalogue evaluates events. It is immutable and safe for concurrent use.
type Catalogue struct {
	config      Config
	version     string
	allow, deny []netip.Prefix
	modes       map[*Detection]Mode
	parameters  map[*Detection][]events.Parameter
	model       familiarity.Model

	// Parts of the configuration in the unit of events.
	window, flipWindow, sameDevice       events.Millis
	countryTTL, deviceTTL, confirmAfter  events.Millis
	sessionTTL, learningPeriod, inactive events.Millis
}

// ms is a length of time in the unit of events.
func ms(d time.Duration) events.Millis { return events.Millis(d / time.Millisecond) }

// New makes a catalogue with the parameters given.
func New(config Config) (*Catalogue, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	c := &Catalogue{
		config: config, modes: map[*Detection]Mode{}, parameters: map[*Detection][]events.Parameter{},
		window: ms(config.Travel.Window), flipWindow: ms(config.Travel.FlipWindow), sameDevice: ms(config.Travel.SameDevice),
		countryTTL: ms(config.Novelty.CountryTTL), deviceTTL: ms(config.Novelty.DeviceTTL),
		confirmAfter: ms(config.Novelty.ConfirmAfter), model: familiarity.DefaultModel(), sessionTTL: ms(config.Session.TTL),
		learningPeriod: ms(config.Learning.Period), inactive: ms(config.Learning.Inactive),
	}
	c.allow, c.deny = masked(config.Allow.Prefixes), masked(config.Network.DenyPrefixes)
	parameters, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("writing the parameters: %w", err)
	}
	values := config.Parameters()
	fields := []string{"catalogue", string(parameters)}
	for _, d := range all {
		c.modes[d], c.parameters[d] = On, inForce(values, d.ID)
		if m, ok := config.Modes[d.ID]; ok {
			c.modes[d] = m
		}
		fields = append(fields, fmt.Sprint(d.ID, d.Version))
	}
	c.version = fmt.Sprintf("%d-%s", codeVersion, events.ID(fields...)[:12])
	return c, nil
}

// masked parses prefixes that Validate has seen.
func masked(texts []string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

// Version names code and parameters. It changes when the outcome for the same input may.
func (c *Catalogue) Version() string { return c.version }

// observation is one event under evaluation, with what is known before it.
type observation struct {
	c *Catalogue
	p *profile.Profile
	// org is the tenant's context; nil knows nothing.
	org *org.Context
	e   *events.Event
	id  profile.ID

	// Of successes only.
	at      profile.Point
	spot    *profile.Spot
	device  *profile.Device
	session uint64 // its key, or 0
	// begins is set when the event is the first of its session, or a person's own sign-in without one.
	begins   bool
	learning bool
	history  events.History
	before   events.Millis // when the user was last seen before, 0 when never

	// What is new of the user; newPlace is a place far from all that are known.
	country, deviceID, agent, network novelty
	app, appResource, grant           novelty
	newPlace                          bool
	farKm                             float64 // how far a place is from all that are known, 0 for one that is near
	// moved and jumped tell where the same device was within the hour before; see follow.
	moved, jumped bool

	findings []events.Finding
	score    familiarity.Score
	scored   bool
	class    string // of login frequency
}

// Result is what one event led to.
type Result struct {
	// Findings are by detection id.
	Findings []events.Finding
	// Risk is the user's accumulated risk after the event, in decibans.
	Risk float64
	// Score is the familiarity score of a login that has one; see FAM-01.
	Score  float64
	Scored bool
	// Sighting is what the network stage has to know, nil when nothing. Its place on the log is for the caller to add.
	Sighting *events.Sighting
}

// Evaluate looks at one event of a user in a tenant, of which context may be nil, and teaches it to the profile. Only
// successes teach what is usual. An event the profile remembers changes nothing.
func (c *Catalogue) Evaluate(p *profile.Profile, context *org.Context, e *events.Event) Result {
	o := observation{c: c, p: p, org: context, e: e, id: profile.IDOf(e.ID)}
	if !p.Remember(o.id) || c.backend(e) {
		return Result{Risk: o.riskNow()}
	}
	o.history = events.History{FirstSeen: p.FirstSeen, Successes: int(p.Successes)}
	switch e.Kind {
	case events.NetworkVerdict:
		o.judgeVerdict()
	case events.RiskReport:
		o.judgeVendor()
	case events.AccountChange:
		o.judgeChange()
	case events.SignOut:
		o.endSessions()
	case events.SignIn, events.SessionUse:
		switch {
		case e.User.Type == events.Workload:
			o.judgeWorkload()
		case success(e):
			o.judgeSuccess()
		default:
			o.judgeFailure()
		}
	case events.TenantContext, events.Erasure:
	}
	o.judgeRisk()
	o.remember()
	slices.SortStableFunc(o.findings, func(a, b events.Finding) int { return cmp.Compare(a.Detection, b.Detection) })
	return Result{Findings: o.findings, Risk: o.riskNow(), Score: o.score.Value, Scored: o.scored, Sighting: o.sighting()}
}

// judgeSuccess looks at a sign-in that succeeded, or at the use of a session.
func (o *observation) judgeSuccess() {
	c, p, e := o.c, o.p, o.e
	tooLate := p.Successes > 0 && e.Time < p.LastSeen-c.window
	o.before = p.LastSeen
	p.Count(e.Time, c.inactive)

	o.session = profile.SessionKey(e.Session.ID)
	o.at = p.Observe(o.onHub(), o.id, c.conflict(e))
	o.spot, o.device = p.Spot(&o.at), p.Device(&o.at)
	o.begins = e.Kind == events.SignIn && e.Interactive != events.No
	if o.session != 0 {
		o.begins = p.Session(o.session) == nil
	}
	before := p.Successes - 1
	o.learning = p.Hours.Total(e.Time) < float64(c.config.Learning.Logins) && e.Time-p.FirstSeen < c.learningPeriod
	o.history = events.History{FirstSeen: p.FirstSeen, Successes: int(before)}

	o.recognise()
	o.follow()
	if tooLate {
		p.Late++
		o.learn(true) // unconfirmed: nothing tested it
		return
	}
	o.farPlace()
	// The session first: what it shows corroborates the place.
	o.judgeSession()
	o.judgeNovelty()
	o.judgePlace()
	o.judgeNetwork()
	o.judgeDevice()
	o.judgeCredential()
	o.judgeMFA()
	o.judgeOAuth()
	o.judgeAiTM()
	o.judgeTiming()
	o.judgeFamiliarity()
	o.judgeVendor()
	o.judgePrivilege()
	o.learn(o.adverse())
}

// onHub is the event, as one of a mobile network when the organisation has learned that the network moves its users about.
func (o *observation) onHub() *events.Event {
	if !o.org.Hub(o.e.Network.ASN) || o.e.Network.Is(events.Mobile) {
		return o.e
	}
	e := *o.e
	e.Network.Classes = append(slices.Clone(e.Network.Classes), events.Mobile)
	return &e
}

// login tells a person's own sign-in that succeeded, other than the silent renewal of one.
func (o *observation) login() bool {
	return o.e.Kind == events.SignIn && o.e.Interactive != events.No && success(o.e)
}

// success tells an event that proves a person's presence: a sign-in that succeeded, or the use of a session.
func success(e *events.Event) bool {
	switch e.Kind { //nolint:exhaustive // a sign-out proves nothing
	case events.SignIn:
		return e.Outcome == events.Success
	case events.SessionUse:
		return e.Outcome == events.Success || e.Outcome == ""
	}
	return false
}

// backend tells a token redeemed by the provider's own servers. Its customers' servers are in the same networks: what a thief's
// tool calls itself is none.
func (c *Catalogue) backend(e *events.Event) bool {
	return e.Interactive == events.No && e.Device.ID == "" && e.Device.OS == "" && slices.Contains(c.config.BackendASNs, e.Network.ASN) &&
		c.script(e) == ""
}

// adverse tells whether the event raised a finding that must keep its terms from being trusted.
func (o *observation) adverse() bool {
	return slices.ContainsFunc(o.findings, adverse)
}

func adverse(f events.Finding) bool {
	return f.Disposition == events.Active && f.Severity.Rank() >= events.Medium.Rank()
}

// sight shows a point as evidence, the event itself in full.
func (o *observation) sight(pt *profile.Point) events.Sight {
	if pt == &o.at {
		return events.SightOf(o.e)
	}
	return o.p.Sight(pt)
}

// report adds a finding. Its id rests on the event and the anchors in sorted order, so that it is the same whatever the
// order in which they came.
func (o *observation) report(d *Detection, l *ladder, summary string, evidence events.Evidence, anchors ...*profile.Point) {
	e, mode := o.e, o.c.modes[d]
	if mode == Off {
		return
	}
	f := events.Finding{
		Detection: d.ID, Version: d.Version, Title: d.Title, Summary: summary, Tenant: e.Tenant, User: e.User, EventID: e.ID,
		Time: e.Time, Ingested: e.Ingested, Severity: l.severity, Disposition: l.disposition(), Technique: d.Technique,
		Evidence: evidence, Suppressions: l.considered, Parameters: o.c.parameters[d],
	}
	if mode == Observe && f.Disposition == events.Active {
		f.Disposition = events.Observed
	}
	ids := []string{o.id.String()}
	for _, a := range anchors {
		f.Anchors = append(f.Anchors, a.Event.String())
	}
	ids = append(ids, f.Anchors...)
	slices.Sort(ids)
	f.ID = events.FindingID(d.ID, d.Version, e.Tenant, e.User.ID, ids[0], ids[1:]...)
	history := o.history
	f.Evidence.Sight, f.Evidence.History = events.SightOf(e), &history
	f.Evidence.Conflict = o.spot != nil && o.spot.Conflict
	o.findings = append(o.findings, f)
}
