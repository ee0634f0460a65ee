package score

import (
	"slices"
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
)

// Truth keeps what is needed of the labels to judge alerts: which events belong to which incident, who was attacked from
// where, and how many benign logins there were to be wrong about. It is fed the stream in the order of arrival; an event
// that comes twice counts once. It is not safe for concurrent use.
type Truth struct {
	// Events, Logins and Successes count benign events. A login is an interactive sign-in of a person that succeeded.
	Events, Logins, Successes int
	// AttackEvents counts those of attackers.
	AttackEvents int

	incidents []*Incident
	byNumber  map[int]*Incident
	attacks   map[string]*Incident // by event id
	victims   map[string][]strike
	people    map[string]*person
	exposure  map[company.Confounder]int

	recent, before map[string]struct{} // event ids of the last hours
	turned         events.Millis
}

// Incident is one attack, from the labels.
type Incident struct {
	Number int
	Attack company.Attack
	// First is the time of its first event, Events how many were seen so far.
	First  events.Millis
	Events int
	// Compromise is set when an event of the attacker succeeded.
	Compromise bool
}

// strike is an attack on a user, from somewhere.
type strike struct {
	at       events.Millis
	success  bool
	incident *Incident
	ip       string
	prefix   string
	asn      uint32
}

// person is a user's present day: which confounders touched it, and how many logins it has.
type person struct {
	day         int64
	logins      int
	confounders []company.Confounder
	last        company.Confounder // the last one, for verdicts
	first       events.Millis
	total, days int
}

// NewTruth makes an empty one.
func NewTruth() *Truth {
	return &Truth{
		byNumber: map[int]*Incident{}, attacks: map[string]*Incident{}, victims: map[string][]strike{},
		people: map[string]*person{}, exposure: map[company.Confounder]int{}, recent: map[string]struct{}{}, before: map[string]struct{}{},
	}
}

// Login tells a person's own sign-in that succeeded.
func Login(e *events.Event) bool {
	return e.Kind == events.SignIn && e.Outcome == events.Success && e.Interactive != events.No && e.User.Type == ""
}

// repeatAfter is how long an event's id is remembered at least.
const repeatAfter = 2 * events.Hour

// See takes an event with its label, before alerts about it. It is false when the event came before.
func (t *Truth) See(e *events.Event, label company.Label) bool {
	if t.repeated(e) {
		return false
	}
	key := e.Key()
	if label.Attack != "" {
		t.strike(e, key, label)
		return true
	}
	t.Events++
	p := t.people[key]
	if p == nil {
		p = &person{day: dayOf(e.Time), first: e.Time}
		t.people[key] = p
	}
	if day := dayOf(e.Time); day > p.day {
		t.expose(p)
		p.day, p.logins, p.confounders = day, 0, p.confounders[:0]
	}
	if e.Outcome == events.Success {
		t.Successes++
	}
	if Login(e) {
		t.Logins++
		if p.logins == 0 {
			p.days++
		}
		p.logins++
		p.total++
	}
	if label.Confounder != "" {
		p.last = label.Confounder
		if !slices.Contains(p.confounders, label.Confounder) {
			p.confounders = append(p.confounders, label.Confounder)
		}
	}
	return true
}

func dayOf(t events.Millis) int64 { return int64(t) / events.Day }

func (t *Truth) repeated(e *events.Event) bool {
	if e.Ingested-t.turned > repeatAfter || e.Time-t.turned > repeatAfter {
		t.before, t.recent, t.turned = t.recent, map[string]struct{}{}, max(e.Time, e.Ingested)
	}
	if _, ok := t.recent[e.ID]; ok {
		return true
	}
	if _, ok := t.before[e.ID]; ok {
		return true
	}
	t.recent[e.ID] = struct{}{}
	return false
}

func (t *Truth) strike(e *events.Event, key string, label company.Label) {
	t.AttackEvents++
	i := t.byNumber[label.Incident]
	if i == nil {
		i = &Incident{Number: label.Incident, Attack: label.Attack, First: e.Time}
		t.byNumber[label.Incident] = i
		t.incidents = append(t.incidents, i)
	}
	i.First = min(i.First, e.Time)
	i.Events++
	if e.Outcome == events.Success {
		i.Compromise = true
	}
	t.attacks[e.ID] = i
	t.victims[key] = append(t.victims[key], strike{
		at: e.Time, success: e.Outcome == events.Success, incident: i, ip: e.IP, prefix: e.Network.Prefix, asn: e.Network.ASN,
	})
}

