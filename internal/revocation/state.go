package revocation

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
)

// The bounds of a user's state.
const (
	// MaxOpen is how many requirements of one user can be open.
	MaxOpen = 32
	// maxSessions are those on single sessions; the user as a whole can have one for each action besides.
	maxSessions = MaxOpen - 3
	maxPasses   = 8
	maxSuspects = 8
	maxJudged   = 8
	maxFindings = 8
	maxSummary  = 300
	maxReason   = 1000
)

// State is what is remembered of one user: the open requirements, the passes that policies gave, and the last events that
// were judged, so that a repeat of one is recognised. The zero State is that of a user without any.
type State struct {
	tenant, user string // of the open requirements; empty when there is none
	open         []entry
	judged       []uint64 // newest last
	passes       []policy.Pass
}

// entry is an open requirement and what is needed to end it.
type entry struct {
	Requirement
	issued int64
	jti    string
	// suspects are the sessions that caused a requirement on the user. They must prove themselves; crowded means that
	// there were more than can be kept, so that only time can end the requirement.
	suspects []string
	crowded  bool
	// cooldown is what the policy grants once it is met, in milliseconds.
	cooldown events.Millis
}

// Change is one requirement that has a new status. Its record goes to the revocations topic under Key, into the
// partition of the user's events.
type Change struct {
	Key    string
	Claims Claims
}

// Key names a requirement on the log: tenant/user/requirement.
func Key(tenant, user, requirement string) string {
	return events.Key(tenant, user) + "/" + requirement
}

// SplitKey takes a key apart into the key of the user's events (tenant/user) and the requirement.
func SplitKey(key string) (user, requirement string, ok bool) {
	i := strings.LastIndexByte(key, '/')
	if i <= 0 || i == len(key)-1 || !strings.Contains(key[:i], "/") {
		return "", "", false
	}
	return key[:i], key[i+1:], true
}

// NewState returns the state of a user without requirements.
func NewState() *State { return &State{} }

// Open lists the open requirements, oldest first. They share memory with the state and must not be changed.
func (s *State) Open() []Requirement {
	out := make([]Requirement, len(s.open))
	for i := range s.open {
		out[i] = s.open[i].Requirement
	}
	return out
}

// Passes are what policies granted the user: which of them leave the user alone, and for how long. They share memory with
// the state and must not be changed.
func (s *State) Passes() []policy.Pass { return s.passes }

// Raises reports whether Apply would open a requirement for the decision: nothing that is open covers it.
func (s *State) Raises(e *events.Event, d *policy.Decision) bool {
	if !d.Required() || slices.Contains(s.judged, hash(e.ID)) {
		return false
	}
	r, _ := s.covered(e, d)
	return r == nil
}

// Current is the newest record of a requirement, when it is open.
func (s *State) Current(requirement string) (Change, bool) {
	for i := range s.open {
		if s.open[i].ID == requirement {
			return s.change(&s.open[i], Open), true
		}
	}
	return Change{}, false
}

