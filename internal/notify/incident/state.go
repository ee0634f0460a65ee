package incident

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
)

// Config is how findings are grouped and routed. Durations are in milliseconds.
type Config struct {
	// Least is the least severity of a finding that counts.
	Least events.Severity
	// Window is how long after its latest finding an incident takes in further findings of its user, and after what silence
	// one without a requirement is over.
	Window events.Millis
	// TellWithin is how old an incident's newest event may be for people to be told of it.
	TellWithin events.Millis
	// GroupWait is how long the first message waits for more findings.
	GroupWait events.Millis
	// MaxOpen bounds the incidents that are held.
	MaxOpen int
	Routes  []Route
	// Owner is the team that owns a policy, "" when nobody is known. It may be nil.
	Owner func(policy string) string
}

// State are the incidents of an installation. It belongs to one goroutine.
type State struct {
	cfg Config
	all map[string]*Incident
	// open finds incidents by what they are about, txn by requirement.
	open, txn map[string]string
	// early are requirements that ended before their findings came: the two are on different topics.
	early   map[string]Early
	changed map[string]bool
}

// Early is the end of a requirement that no incident has yet.
type Early struct {
	Ending Ending        `json:"ending"`
	At     events.Millis `json:"at"`
	// Came is when it was read.
	Came events.Millis `json:"came"`
}

// maxEarly bounds the ends that wait for their findings; the oldest go first.
const maxEarly = 2000

// New returns an empty state.
func New(cfg Config) *State {
	return &State{
		cfg: cfg, all: map[string]*Incident{}, open: map[string]string{}, txn: map[string]string{}, early: map[string]Early{},
		changed: map[string]bool{},
	}
}

// Restore puts back an incident that was kept.
func (s *State) Restore(i *Incident) {
	s.all[i.ID] = i
	if i.Closed == 0 {
		// Of several the newest is the one that takes findings in.
		if other := s.all[s.open[i.about()]]; other == nil || other.Opened <= i.Opened {
			s.open[i.about()] = i.ID
		}
	}
	for k := range i.Requirements {
		s.txn[i.Requirements[k].ID] = i.ID
	}
}

// Early are the ends that wait for their findings.
func (s *State) Early() map[string]Early { return s.early }

// RestoreEarly puts them back.
func (s *State) RestoreEarly(m map[string]Early) { maps.Copy(s.early, m) }

// Get finds an incident; nil when there is none.
func (s *State) Get(id string) *Incident { return s.all[id] }

// Len is how many incidents are held.
func (s *State) Len() int { return len(s.all) }

// All lists the incidents, oldest first.
func (s *State) All() []*Incident {
	return slices.SortedFunc(maps.Values(s.all), func(a, b *Incident) int {
		return cmp.Or(cmp.Compare(a.Opened, b.Opened), cmp.Compare(a.ID, b.ID))
	})
}

// Changed lists the ids of what was changed since the last call, those removed included.
func (s *State) Changed() []string {
	ids := slices.Sorted(maps.Keys(s.changed))
	clear(s.changed)
	return ids
}

// Touch marks an incident as changed, after its deliveries were.
func (s *State) Touch(id string) { s.changed[id] = true }

func (i *Incident) about() string { return about(i.Kind, i.Tenant, i.User, i.Group) }

func about(kind Kind, tenant, user, group string) string {
	return strings.Join([]string{string(kind), tenant, user, group}, "\x00")
}

// Finding folds one finding. What does not count changes nothing.
func (s *State) Finding(f *events.Finding, now events.Millis) *Incident {
	severity := f.Severity
	d := f.Decision
	if d != nil && d.Action == events.Notify && !d.Observed && !d.Cooling && severity.Rank() < s.cfg.Least.Rank() {
		severity = s.cfg.Least // a policy says that people want to know
	}
	if f.Disposition != events.Active || severity.Rank() < s.cfg.Least.Rank() {
		return nil
	}
	i := s.find(f, now)
	if slices.Contains(i.Seen, f.ID) {
		return i
	}
	i.take(f, severity, now)
	if d != nil {
		s.decide(i, d)
	}
	s.route(i, now)
	if i.Closed != 0 {
		s.tellEnd(i, now)
	}
	s.changed[i.ID] = true
	if d == nil {
		return i
	}
	if end, ok := s.early[d.Requirement]; ok && i.requirement(d.Requirement) != nil {
		delete(s.early, d.Requirement)
		s.endOne(i, d.Requirement, end.Ending, end.At, now)
	}
	return i
}

