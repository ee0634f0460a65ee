// Package anomaly says what is unusual in an event, given what is remembered of its user: one file a family of
// detections, and the ladder of reasons for which a finding does not count.
//
// Everything is a pure function of the profile and the event. Only successes are looked at, and only successes teach. A
// finding that does not count is recorded with the reason, never dropped.
package anomaly

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/profile"
)

// codeVersion grows when any outcome for some input changes without a detection's own version telling.
const codeVersion = 1

// Catalogue evaluates events. It is immutable and safe for concurrent use.
type Catalogue struct {
	config   Config
	version  string
	prefixes []netip.Prefix

	// The configuration in the unit of events.
	window, flipWindow, sameDevice           events.Millis
	countryTTL, deviceTTL, confirmAfter      events.Millis
	sessionTTL, learningPeriod, inactive     events.Millis
	travel01, flip03, country04, conjunction detection
	session01, session02                     detection
}

// detection is one entry of the catalogue.
type detection struct {
	id, title, technique string
	version              int
	parameters           []events.Parameter
}

// New makes a catalogue with the parameters given.
func New(config Config) (*Catalogue, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	c := &Catalogue{config: config}
	for _, text := range config.Allow.Prefixes {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("allow.prefixes: %w", err)
		}
		c.prefixes = append(c.prefixes, prefix.Masked())
	}
	c.window, c.flipWindow = events.Millis(config.Travel.Window.Milliseconds()), events.Millis(config.Travel.FlipWindow.Milliseconds())
	c.sameDevice, c.sessionTTL = events.Millis(config.Travel.SameDevice.Milliseconds()), events.Millis(config.Session.TTL.Milliseconds())
	c.countryTTL, c.deviceTTL = events.Millis(config.Novelty.CountryTTL.Milliseconds()), events.Millis(config.Novelty.DeviceTTL.Milliseconds())
	c.confirmAfter = events.Millis(config.Novelty.ConfirmAfter.Milliseconds())
	c.learningPeriod, c.inactive = events.Millis(config.Learning.Period.Milliseconds()), events.Millis(config.Learning.Inactive.Milliseconds())
	c.describe()

	parameters, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("writing the parameters: %w", err)
	}
	fields := []string{"catalogue", string(parameters)}
	for _, d := range c.detections() {
		fields = append(fields, fmt.Sprint(d.id, d.version))
	}
	c.version = fmt.Sprintf("%d-%s", codeVersion, events.ID(fields...)[:12])
	return c, nil
}

// Version names code and parameters. It changes when the outcome for the same input may.
func (c *Catalogue) Version() string { return c.version }

func (c *Catalogue) detections() []*detection {
	return []*detection{&c.travel01, &c.flip03, &c.country04, &c.conjunction, &c.session01, &c.session02}
}

func (c *Catalogue) describe() {
	hours := func(name string, t events.Millis) events.Parameter {
		return events.Parameter{Name: name, Value: float64(t) / events.Hour, Unit: "h"}
	}
	t, place := &c.config.Travel, &c.config.Place
	travel := []events.Parameter{
		{Name: "min_km", Value: t.MinKm, Unit: "km"},
		{Name: "min_fixed_line_km", Value: t.MinFixedLineKm, Unit: "km"},
		{Name: "medium_kmh", Value: t.MediumKmh, Unit: "km/h"},
		{Name: "high_kmh", Value: t.HighKmh, Unit: "km/h"},
		{Name: "city_radius_km", Value: place.CityRadiusKm, Unit: "km"},
		{Name: "mobile_radius_km", Value: place.MobileRadiusKm, Unit: "km"},
		hours("window", c.window),
	}
	country := hours("country_ttl", c.countryTTL)
	c.travel01 = detection{"LOC-01", "Impossible travel", "T1078.004", 1, travel}
	c.flip03 = detection{"LOC-03", "There and back too soon", "T1539", 1, []events.Parameter{
		{Name: "min_km", Value: t.MinKm, Unit: "km"}, hours("flip_window", c.flipWindow),
	}}
	c.country04 = detection{"LOC-04", "New country", "T1078.004", 1, []events.Parameter{country}}
	c.conjunction = detection{"CONJ-01", "New country and new device", "T1078.004", 1, []events.Parameter{
		country, hours("device_ttl", c.deviceTTL),
	}}
	c.session01 = detection{"SES-01", "Session used from a second network and device", "T1539", 1, []events.Parameter{
		hours("session_ttl", c.sessionTTL),
	}}
	c.session02 = detection{"SES-02", "Session moves at impossible speed", "T1550.004", 1, travel}
}