// Apply takes in one event, its findings and the decision on them, and returns the requirements that changed, in a fixed
// order. It writes the decision, with the requirement it led to, into every finding. The same state and arguments give
// the same changes; an event that was taken in already changes nothing.
func (s *State) Apply(e *events.Event, fs []events.Finding, d policy.Decision) []Change {
	if len(fs) == 0 && len(s.open) == 0 && d.Policy == "" {
		return nil // nearly every event
	}
	outcome := new(events.Decision)
	*outcome = d.Decision
	// A demand that no serious finding calls for says nothing against the event: a proof in it counts.
	calm := d.Required() && d.Severity.Rank() < events.Medium.Rank()
	suspicious := d.Required() && !calm
	// A phishing-resistant proof cannot be an intruder's, so it answers for the journey that it ends: the way home from
	// where an intruder has been.
	journeys, others := 0, 0
	for i := range fs {
		fs[i].Decision = outcome // one for all of them, completed below
		if fs[i].Disposition == events.Active && fs[i].Severity.Rank() >= events.Medium.Rank() {
			suspicious = true
			if fs[i].Evidence.Travel != nil && fs[i].Evidence.Session == nil {
				journeys++
			} else {
				others++
			}
		}
	}
	proof := policy.ProofOf(e)
	answered := proof.Strength == events.PhishingResistant && journeys > 0 && others == 0 || calm && proof.Enough(d.ACRValues)

	changes := s.expire(e, nil)
	mark := hash(e.ID)
	repeated := slices.Contains(s.judged, mark)
	if !repeated {
		changes = s.credentialChanged(e, changes)
	}
	met := "" // the requirement that the event answers for
	if !repeated && (!suspicious || answered) && e.Outcome == events.Success {
		before := len(changes)
		changes = s.satisfy(e, changes)
		if answered && len(changes) > before {
			met = changes[before].Claims.ID // satisfy ends one before it opens what remains of it
		}
	}
	switch {
	case !d.Required():
		if spoke := d.Action == events.Notify || d.Observed; spoke && !d.Cooling && !repeated {
			s.grant(&d.Decision, "", d.Severity, e.Time, d.Cooldown)
		}
	case met != "":
		outcome.Requirement, outcome.Covered = met, true
	default:
		if r, covered := s.covered(e, &d); r != nil {
			outcome.Requirement, outcome.Covered = r.ID, covered
			if !repeated {
				r.suspect(e.Session.ID)
			}
		} else if !repeated {
			changes = s.raise(e, fs, &d, changes)
			outcome.Requirement = s.open[len(s.open)-1].ID
		}
	}
	if !repeated && (suspicious || calm || len(changes) > 0) {
		if len(s.judged) == maxJudged {
			s.judged = slices.Delete(s.judged, 0, 1)
		}
		s.judged = append(s.judged, mark)
	}
	if len(s.open) == 0 {
		s.tenant, s.user, s.open = "", "", nil
	}
	return changes
}

// expire ends what is over by the event's clock. Passes count in event time, as they were granted: by the clock of
// acceptance those of a source that lags by more than a cooldown would never be valid.
func (s *State) expire(e *events.Event, changes []Change) []Change {
	now := int64(policy.Clock(e))
	s.open = slices.DeleteFunc(s.open, func(r entry) bool {
		if now < r.Expires*events.Second {
			return false
		}
		changes = append(changes, s.end(&r, Expired, e, r.Expires))
		return true
	})
	s.passes = slices.DeleteFunc(s.passes, func(p policy.Pass) bool { return p.Until <= e.Time })
	return changes
}

// grant remembers that a policy leaves the user alone for its cooldown. Of the same policy and session the latest counts.
func (s *State) grant(d *events.Decision, session string, severity events.Severity, from, cooldown events.Millis) {
	pass, ok := policy.PassOf(d.Policy, d.Version, session, severity, from, cooldown)
	if !ok {
		return
	}
	s.passes = slices.DeleteFunc(s.passes, func(p policy.Pass) bool {
		return p.Policy == pass.Policy && p.Session == pass.Session && p.Until <= pass.Until
	})
	if len(s.passes) == maxPasses {
		soonest := 0
		for i := range s.passes {
			if s.passes[i].Until < s.passes[soonest].Until {
				soonest = i
			}
		}
		s.passes = slices.Delete(s.passes, soonest, soonest+1)
	}
	s.passes = append(s.passes, pass)
}

// credentialChanged puts, once the user has a new credential, one that only waits for a proof in the place of what ended
// every session. The proof has to be later than the change: whoever gives it knows the new credential. A change in one of
// the sessions that caused it all is the intruder's.
func (s *State) credentialChanged(e *events.Event, changes []Change) []Change {
	c := &e.Change
	changed := e.Kind == events.AccountChange && c.Type == events.CredentialChange && (e.Outcome == events.Success || e.Outcome == "") &&
		(c.Action == "" || c.Action == events.Added || c.Action == events.Updated || c.Action == events.Reset)
	if !changed {
		return changes
	}
	for i := 0; i < len(s.open); i++ {
		old := s.open[i]
		if !old.CredentialChange || floor(e.Time) < old.NotBefore || old.accuses(e) {
			continue
		}
		next := old
		next.CredentialChange, next.NotBefore, next.issued = false, floor(e.Time)+1, issued(e)
		next.Expires = max(next.Expires, next.NotBefore+1)
		next.ID = requirementID(e, next.Session, next.Policy, next.PolicyVersion, e.ID)
		next.jti = setID(next.ID, Open, e)
		s.open[i] = next
		changes = append(changes, s.change(&next, Open), s.end(&old, Satisfied, e, floor(e.Time)))
	}
	return changes
}

