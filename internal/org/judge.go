package org

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// The detections of the network stage.
const (
	crd03 = "CRD-03" // password spray from one source
	crd04 = "CRD-04" // distributed spray
	crd05 = "CRD-05" // credential stuffing
	crd07 = "CRD-07" // user enumeration
	crd08 = "CRD-08" // lockout storm
	net05 = "NET-05" // success from a source of failures
	dev03 = "DEV-03" // one device, many users
)

// attempt is a sign-in that failed for want of a right name and password, from a source that is not the user's own.
type attempt struct {
	*events.Sighting
	t           events.Millis
	hash, print uint64 // of the user, of the fingerprint
}

// guess tells a failure that a spray is made of. A device that goes on with an old password is none.
func guess(m *events.Sighting) bool {
	return m.Kind == events.SignIn && m.Outcome != events.Success && !m.Familiar &&
		(m.Cause == events.BadPassword || m.Cause == events.UnknownUser)
}

// sourcesOf calls do for every source of a sighting, narrowest first.
func (s *State) sourcesOf(m *events.Sighting, do func(scope scope, key []byte)) {
	if m.IP != "" {
		do(scopeIP, append(s.scratch[:0], m.IP...))
	}
	if m.Network.Prefix != "" {
		do(scopePrefix, append(s.scratch[:0], m.Network.Prefix...))
	}
	if m.Network.ASN != 0 {
		do(scopeASN, strconv.AppendUint(s.scratch[:0], uint64(m.Network.ASN), 10))
	}
	if m.Agent != "" {
		do(scopeAgent, append(s.scratch[:0], m.Agent...))
	}
}

// source looks a source up by its name; nil when it has not failed anybody for a day.
func (s *State) source(name []byte) *node[*source] {
	n, ok := s.sources.get(name)
	if !ok || n.value.last < s.head.now-events.Day {
		return nil
	}
	return n
}

// blame is the source of a failure, made when it is new.
func (s *State) blame(scope scope, key []byte, m *events.Sighting, t events.Millis) *node[*source] {
	text := sourceName(s.name[:0], scope, key)
	if n := s.source(text); n != nil {
		s.sources.use(n)
		return n
	}
	name := string(text)
	if old := s.sources.nodes[name]; old != nil {
		s.forgetSource(old)
	}
	for range maxForgotten {
		n := s.sources.oldest
		if n == nil || len(s.sources.nodes) < s.config.Sources && n.value.last >= s.head.now-events.Day {
			break
		}
		s.forgetSource(n)
	}
	c := newSource(scope, string(key), t)
	if scope == scopeAgent {
		c.label = strings.TrimSpace(m.Device.OS + " " + m.Device.Browser)
		c.label = c.label[:min(len(c.label), maxLabel)]
	}
	return s.sources.put(name, c)
}

func (s *State) forgetSource(n *node[*source]) {
	s.sources.remove(n)
	s.forget(n.value)
}

// judgeAttempt counts a failure for its sources and judges each, narrowest first, until one answers for it.
func (s *State) judgeAttempt(a *attempt) {
	answered := false
	calm := s.jump(a.Sighting)
	s.sourcesOf(a.Sighting, func(scope scope, key []byte) {
		c := s.blame(scope, key, a.Sighting, a.t).value
		c.failed(a.t, a, answered)
		s.stamp(c)
		switch {
		case answered:
		case scope <= scopePrefix:
			answered = s.judgeSource(c, a, calm)
		default:
			answered = s.judgeSource(c, a, 0)
		}
	})
	s.doubt(a.Network.Prefix)
	if answered {
		return // baselines do not learn from incidents
	}
	if n := s.egress.nodes[a.Network.Prefix]; n != nil && s.own(a.Network.Prefix) {
		n.value.attempt(a.t, true)
		s.egress.use(n)
		s.stamp(n.value)
	}
	s.judgeSeason(a)
}

// doubt makes a prefix that may become the organisation's own begin anew when more users fail there than get in.
func (s *State) doubt(prefix string) {
	n := s.egress.nodes[prefix]
	if n == nil || s.own(prefix) {
		return
	}
	source := s.source(sourceName(s.name[:0], scopePrefix, prefix))
	if source == nil {
		return
	}
	if failing, passing := source.value.day(); failing >= s.config.BadRatio.Users && failing > passing && n.value.reset() {
		s.stamp(n.value)
	}
}