// find is the incident of a finding, opened when there is none.
func (s *State) find(f *events.Finding, now events.Millis) *Incident {
	kind, user, group, txn := User, f.User.ID, "", ""
	if d := f.Decision; d != nil {
		txn = d.Requirement
		if d.Held {
			kind, user, txn = Breaker, "", ""
		}
	}
	if v := f.Evidence.Verdict; v != nil && kind == User && v.Incident != "" && v.Detection == f.Detection {
		// The users of one firing are told the same: it is one incident, whatever is asked of each of them.
		kind, user, group, txn = Network, "", v.Incident, ""
	}
	if i := s.all[s.txn[txn]]; txn != "" && i != nil {
		return i // even if it is over: findings and requirements are on different topics
	}
	key := about(kind, f.Tenant, user, group)
	i := s.all[s.open[key]]
	if i != nil && i.Closed == 0 && (kind != User || now-i.Updated <= s.cfg.Window) && (txn == "" || len(i.Requirements) < maxRequirements) {
		return i
	}
	if kind != Flood && len(s.all) >= s.cfg.MaxOpen {
		kind, user, group = Flood, "", ""
		key = about(kind, f.Tenant, user, group)
		if i := s.all[s.open[key]]; i != nil && i.Closed == 0 {
			return i
		}
	}
	i = &Incident{
		ID: events.ID("incident", string(kind), f.Tenant, user, group, f.ID), Kind: kind, Tenant: f.Tenant, User: user, Group: group,
		Since: f.Time, Opened: now, Updated: now,
	}
	s.all[i.ID], s.open[key] = i, i.ID
	return i
}

// take adds what a finding says.
func (i *Incident) take(f *events.Finding, severity events.Severity, now events.Millis) {
	i.Findings++
	i.Updated = now
	i.Since, i.Latest = min(i.Since, f.Time), max(i.Latest, f.Time)
	i.Seen = append(i.Seen, f.ID)
	i.Seen = i.Seen[max(0, len(i.Seen)-maxSeen):]
	if !slices.Contains(i.Detections, f.Detection) && len(i.Detections) < maxDetections {
		i.Detections = append(i.Detections, f.Detection)
	}
	name := cmp.Or(f.User.Name, f.User.ID)
	if !slices.Contains(i.Sample, name) && len(i.Sample) < maxSample {
		i.Sample = append(i.Sample, events.Cut(name, maxText))
	}
	if i.Kind == User {
		i.Users = 1
		i.UserName = events.Cut(cmp.Or(f.User.Name, i.UserName), maxText)
	} else {
		i.Users = max(i.Users, len(i.Sample))
		if v := f.Evidence.Verdict; v != nil && i.Kind == Network {
			i.Users = max(i.Users, v.Users)
			i.Source = events.Cut(v.Source, maxText)
		}
	}
	if severity.Rank() <= i.Severity.Rank() {
		return
	}
	i.Severity = severity
	i.Title, i.Summary = events.Cut(f.Title, maxText), events.Cut(f.Summary, maxText)
	at := &f.Evidence.Sight
	i.IP, i.Place, i.App = events.Cut(at.IP, maxText), place(&at.Place), events.Cut(cmp.Or(at.App.Name, at.App.ID), maxText)
	i.Network = events.Cut(at.Network.Org, maxText)
	i.Device = events.Cut(strings.TrimSpace(cmp.Or(at.Device.Name, at.Device.OS+" "+at.Device.Browser)), maxText)
}

func place(p *events.Place) string {
	var parts []string
	for _, text := range []string{p.City, p.Country} {
		if text != "" {
			parts = append(parts, text)
		}
	}
	return events.Cut(strings.Join(parts, ", "), maxText)
}

// decide adds what policy made of it: the strongest action that is in force counts, and without one the strongest.
func (s *State) decide(i *Incident, d *events.Decision) {
	if d.Requirement != "" && i.Kind == User && i.Closed == 0 && i.requirement(d.Requirement) == nil {
		i.Requirements = append(i.Requirements, Requirement{ID: d.Requirement})
		i.Requirement = i.Requirements[0].ID
		s.txn[d.Requirement] = i.ID
	}
	decided := Incident{Action: d.Action, Observed: d.Observed, Cooling: d.Cooling, Held: d.Held}
	if i.Policy != "" && !decided.stronger(i) {
		return
	}
	i.Action, i.Observed, i.Cooling, i.Held = d.Action, d.Observed, d.Cooling, d.Held
	i.Policy, i.Reason = events.Cut(d.Policy, maxText), events.Cut(d.Reason, maxText)
	if s.cfg.Owner != nil {
		i.Team = s.cfg.Owner(d.Policy)
	}
}

// stronger compares what was decided.
func (i *Incident) stronger(than *Incident) bool {
	if i.InForce() != than.InForce() {
		return i.InForce()
	}
	return i.Action.Rank() > than.Action.Rank()
}

// route adds the messages that the incident's severity asks for: one for a target and a severity, and none while the one
// before still waits, which then tells of this severity. Of what is long over, as in a log that is read again, nobody is told.
func (s *State) route(i *Incident, now events.Millis) {
	if now-i.Latest > s.cfg.TellWithin {
		return
	}
	names, _ := targets(s.cfg.Routes, i)
	for _, target := range names {
		var last *Delivery
		for k := range i.Deliveries {
			if d := &i.Deliveries[k]; d.Target == target && d.Phase == Firing {
				last = d
			}
		}
		switch {
		case last == nil:
			i.add(target, Firing, now, now+s.cfg.GroupWait)
		case last.Severity.Rank() >= i.Severity.Rank():
		case last.Outcome == Pending:
			last.Severity = i.Severity
		default:
			i.add(target, Firing, now, now)
		}
	}
}