// accuses reports whether an event may be of one of the suspects. Of more than can be kept any session may be one, but for
// that of somebody else who acts on the user, such as an administrator.
func (r *entry) accuses(e *events.Event) bool {
	if e.Session.ID == "" {
		return false
	}
	others := e.Change.Actor.ID != "" && e.Change.Actor.ID != e.User.ID
	return slices.Contains(r.suspects, e.Session.ID) || r.crowded && !others
}

// satisfy ends what the event's proof is good enough for.
func (s *State) satisfy(e *events.Event, changes []Change) []Change {
	p := policy.ProofOf(e)
	if p.Time == 0 {
		return changes
	}
	for i := 0; i < len(s.open); {
		r := s.open[i]
		if !r.ends(e, p) || !s.canNarrow(&r, e) {
			i++
			continue
		}
		s.open = slices.Delete(s.open, i, i+1)
		changes = append(changes, s.end(&r, Satisfied, e, floor(policy.Clock(e))))
		s.grant(&events.Decision{Policy: r.Policy, Version: r.PolicyVersion}, e.Session.ID, r.Severity, e.Time, r.cooldown)
		changes = s.narrow(&r, e, changes)
	}
	return changes
}

// ends reports whether the proof p in an event is what the requirement waits for. A session in which every session of the
// user was ended is over itself, whatever is proved in it.
func (r *entry) ends(e *events.Event, p policy.Proof) bool {
	switch r.Action {
	case events.StepUp:
		if r.Session != "" && r.Session != e.Session.ID {
			return false
		}
	case events.RevokeAll:
		if r.CredentialChange || e.Session.ID != "" && slices.Contains(r.suspects, e.Session.ID) {
			return false
		}
	default:
		return false
	}
	return meets(p, &r.Requirement)
}

// canNarrow reports whether there is room to keep the suspects of a requirement barred.
func (s *State) canNarrow(r *entry, e *events.Event) bool {
	if r.crowded {
		return false
	}
	room := maxSessions - s.sessions()
	for _, suspect := range r.suspects {
		if suspect != e.Session.ID && !s.barred(suspect, r.narrowed()) {
			room--
		}
	}
	return room >= 0
}

// narrow keeps the sessions barred that caused a requirement on the user and are not the one that has proved itself.
func (s *State) narrow(r *entry, e *events.Event, changes []Change) []Change {
	for _, suspect := range r.suspects {
		if suspect == e.Session.ID || s.barred(suspect, r.narrowed()) {
			continue
		}
		kept := entry{Requirement: r.Requirement, issued: issued(e), cooldown: r.cooldown}
		kept.Session, kept.Action = suspect, r.narrowed()
		kept.ID = requirementID(e, suspect, r.Policy, r.PolicyVersion, r.EventID)
		kept.jti = setID(kept.ID, Open, e)
		s.open = append(s.open, kept)
		changes = append(changes, s.change(&kept, Open))
	}
	return changes
}

// narrowed is the action that remains for a suspect.
func (r *entry) narrowed() events.Action {
	if r.Action == events.RevokeAll {
		return events.RevokeSession
	}
	return r.Action
}

// barred reports whether a session has a requirement of its own already.
func (s *State) barred(session string, action events.Action) bool {
	return slices.ContainsFunc(s.open, func(r entry) bool {
		return r.Session == session && r.Action.Rank() >= action.Rank()
	})
}

// sessions counts the requirements on single sessions.
func (s *State) sessions() int {
	n := 0
	for i := range s.open {
		if s.open[i].Session != "" {
			n++
		}
	}
	return n
}

// scope is the session that a decision binds, "" for all. With too many sessions barred one by one, all are.
func (s *State) scope(e *events.Event, d *policy.Decision) string {
	if d.Scope == policy.ScopeUser || d.Action == events.RevokeAll || s.sessions() >= maxSessions {
		return ""
	}
	return e.Session.ID
}