// jump is the failure ratio from which the organisation's own prefix counts as attacking, 0 for any other prefix.
func (s *State) jump(m *events.Sighting) float64 {
	prefix := m.Network.Prefix
	if prefix == "" || !s.own(prefix) {
		return 0
	}
	ratio := leastRatio
	if n := s.egress.nodes[prefix]; n != nil {
		ratio = n.value.ratio()
	}
	return float64(s.config.Egress.Jump * ratio)
}

// judgeSource is CRD-03, CRD-05 and CRD-07 of one source. calm is the failure ratio that the source may have whatever its
// counts, 0 when it is nobody's own. It tells whether an incident of the source answers for the attempt.
func (s *State) judgeSource(c *source, a *attempt, calm float64) bool {
	if c.open == 0 && union(&c.parts[0].failing, &c.parts[1].failing) < min(s.config.Spray.Users, s.config.Stuffing.Users, s.config.Enumeration.Names) {
		return false
	}
	w := c.window(s.config.Spray.Tries)
	hostile := w.users > w.passing
	if calm > 0 {
		hostile = s.prefixRatio(a.Network.Prefix) >= calm
	}
	twice := 0
	if len(w.histogram) > 1 {
		twice = w.histogram[0] + w.histogram[1]
	}
	answered, opens := false, c.open == 0
	for i, d := range [...]struct {
		id       string
		severity events.Severity
		met      bool
	}{
		{crd03, events.Medium, hostile && w.few >= s.config.Spray.Users},
		{crd05, events.Medium, hostile && twice >= s.config.Stuffing.Users && float64(w.once) >= float64(s.config.Stuffing.Once*float64(w.users))},
		{crd07, events.Low, hostile && w.unknown >= s.config.Enumeration.Names && w.nobody >= s.config.Enumeration.Names},
	} {
		if !d.met && c.open&(1<<i) == 0 {
			continue
		}
		on := c.name()
		var incident *incident
		if d.met {
			incident = s.warrant(d.id, on, a.t, a.EventID)
			c.open |= 1 << i
		} else if incident = s.incident(d.id, on, a.t); incident == nil {
			c.open &^= 1 << i
			continue
		}
		answered = true
		s.tellSource(incident, c, a, events.Verdict{
			Detection: d.id, Severity: d.severity, Incident: incident.id, Source: c.text(), Users: w.users, Tries: w.tries,
			Succeeded: w.passing, From: c.began - generation10, To: a.t, Histogram: w.histogram,
		})
	}
	if answered && opens {
		s.explain(c, a)
	}
	return answered
}

// prefixRatio is the share of attempts from a prefix that failed during the last two generations.
func (s *State) prefixRatio(prefix string) float64 {
	n := s.source(sourceName(s.name[:0], scopePrefix, prefix))
	if n == nil {
		return 1
	}
	c := n.value
	failed, all := uint64(0), uint64(0)
	for i := range c.parts {
		failed += uint64(c.parts[i].failed)
		all += uint64(c.parts[i].failed) + uint64(c.parts[i].passed)
	}
	if all == 0 {
		return 1
	}
	return float64(failed) / float64(all)
}

// tellSource tells the users of an incident: those of the sample, and who was tried just now. Of names that belong to
// nobody only the one that gave the incident away is told.
func (s *State) tellSource(i *incident, c *source, a *attempt, verdict events.Verdict) {
	for k := range c.sample {
		if u := c.sample[k].user; u != "" && len(verdict.Sample) < exactUsers {
			verdict.Sample = append(verdict.Sample, u)
		}
	}
	for k := range c.sample {
		u := &c.sample[k]
		if u.user == "" || u.unresolved || u.hash == a.hash || !s.once(i, u.hash) {
			continue
		}
		s.tell(u.user, false, verdict)
	}
	if (!a.Unresolved || i.untold()) && s.once(i, a.hash) {
		verdict.EventID = a.EventID
		s.tell(a.User, a.Unresolved, verdict)
	}
}

// explain takes the users whom an incident of a source answers for out of the wider sources: all that it has counted when
// the incident begins. Later ones are not counted there at all.
func (s *State) explain(narrow *source, a *attempt) {
	users := uint32(union(&narrow.parts[0].failing, &narrow.parts[1].failing))
	s.sourcesOf(a.Sighting, func(scope scope, key []byte) {
		if n := s.source(sourceName(s.name[:0], scope, key)); n != nil && scope > narrow.scope {
			n.value.parts[0].explained += users
			s.change(n.value)
		}
	})
}