// expose books a user's day under the confounders that touched it. A day without a login counts as one: there was
// something to be wrong about.
func (t *Truth) expose(p *person) {
	for _, c := range p.confounders {
		t.exposure[c] += max(1, p.logins)
	}
}

// Close books the last days. Nothing may be seen after it.
func (t *Truth) Close() {
	for _, p := range t.people {
		t.expose(p)
		p.confounders = nil
	}
}

// Attacked tells whether an attacker has succeeded as this user: not as somebody else in the same incident, such as a spray.
func (t *Truth) Attacked(key string) bool {
	return slices.ContainsFunc(t.victims[key], func(s strike) bool { return s.success })
}

// Incidents are all of them, in the order in which they began.
func (t *Truth) Incidents() []*Incident { return slices.Clone(t.incidents) }

// Exposure is the number of benign logins on the user-days that each confounder touched.
func (t *Truth) Exposure() map[company.Confounder]int { return t.exposure }

// Users is how many people did something.
func (t *Truth) Users() int { return len(t.people) }

// Class is the login-frequency class of a user, by the days with logins a week until a time, as [familiarity.ClassOf] has
// it but over the whole stream.
func (t *Truth) Class(key string, until events.Millis) string {
	p := t.people[key]
	if p == nil {
		return familiarity.Rarer
	}
	weeks := float64(max(until-p.first, 7*events.Day)) / (7 * events.Day)
	switch days := float64(p.days) / weeks; {
	case days >= 3:
		return familiarity.Daily
	case days >= 1.4:
		return familiarity.SeveralAWeek
	case days >= 0.6:
		return familiarity.Weekly
	case days >= 0.2:
		return familiarity.Monthly
	default:
		return familiarity.Rarer
	}
}

// ClassSizes counts users and benign logins by class.
func (t *Truth) ClassSizes(until events.Millis) (users, logins map[string]int) {
	users, logins = map[string]int{}, map[string]int{}
	for key, p := range t.people {
		class := t.Class(key, until)
		users[class]++
		logins[class] += p.total
	}
	return users, logins
}

// Blame finds the incident that an alert is about, nil when it is a false alarm. It is the attacker's when the event that
// caused it is, or one of those that it was compared with; a verdict of the network stage is when the user was attacked
// from the source in the time that the verdict covers.
func (t *Truth) Blame(a *Alert) *Incident {
	if i := t.attacks[a.EventID]; i != nil {
		return i
	}
	for _, id := range a.Anchors {
		if i := t.attacks[id]; i != nil {
			return i
		}
	}
	if a.Verdict == nil {
		return nil
	}
	if i := t.attacks[a.Verdict.EventID]; i != nil {
		return i
	}
	return t.struck(events.Key(a.Tenant, a.User), a.Verdict, a.Time)
}

// slack is how far outside the time of a verdict an attack may lie, for what came late.
const slack = 30 * events.Minute

func (t *Truth) struck(key string, v *events.Verdict, at events.Millis) *Incident {
	from, to := v.From, v.To
	if to == 0 {
		to = at
	}
	if from == 0 {
		from = to - events.Day
	}
	list := t.victims[key]
	for i := range list {
		s := &list[len(list)-1-i]
		if s.at >= from-slack && s.at <= to+slack && s.from(v.Source) {
			return s.incident
		}
	}
	return nil
}

// from tells whether an attack came from the source of a verdict. Only the network is compared: a verdict about a user
// agent, or about the tenant, is about whoever was attacked at the time.
func (s *strike) from(source string) bool {
	kind, value, _ := strings.Cut(source, " ")
	switch kind {
	case "ip":
		return s.ip == value
	case "prefix":
		return s.prefix == value
	case "asn":
		return s.asn != 0 && value == strconv.FormatUint(uint64(s.asn), 10)
	}
	return true
}

// Confounder is the last thing out of the ordinary of a user, "" when there was none on the day of their last event.
func (t *Truth) Confounder(key string) company.Confounder {
	if p := t.people[key]; p != nil && len(p.confounders) > 0 {
		return p.last
	}
	return ""
}
