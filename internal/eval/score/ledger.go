package score

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
)

// Alert is one thing that a system under test said.
type Alert struct {
	// Detection is its rule. Severity and Disposition are as of findings; a system without dispositions says active.
	Detection   string
	Severity    events.Severity
	Disposition events.Disposition
	Tenant      string
	User        string
	// EventID caused it, Anchors are what it was compared with. Time is the event time at which it was raised.
	EventID string
	Anchors []string
	Time    events.Millis
	// Verdict is set when it rests on the events of many users.
	Verdict *events.Verdict
	// Confounder is the label of the benign event that caused it.
	Confounder company.Confounder
}

// AlertOf is a finding as an alert. Findings that it builds on are anchors of accumulated risk only: elsewhere they say
// nothing about who did this.
func AlertOf(f *events.Finding, confounder company.Confounder) Alert {
	a := Alert{
		Detection: f.Detection, Severity: f.Severity, Disposition: f.Disposition, Tenant: f.Tenant, User: f.User.ID, EventID: f.EventID,
		Anchors: slices.Clone(f.Anchors), Time: f.Time, Verdict: f.Evidence.Verdict, Confounder: confounder,
	}
	for i := range f.Evidence.Chain {
		a.Anchors = append(a.Anchors, f.Evidence.Chain[i].EventID)
	}
	if s := f.Evidence.Session; s != nil {
		a.Anchors = append(a.Anchors, s.Started.EventID)
	}
	if f.Detection == "RSK-01" {
		for i := range f.Evidence.Earlier {
			a.Anchors = append(a.Anchors, f.Evidence.Earlier[i].EventID)
		}
	}
	return a
}

// Ledger books the alerts of one system against the truth.
type Ledger struct {
	truth *Truth

	// FalseAlarms counts active alerts on benign events.
	falseAlarms map[tallyKey]int
	caught      map[*Incident]*Catch
	days        map[userDay]*alarmed
}

type tallyKey struct {
	detection   string
	severity    events.Severity
	disposition events.Disposition
	confounder  company.Confounder
}

type userDay struct {
	user string
	day  int64
}

// alarmed is a user-day with false alarms: the highest severity, and the rules of medium or more.
type alarmed struct {
	highest int
	rules   []string
}

// Catch is what a system made of an incident.
type Catch struct {
	// Highest is the rank of the highest active severity.
	Highest int
	// Any, First and FirstHigh are the event times of the first active alerts of any, of medium and of high severity; Before
	// is how many events of the incident came before First's own.
	Any, First, FirstHigh events.Millis
	Before                int
	// Rules raised active alerts of medium or more, Quiet any others; Learning are those of Quiet that had not learned the user yet.
	Rules, Quiet, Learning []string
}

// NewLedger makes a ledger of alerts about events that the truth has seen.
func NewLedger(t *Truth) *Ledger {
	return &Ledger{truth: t, falseAlarms: map[tallyKey]int{}, caught: map[*Incident]*Catch{}, days: map[userDay]*alarmed{}}
}

// Raise books an alert and tells the incident that it is about, nil for a false alarm.
func (l *Ledger) Raise(a Alert) *Incident {
	i := l.truth.Blame(&a)
	if i == nil {
		l.falseAlarm(&a)
		return nil
	}
	c := l.caught[i]
	if c == nil {
		c = &Catch{}
		l.caught[i] = c
	}
	c.book(&a, i)
	return i
}