// judgeSuccess is NET-05, and tells the sources that somebody got in.
func (s *State) judgeSuccess(m *events.Sighting, t events.Millis, h uint64) {
	told := false
	s.sourcesOf(m, func(scope scope, key []byte) {
		n := s.source(sourceName(s.name[:0], scope, key))
		if n == nil {
			return
		}
		c := n.value
		if c.passed(t, h) {
			s.sources.use(n)
			s.stamp(c)
		}
		if told || scope > scopePrefix || m.Familiar || s.own(m.Network.Prefix) {
			return
		}
		failing, passing := c.day()
		if failing < s.config.BadRatio.Users || failing <= passing {
			return
		}
		told = true
		i := s.warrant(net05, c.name(), t, m.EventID)
		if s.once(i, h) {
			s.tell(m.User, m.Unresolved, events.Verdict{
				Detection: net05, Severity: events.High, Incident: i.id, Source: c.text(), EventID: m.EventID, Users: failing,
				Succeeded: passing, From: t - events.Day, To: t,
			})
		}
	})
}

// fingerprint is what the attempts of one tool share: operating system, browser, application and grant.
func fingerprint(m *events.Sighting) uint64 {
	h := uint64(fnvOffset)
	for _, text := range [...]string{m.Device.OS, m.Device.Browser, m.App.ID, m.Protocol} {
		h = fnv(fnv(h, text), "\x00")
	}
	return mix(h)
}

const maxFingerprint = 160

// fingerprintText shows a fingerprint.
func fingerprintText(m *events.Sighting) string {
	app := m.App.Name
	if app == "" {
		app = m.App.ID
	}
	var parts []string
	for _, text := range []string{m.Device.OS, m.Device.Browser, app, m.Protocol} {
		if text != "" {
			parts = append(parts, text[:min(len(text), maxFingerprint/4-1)])
		}
	}
	return strings.ToValidUTF8(strings.Join(parts, " "), "")
}

// judgeSeason is CRD-04: more users fail than usual at this hour of the week, or on this day of it.
func (s *State) judgeSeason(a *attempt) {
	if len(a.User) <= maxUser {
		s.recent.failed = remember(s.recent.failed, recently{a.t, a.User, a.Unresolved, a.print, a.EventID})
		s.change(&s.recent)
	}
	for _, p := range [...]*span{&s.quarter, &s.day} {
		if a.t < p.began {
			continue // it is over
		}
		if p.failing.add(a.hash, large) {
			s.change(p)
		}
		q := p.print(a.print)
		if q.users.add(a.hash, small) {
			s.change(p)
		}
		s.judgeSpan(p, a, q)
	}
}

// baseline is what is expected of a number of users.
type baseline struct{ mean, deviation float64 }

func (b baseline) z(users int) float64 { return (float64(users) - b.mean) / b.deviation }

// expected is the baseline of a span.
func (s *State) expected(p *span) baseline {
	unlearned := s.config.Season.Unlearned
	var mean, variance float64
	if p == &s.day {
		mean, variance = s.season.days[dayOfWeek(p.began)].toward(&s.season.daily)
		unlearned = float64(2.5 * unlearned)
	} else {
		mean, variance = s.season.hours[hourOfWeek(p.began)].toward(&s.season.all)
	}
	b := baseline{mean, math.Sqrt(max(variance, mean, 1))}
	if !s.learnt() {
		b.deviation = max(b.deviation, leastUsers, float64(unlearned*float64(s.head.users.count())))
	}
	return b
}

// learnt tells whether the baselines are trusted.
func (s *State) learnt() bool {
	return s.head.now-s.head.since >= events.Millis(s.config.Season.Learning.Milliseconds())
}

// among is the baseline of the users of one fingerprint, which has a share of those who succeed or usually fail, among all
// who fail now: when all fail more than usual it is exceeded by none.
func (s *State) among(users int, share float64, all baseline) baseline {
	mean := float64(float64(users) * share)
	spread := max(1, all.deviation/math.Sqrt(max(all.mean, 1)))
	b := baseline{mean, float64(spread * math.Sqrt(max(mean, 1)))}
	if !s.learnt() {
		b.deviation = max(b.deviation, leastUsers)
	}
	return b
}

// outOfProportion is how many times its share among those who fail a fingerprint must have to be conspicuous by itself.
const outOfProportion = 4