// observation is one event under evaluation, with what is known before it.
type observation struct {
	c *Catalogue
	p *profile.Profile
	// org is the tenant's context; nil knows nothing.
	org *org.Context
	e   *events.Event

	at      profile.Point
	spot    *profile.Spot
	device  *profile.Device
	session uint64 // its key, or 0
	// begins is set when the event is the first of its session, or a person's own sign-in without one.
	begins   bool
	learning bool
	history  events.History

	// What is new of the user; network is learnt and not yet reported by itself.
	country, deviceID, agent, network novelty

	findings []events.Finding
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

// Evaluate looks at one event of a user in a tenant, of which context may be nil, and teaches it to the profile. An event
// the profile remembers, one that is no success, and one of a program change nothing.
func (c *Catalogue) Evaluate(p *profile.Profile, context *org.Context, e *events.Event) Result {
	if !success(e) {
		return Result{}
	}
	id := profile.IDOf(e.ID)
	if !p.Remember(id) || c.backend(e) {
		return Result{}
	}
	tooLate := p.Successes > 0 && e.Time < p.LastSeen-c.window
	p.Count(e.Time, c.inactive)

	o := observation{c: c, p: p, org: context, e: e, session: profile.SessionKey(e.Session.ID)}
	o.at = p.Observe(e, id, c.conflict(e))
	o.spot, o.device = p.Spot(&o.at), p.Device(&o.at)
	o.begins = e.Kind == events.SignIn && e.Interactive != events.No
	if o.session != 0 {
		o.begins = p.Session(o.session) == nil
	}
	before := p.Successes - 1
	o.learning = before < c.config.Learning.Successes && e.Time-p.FirstSeen < c.learningPeriod
	o.history = events.History{FirstSeen: p.FirstSeen, Successes: int(before)}

	o.recognise()
	if tooLate {
		p.Late++
		o.learn(true) // unconfirmed: nothing tested it
		return Result{}
	}
	// The session first: what it shows corroborates the place.
	if o.session != 0 {
		o.judgeSession()
	}
	o.judgeNovelty()
	o.judgePlace()
	o.learn(o.adverse())
	slices.SortStableFunc(o.findings, func(a, b events.Finding) int { return cmp.Compare(a.Detection, b.Detection) })
	return Result{Findings: o.findings}
}

// success tells an event that proves a person's presence: a sign-in that succeeded, or the use of a session.
func success(e *events.Event) bool {
	if e.User.Type == events.Workload {
		return false // programs have no home, no journey and no second factor
	}
	switch e.Kind { //nolint:exhaustive // a sign-out proves nothing
	case events.SignIn:
		return e.Outcome == events.Success
	case events.SessionUse:
		return e.Outcome == events.Success || e.Outcome == ""
	}
	return false
}

// backend tells a token redeemed by the provider's own servers.
func (c *Catalogue) backend(e *events.Event) bool {
	return e.Interactive == events.No && e.Device.ID == "" && e.Device.OS == "" && slices.Contains(c.config.BackendASNs, e.Network.ASN)
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
func (o *observation) report(d *detection, l *ladder, summary string, evidence events.Evidence, anchors ...*profile.Point) {
	e := o.e
	f := events.Finding{
		Detection: d.id, Version: d.version, Title: d.title, Summary: summary, Tenant: e.Tenant, User: e.User, EventID: e.ID,
		Time: e.Time, Ingested: e.Ingested, Severity: l.severity, Disposition: l.disposition(), Technique: d.technique,
		Evidence: evidence, Suppressions: l.considered, Parameters: d.parameters,
	}
	ids := []string{o.at.Event.String()}
	for _, a := range anchors {
		f.Anchors = append(f.Anchors, a.Event.String())
	}
	ids = append(ids, f.Anchors...)
	slices.Sort(ids)
	f.ID = events.FindingID(d.id, d.version, e.Tenant, e.User.ID, ids[0], ids[1:]...)
	history := o.history
	f.Evidence.Sight, f.Evidence.History, f.Evidence.Conflict = events.SightOf(e), &history, o.spot.Conflict
	o.findings = append(o.findings, f)
}