func (c *Catch) book(a *Alert, i *Incident) {
	rank := a.Severity.Rank()
	if c.Any == 0 && a.Disposition == events.Active {
		c.Any = a.Time
	}
	if a.Disposition != events.Active || rank < events.Medium.Rank() {
		c.Quiet = appendNew(c.Quiet, a.Detection)
		if a.Disposition == events.Learning {
			c.Learning = appendNew(c.Learning, a.Detection)
		}
		if a.Disposition == events.Active {
			c.Highest = max(c.Highest, rank)
		}
		return
	}
	c.Highest = max(c.Highest, rank)
	if c.First == 0 {
		c.First, c.Before = a.Time, i.Events-1
	}
	if c.FirstHigh == 0 && rank >= events.High.Rank() {
		c.FirstHigh = a.Time
	}
	c.Rules = appendNew(c.Rules, a.Detection)
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func (l *Ledger) falseAlarm(a *Alert) {
	key := events.Key(a.Tenant, a.User)
	if a.Confounder == "" && a.Verdict != nil {
		a.Confounder = l.truth.Confounder(key)
	}
	l.falseAlarms[tallyKey{a.Detection, a.Severity, a.Disposition, a.Confounder}]++
	if a.Disposition != events.Active {
		return
	}
	at := userDay{key, dayOf(a.Time)}
	d := l.days[at]
	if d == nil {
		d = &alarmed{}
		l.days[at] = d
	}
	rank := a.Severity.Rank()
	d.highest = max(d.highest, rank)
	if rank >= events.Medium.Rank() {
		d.rules = appendNew(d.rules, a.Detection)
	}
}

// Recall is how one kind of attack fared.
type Recall struct {
	Attack    company.Attack `json:"attack"`
	Incidents int            `json:"incidents"`
	// Compromises are the incidents with an event of the attacker that succeeded.
	Compromises int `json:"compromises"`
	// Caught had an active alert of medium or more, CaughtHigh one of high or more; Quiet had only lesser or inactive ones.
	Caught     int `json:"caught"`
	CaughtHigh int `json:"caught_high"`
	// CaughtAny had an active alert of any severity.
	CaughtAny int `json:"caught_any"`
	Quiet     int `json:"quiet"`
	// The time from the incident's first event to its first alert of medium or more, in event time, and the attacker's
	// events before it.
	DelayP50Seconds float64 `json:"delay_p50_s"`
	DelayP99Seconds float64 `json:"delay_p99_s"`
	EventsBeforeP50 float64 `json:"events_before_p50"`
	EventsBeforeP99 float64 `json:"events_before_p99"`
	// Rules counts the incidents that each rule caught.
	Rules map[string]int `json:"rules"`

	delays, before []float64
}

// Share is caught over all.
func (r *Recall) Share() float64 { return ratio(r.Caught, r.Incidents) }

// ShareAny is caught by an active alert of any severity over all.
func (r *Recall) ShareAny() float64 { return ratio(r.CaughtAny, r.Incidents) }

// ShareHigh is caught at high over all.
func (r *Recall) ShareHigh() float64 { return ratio(r.CaughtHigh, r.Incidents) }

func ratio(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// Recalls is one row for every kind of attack there was, by name.
func (l *Ledger) Recalls() []Recall {
	rows := map[company.Attack]*Recall{}
	for _, i := range l.truth.incidents {
		r := rows[i.Attack]
		if r == nil {
			r = &Recall{Attack: i.Attack, Rules: map[string]int{}}
			rows[i.Attack] = r
		}
		r.add(i, l.caught[i])
	}
	var list []Recall
	for _, attack := range slices.Sorted(maps.Keys(rows)) {
		r := rows[attack]
		r.close()
		list = append(list, *r)
	}
	return list
}

// RecallOver is one row over the incidents that fit.
func (l *Ledger) RecallOver(fits func(*Incident, *Catch) bool) Recall {
	r := Recall{Rules: map[string]int{}}
	for _, i := range l.truth.incidents {
		c := l.caught[i]
		if c == nil {
			c = &Catch{}
		}
		if fits(i, c) {
			r.add(i, c)
		}
	}
	r.close()
	return r
}

func (r *Recall) add(i *Incident, c *Catch) {
	r.Incidents++
	if i.Compromise {
		r.Compromises++
	}
	if c != nil && c.Highest > 0 {
		r.CaughtAny++
	}
	switch {
	case c == nil || len(c.Rules) == 0 && len(c.Quiet) == 0:
		return
	case len(c.Rules) == 0:
		r.Quiet++
		return
	}
	r.Caught++
	if c.FirstHigh != 0 {
		r.CaughtHigh++
	}
	r.delays = append(r.delays, float64(max(0, c.First-i.First))/events.Second)
	r.before = append(r.before, float64(c.Before))
	for _, rule := range c.Rules {
		r.Rules[rule]++
	}
}

func (r *Recall) close() {
	if r.Caught == 0 {
		return
	}
	slices.Sort(r.delays)
	slices.Sort(r.before)
	r.DelayP50Seconds, r.DelayP99Seconds = Quantile(r.delays, .5), Quantile(r.delays, .99)
	r.EventsBeforeP50, r.EventsBeforeP99 = Quantile(r.before, .5), Quantile(r.before, .99)
}

// Alarms counts false alarms: active ones of medium or more and of high or more, and the inactive ones beside them.
type Alarms struct {
	Name       string `json:"name"`
	Medium     int    `json:"medium"`
	High       int    `json:"high"`
	Lower      int    `json:"lower"`
	Learning   int    `json:"learning"`
	Suppressed int    `json:"suppressed"`
	Observed   int    `json:"observed"`
	// Logins are the benign logins that it could have been wrong about.
	Logins int `json:"logins"`
}

// Per is a count over the logins, a thousand.
func (a *Alarms) Per(count int) float64 {
	if a.Logins == 0 {
		return 0
	}
	return float64(count) / float64(a.Logins) * 1000
}

func (a *Alarms) add(k tallyKey, n int) {
	switch k.disposition {
	case events.Learning:
		a.Learning += n
	case events.Suppressed:
		a.Suppressed += n
	case events.Observed:
		a.Observed += n
	case events.Active:
		rank := k.severity.Rank()
		if rank < events.Medium.Rank() {
			a.Lower += n
			return
		}
		a.Medium += n
		if rank >= events.High.Rank() {
			a.High += n
		}
	}
}

// Ordinary names the benign events without a confounder.
const Ordinary = "ordinary"

// FalseAlarms are all false alarms, then those by confounder, then those by rule, each by name. The logins of a confounder
// are those of the user-days that it touched; those of the rest, and of rules, are all.
func (l *Ledger) FalseAlarms() (all Alarms, byConfounder, byRule []Alarms) {
	all = Alarms{Name: "all", Logins: l.truth.Logins}
	confounders := map[string]*Alarms{Ordinary: {Name: Ordinary, Logins: l.truth.Logins}}
	for c, logins := range l.truth.Exposure() {
		confounders[string(c)] = &Alarms{Name: string(c), Logins: logins}
	}
	rules := map[string]*Alarms{}
	for k, n := range l.falseAlarms {
		all.add(k, n)
		name := cmp.Or(string(k.confounder), Ordinary)
		if confounders[name] == nil {
			confounders[name] = &Alarms{Name: name}
		}
		confounders[name].add(k, n)
		if rules[k.detection] == nil {
			rules[k.detection] = &Alarms{Name: k.detection, Logins: l.truth.Logins}
		}
		rules[k.detection].add(k, n)
	}
	return all, sorted(confounders), sorted(rules)
}

func sorted(m map[string]*Alarms) []Alarms {
	var list []Alarms
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, *m[name])
	}
	return list
}

// FalseAlarmsOf counts the active false alarms of medium or more of rules with a prefix under a confounder.
func (l *Ledger) FalseAlarmsOf(prefix string, confounder company.Confounder) int {
	n := 0
	for k, count := range l.falseAlarms {
		if k.confounder == confounder && strings.HasPrefix(k.detection, prefix) && k.disposition == events.Active &&
			k.severity.Rank() >= events.Medium.Rank() {
			n += count
		}
	}
	return n
}

// ClassAlarms counts the user-days with an active false alarm of medium or more by the users' login-frequency class.
func (l *Ledger) ClassAlarms(until events.Millis) map[string]int {
	days := map[string]int{}
	for at, d := range l.days {
		if d.highest >= events.Medium.Rank() {
			days[l.truth.Class(at.user, until)]++
		}
	}
	return days
}

// Catch is what the system made of an incident, nil when it said nothing.
func (l *Ledger) Catch(i *Incident) *Catch { return l.caught[i] }