// judgeSpan judges a quarter of an hour or a day in which users have failed, q of them with the fingerprint of the attempt.
// A fingerprint of few successes answers for its users when it makes up most of what is unusual, or when it is unusual
// itself. All others are judged without the users of such fingerprints.
func (s *State) judgeSpan(p *span, a *attempt, q *printed) {
	all := s.expected(p)
	users := p.failing.count()
	same := min(q.users.count(), users) // both are estimates
	verdict := events.Verdict{Detection: crd04, From: p.began, To: a.t}
	met, on := false, ""
	if share := s.passing.share(a.print, 1); share < s.config.Season.Successes {
		// The share of a tool that is new is 0: one user in a hundred is allowed for.
		one := s.among(users, max(share, s.failing.share(a.print, 0), 0.01), all)
		excess := float64(users) - all.mean
		covers := all.z(users) >= s.config.Season.Z && float64(same)-float64(all.mean*share) >= float64(s.config.Season.Excess*excess)
		alone := one.z(same) >= s.config.Season.Z && float64(same) >= float64(outOfProportion*one.mean)
		met = covers && users >= s.config.Season.Users || alone && same >= s.config.Season.Users
		on = fmt.Sprintf("%016x", a.print)
		verdict.Severity, verdict.Fingerprint, verdict.Share = events.High, fingerprintText(a.Sighting), float64(same)/float64(users)
		if covers {
			verdict.Users, verdict.Mean, verdict.Deviation, verdict.Z = users, all.mean, all.deviation, all.z(users)
		} else {
			verdict.Users, verdict.Mean, verdict.Deviation, verdict.Z = same, one.mean, one.deviation, one.z(same)
		}
	}
	if met && !q.guilty {
		q.guilty = true
		s.change(p)
	}
	if !met && s.incident(crd04, on, a.t) == nil {
		users, on = p.innocent(), ""
		met = users >= s.config.Season.Users && all.z(users) >= s.config.Season.Z
		verdict = events.Verdict{
			Detection: crd04, Severity: events.Medium, Users: users, From: p.began, To: a.t, Mean: all.mean, Deviation: all.deviation, Z: all.z(users),
		}
	}
	var i *incident
	if met {
		i = s.warrant(crd04, on, a.t, a.EventID)
		if !p.fired {
			p.fired = true
			s.change(p)
		}
	} else if i = s.incident(crd04, on, a.t); i == nil {
		return
	}
	verdict.Incident = i.id
	s.tellRecent(i, s.recent.failed, verdict, func(b *recently) bool {
		return b.t >= p.began && (verdict.Severity == events.Medium || b.print == a.print)
	})
	if !a.Unresolved && s.once(i, a.hash) {
		verdict.EventID = a.EventID
		s.tell(a.User, false, verdict)
	}
}

// tellRecent tells those of the users who failed of late whom it concerns.
func (s *State) tellRecent(i *incident, list []recently, verdict events.Verdict, concerns func(*recently) bool) {
	for k := range list {
		if b := &list[k]; concerns(b) && len(verdict.Sample) < exactUsers {
			verdict.Sample = append(verdict.Sample, b.user)
		}
	}
	for k := range list {
		if b := &list[k]; concerns(b) && !b.unresolved && s.once(i, hash(b.user)) {
			verdict.EventID = b.event
			s.tell(b.user, false, verdict)
		}
	}
}

// judgeLockout is CRD-08.
func (s *State) judgeLockout(m *events.Sighting, t events.Millis, h uint64) {
	q := &s.quarter
	if t < q.began {
		return
	}
	if len(m.User) <= maxUser {
		s.recent.locked = remember(s.recent.locked, recently{t, m.User, m.Unresolved, 0, m.EventID})
		s.change(&s.recent)
	}
	if q.locked[0].add(h, medium) {
		s.change(q)
	}
	users := union(&q.locked[0], &q.locked[1])
	if users < s.config.Lockouts.Users {
		return
	}
	usual := &s.season.locked
	mean, deviation := float64(2*usual.mean), math.Sqrt(max(float64(2*usual.variance), float64(2*usual.mean), 1))
	z := (float64(users) - mean) / deviation
	if z < s.config.Lockouts.Z {
		return
	}
	q.fired = true
	i := s.warrant(crd08, "", t, m.EventID)
	verdict := events.Verdict{
		Detection: crd08, Severity: events.High, Incident: i.id, Users: users, From: q.began - quarter, To: t,
		Mean: mean, Deviation: deviation, Z: z,
	}
	s.tellRecent(i, s.recent.locked, verdict, func(b *recently) bool { return b.t >= verdict.From })
	if s.once(i, h) {
		verdict.EventID = m.EventID
		s.tell(m.User, m.Unresolved, verdict)
	}
}