// covered finds the open requirement that makes a new one needless. It reports false for the one that this very event
// opened, which is found when the event comes again.
func (s *State) covered(e *events.Event, d *policy.Decision) (*entry, bool) {
	p, session := policy.ProofOf(e), e.Session.ID
	if d.Scope == policy.ScopeUser || d.Action == events.RevokeAll {
		session = ""
	}
	for i := range s.open {
		if r := &s.open[i]; r.EventID == e.ID && r.Action == d.Action {
			return r, false
		}
	}
	for i := range s.open {
		r := &s.open[i]
		switch {
		case r.Session != "" && r.Session != session, r.Action.Rank() < d.Action.Rank():
		case !r.binds(e.Session.ID, p):
		case !r.dead() && !r.CredentialChange && !policy.AsksForAtLeast(r.ACRValues, d.ACRValues):
		default:
			return r, true
		}
	}
	return nil, false
}

// raise opens a requirement as the last of the list. It replaces one of the same scope and action: the newer one wants a
// later proof.
func (s *State) raise(e *events.Event, fs []events.Finding, d *policy.Decision, changes []Change) []Change {
	session := s.scope(e, d)
	r := entry{
		Requirement: Requirement{
			ID:     requirementID(e, session, d.Policy, d.Version, e.ID),
			Action: d.Action, Session: session, ACRValues: slices.Clone(d.ACRValues), MaxAge: d.MaxAge,
			// The next full second: tokens count proofs in seconds, and one made in the second of the event is not later.
			NotBefore: floor(policy.Clock(e)) + 1, CredentialChange: d.CredentialChange,
			Severity: d.Severity, ReasonAdmin: events.Cut(d.Reason, maxReason), ReasonUser: maps.Clone(d.Message),
			Policy: d.Policy, PolicyVersion: d.Version, Findings: causes(fs), EventID: e.ID, EventTime: floor(e.Time),
			UserName: events.Cut(e.User.Name, events.MaxID), NoncompliantDevice: e.Device.Compliant == events.No,
		},
		issued: issued(e), cooldown: d.Cooldown,
	}
	if r.NoncompliantDevice {
		r.Device = events.Cut(e.Device.ID, events.MaxID)
	}
	r.Expires = r.NotBefore + max(1, int64(d.TTL)/events.Second)
	r.jti = setID(r.ID, Open, e)
	r.suspect(e.Session.ID)
	s.tenant, s.user = e.Tenant, e.User.ID

	for i := range s.open {
		old := s.open[i]
		if old.Session != r.Session || old.Action != r.Action {
			continue
		}
		for _, suspect := range old.suspects {
			r.suspect(suspect)
		}
		r.crowded = r.crowded || old.crowded
		r.Expires = max(r.Expires, old.Expires)
		r.CredentialChange = r.CredentialChange || old.CredentialChange
		if policy.AsksForAtLeast(old.ACRValues, r.ACRValues) {
			r.ACRValues = old.ACRValues
		}
		s.open = slices.Delete(s.open, i, i+1)
		changes = append(changes, s.end(&old, Expired, e, floor(policy.Clock(e))))
		break // there is never more than one
	}
	s.open = append(s.open, r)
	return append(changes, s.change(&r, Open))
}

// suspect remembers a session that a requirement on the user is about.
func (r *entry) suspect(session string) {
	switch {
	case r.Session != "" || session == "" || slices.Contains(r.suspects, session):
	case len(r.suspects) == maxSuspects:
		r.crowded = true
	default:
		r.suspects = append(r.suspects, session)
	}
}

func requirementID(e *events.Event, session, policy, version, cause string) string {
	return events.ID("requirement", e.Tenant, e.User.ID, session, policy, version, cause)
}

func setID(requirement string, status Status, e *events.Event) string {
	return events.ID("set", requirement, string(status), e.ID)
}

// causes keeps the worst of the active findings.
func causes(fs []events.Finding) []Cause {
	var out []Cause
	for i := range fs {
		if f := &fs[i]; f.Disposition == events.Active {
			out = append(out, Cause{ID: f.ID, Detection: f.Detection, Severity: f.Severity, Summary: events.Cut(f.Summary, maxSummary)})
		}
	}
	slices.SortStableFunc(out, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(b.Severity.Rank(), a.Severity.Rank()), cmp.Compare(a.Detection, b.Detection))
	})
	return out[:min(len(out), maxFindings)]
}

// hash is 64 bits of an event's id: a collision would make one event look like a repeat among the last few.
func hash(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}