func (i *Incident) add(target string, phase Phase, now, due events.Millis) {
	i.Deliveries = append(i.Deliveries, Delivery{Target: target, Phase: phase, Severity: i.Severity, Created: now, Due: due})
}

// Claims folds the status of a requirement.
func (s *State) Claims(c *revocation.Claims, now events.Millis) {
	i := s.all[s.txn[c.ID]]
	if c.Status == revocation.Open {
		if i == nil || i.Closed != 0 {
			return
		}
		if r, expires := i.requirement(c.ID), events.Millis(c.Expires)*events.Second; r.Expires != expires {
			r.Expires, i.Expires = expires, max(i.Expires, expires)
			s.changed[i.ID] = true
		}
		return
	}
	ending := Expired
	if c.Status == revocation.Satisfied {
		ending = Satisfied
	}
	at := events.Millis(c.ClosedAt) * events.Second
	switch {
	case i == nil:
		s.early[c.ID] = Early{ending, at, now}
		s.forgetEarly(now)
	case i.Closed == 0:
		s.endOne(i, c.ID, ending, at, now)
	}
}

func (s *State) forgetEarly(now events.Millis) {
	maps.DeleteFunc(s.early, func(_ string, e Early) bool { return now-e.Came > s.cfg.Window })
	for len(s.early) > maxEarly {
		oldest := ""
		for id, e := range s.early {
			if o := s.early[oldest]; oldest == "" || e.Came < o.Came || e.Came == o.Came && id < oldest {
				oldest = id
			}
		}
		delete(s.early, oldest)
	}
}

// endOne ends a requirement of an open incident, and the incident with the last of them: as satisfied when all were.
func (s *State) endOne(i *Incident, id string, ending Ending, at, now events.Millis) {
	r := i.requirement(id)
	if r.Ending != "" {
		return
	}
	r.Ended, r.Ending = at, ending
	s.changed[i.ID] = true
	for k := range i.Requirements {
		o := &i.Requirements[k]
		if o.Ending == "" {
			return
		}
		at = max(at, o.Ended)
		if o.Ending != Satisfied {
			ending = o.Ending
		}
	}
	s.end(i, ending, at, now)
}

// end closes an incident and tells those who want to know.
func (s *State) end(i *Incident, ending Ending, at, now events.Millis) {
	i.Closed, i.Ending = max(at, 1), ending
	s.tellEnd(i, now)
	if s.open[i.about()] == i.ID {
		delete(s.open, i.about())
	}
	i.Updated = now
	s.changed[i.ID] = true
}

// tellEnd adds the messages that an incident is over, for those who were told of it by a message of its own.
func (s *State) tellEnd(i *Incident, now events.Millis) {
	names, resolved := targets(s.cfg.Routes, i)
	for _, target := range names {
		told := slices.ContainsFunc(i.Deliveries, func(d Delivery) bool {
			return d.Target == target && d.Phase == Firing && d.Outcome != Summarised
		})
		if resolved[target] && told && i.Delivery(target, Resolved, i.Severity) == nil {
			i.add(target, Resolved, now, now)
		}
	}
}

// Tick ends what is over by time, and forgets what was over for the window and is told.
func (s *State) Tick(now events.Millis) {
	for id, i := range s.all {
		silence := now - i.Updated
		switch {
		case i.Closed == 0 && len(i.Requirements) == 0 && silence > s.cfg.Window:
			s.end(i, Quiet, now, now)
		case i.Closed == 0 && silence > s.cfg.Window:
			s.expire(i, now, silence)
		case i.Closed != 0 && silence > s.cfg.Window && !i.Waiting():
			delete(s.all, id)
			for k := range i.Requirements {
				if txn := i.Requirements[k].ID; s.txn[txn] == id {
					delete(s.txn, txn)
				}
			}
			s.changed[id] = true
		}
	}
}

// expire ends the requirements whose end was not heard of long after it was due, and those that were never heard of.
func (s *State) expire(i *Incident, now, silence events.Millis) {
	for k := range i.Requirements {
		switch r := &i.Requirements[k]; {
		case r.Expires != 0 && now-r.Expires > s.cfg.Window:
			s.endOne(i, r.ID, Expired, r.Expires, now)
		case r.Expires == 0 && silence > forgotten:
			s.endOne(i, r.ID, Expired, now, now)
		}
	}
}

// forgotten is after what time a requirement that was never heard of counts as over.
const forgotten = 7 * events.Millis(events.Day)

// String names the incident in logs: by id only, for its texts come from outside.
func (i *Incident) String() string { return fmt.Sprintf("%s incident %s", i.Kind, i.ID) }
