package backtest

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
)

// Report is what a backtest found. New is what the rules that were tried would have decided, Old what was decided or what
// the baseline would have.
type Report struct {
	New Rules `json:"new"`
	// Old has no version when it is what was recorded: several versions may have been in force.
	Old    Rules         `json:"old"`
	Tenant string        `json:"tenant,omitempty"`
	From   events.Millis `json:"from"`
	To     events.Millis `json:"to"`
	// Events are those of the span, of Users users; WarmUp those before it.
	Events uint64 `json:"events"`
	Users  int    `json:"users"`
	WarmUp uint64 `json:"warm_up_events"`
	// Internal are events that countersign itself wrote; they were concluded anew.
	Internal uint64 `json:"internal_events,omitempty"`
	// Problems is input that was left out.
	Problems Problems `json:"problems"`
	// Missing are recorded decisions on events that are no longer in the history, left out as well.
	Missing uint64 `json:"missing_events,omitempty"`

	Total        Pair               `json:"total"`
	Requirements PairOfRequirements `json:"requirements"`
	// StepUps is how often users are asked.
	StepUps PairOfRates `json:"step_ups_per_user_week"`
	// Detections are in the order of their ids, Policies with the most decisions first, Days in order, ByUser with the
	// greatest change first.
	Detections []DetectionLine `json:"detections"`
	Policies   []PolicyLine    `json:"policies"`
	Days       []DayLine       `json:"days"`
	ByUser     []UserLine      `json:"by_user"`
	// Same is how many events had the same effect on both sides.
	Same uint64 `json:"same"`
	// OnlyNew and OnlyOld are events on which only one side does something, Changed those on which both do, but not the same.
	OnlyNew Differences `json:"only_new"`
	OnlyOld Differences `json:"only_old"`
	Changed Differences `json:"changed"`
}

// Rules says what decided.
type Rules struct {
	// Name is the file's, or "recorded".
	Name     string          `json:"name"`
	Version  string          `json:"version,omitempty"`
	Policies []PolicyInForce `json:"policies,omitempty"`
	// Trips are the first ones of the breaker, Problems the policies that could not be evaluated; neither is known of what
	// was recorded.
	Trips    []Trip          `json:"breaker_trips,omitempty"`
	Problems []PolicyProblem `json:"policy_problems,omitempty"`
}

// Trip is a breaker that tripped: from then on it holds what the policies of the tenant ask for, until a person resets it.
type Trip struct {
	Time   events.Millis `json:"time"`
	Tenant string        `json:"tenant"`
	Reason string        `json:"reason"`
}

// PolicyProblem is why a policy could not be evaluated, and on how many events.
type PolicyProblem struct {
	Problem string `json:"problem"`
	Events  uint64 `json:"events"`
}

// PolicyInForce is one policy of a set.
type PolicyInForce struct {
	Name    string        `json:"name"`
	Version string        `json:"version"`
	Mode    policy.Mode   `json:"mode"`
	Action  events.Action `json:"action"`
}

// Counts are decisions for which a policy matched, by what came of them; each is counted once.
type Counts struct {
	Observe       uint64 `json:"observe"`
	Notify        uint64 `json:"notify"`
	StepUp        uint64 `json:"step_up"`
	RevokeSession uint64 `json:"revoke_session"`
	RevokeAll     uint64 `json:"revoke_all"`
	// Covered asked for what was asked for already, Cooling came too soon after the same, Held was kept back by the breaker,
	// Watched is of policies that only observe.
	Covered uint64 `json:"covered"`
	Cooling uint64 `json:"cooling"`
	Held    uint64 `json:"held"`
	Watched uint64 `json:"watched"`
}

// Interrupts is how often a user is asked for a proof or loses a session.
func (c Counts) Interrupts() uint64 { return c.StepUp + c.RevokeSession + c.RevokeAll }

func (c Counts) sum() uint64 {
	return c.Observe + c.Notify + c.Interrupts() + c.Covered + c.Cooling + c.Held + c.Watched
}

// Pair is the counts of both sides.
type Pair struct {
	New Counts `json:"new"`
	Old Counts `json:"old"`
}

// Requirements counts the requirements that were opened in the span, and what became of them.
type Requirements struct {
	Opened    uint64 `json:"opened"`
	Satisfied uint64 `json:"satisfied"`
	Expired   uint64 `json:"expired"`
}

// PairOfRequirements is the requirements of both sides.
type PairOfRequirements struct {
	New Requirements `json:"new"`
	Old Requirements `json:"old"`
}

// Rate is how often one user is asked for a step-up in a week, over all weeks of all users in which the user did
// anything. Weeks have seven days from the beginning of the span; the last one may be shorter.
type Rate struct {
	// UserWeeks are those weeks, Asked the users who were asked at all.
	UserWeeks uint64  `json:"user_weeks"`
	Asked     int     `json:"users_asked"`
	Mean      float64 `json:"mean"`
	Median    uint64  `json:"median"`
	P95       uint64  `json:"p95"`
	Max       uint64  `json:"max"`
}

// PairOfRates is the rates of both sides.
type PairOfRates struct {
	New Rate `json:"new"`
	Old Rate `json:"old"`
}

// FindingCounts counts findings, those that reach policy by their severity.
type FindingCounts struct {
	Critical uint64 `json:"critical"`
	High     uint64 `json:"high"`
	Medium   uint64 `json:"medium"`
	Low      uint64 `json:"low"` // or info
	// Other are learning, suppressed or observed.
	Other uint64 `json:"other"`
}

// DetectionLine is what one detection found on both sides.
type DetectionLine struct {
	Detection string        `json:"detection"`
	New       FindingCounts `json:"new"`
	Old       FindingCounts `json:"old"`
}

// PolicyLine is what one policy decided on both sides, by its name.
type PolicyLine struct {
	Policy string `json:"policy"`
	Pair
}

// DayLine is one day, in UTC.
type DayLine struct {
	Day    string `json:"day"`
	Events uint64 `json:"events"`
	Pair
}

// UserLine is one user for whom anything was decided.
type UserLine struct {
	Tenant string `json:"tenant"`
	User   string `json:"user"`
	Name   string `json:"name,omitempty"`
	Pair
}

// Differences are events that the two sides do not treat alike: how many there are, and the first ones, strongest action
// first, then by time.
type Differences struct {
	Count uint64       `json:"count"`
	First []Difference `json:"first,omitempty"`
}

// Difference is one event that the two sides do not treat alike. New and Old are nil when no policy of that side matched.
type Difference struct {
	EventID string        `json:"event_id"`
	Time    events.Millis `json:"time"`
	Tenant  string        `json:"tenant"`
	User    string        `json:"user"`
	Name    string        `json:"name,omitempty"`
	New     *Judgement    `json:"new,omitempty"`
	Old     *Judgement    `json:"old,omitempty"`
}

// Judgement is what one side decided on an event.
type Judgement struct {
	Policy  string        `json:"policy"`
	Version string        `json:"version"`
	Action  events.Action `json:"action"`
	// See [events.Decision].
	Observed    bool   `json:"observed,omitempty"`
	Held        bool   `json:"held,omitempty"`
	Cooling     bool   `json:"cooling,omitempty"`
	Covered     bool   `json:"covered,omitempty"`
	Requirement string `json:"requirement,omitempty"`
	// Detections are the active findings, worst first; Summary is that of the first, left out when the decision has no effect.
	Detections string `json:"detections"`
	Summary    string `json:"summary,omitempty"`
}

func (r *replay) report(problems Problems) *Report {
	to := r.o.To
	if to == 0 {
		to = r.last + 1
	}
	out := &Report{
		New: rulesOf(r.o.New), Old: Rules{Name: "recorded"}, Tenant: r.o.Tenant, From: r.from, To: to, Events: r.events,
		WarmUp: r.warmUp, Internal: r.internal, Problems: problems, Missing: r.missing, Total: Pair{r.new.total, r.old.total},
	}
	if r.o.Baseline != nil {
		out.Old = rulesOf(*r.o.Baseline)
		r.old.close(to)
	}
	out.New.Trips, out.New.Problems, out.Old.Trips, out.Old.Problems = r.new.trips, r.new.problems, r.old.trips, r.old.problems
	r.new.close(to)
	out.Requirements = PairOfRequirements{r.new.requirements, r.old.requirements}
	weeks := uint64(0)
	for _, u := range r.users {
		if n := u.active(); n > 0 {
			out.Users++
			weeks += n
		}
	}
	out.StepUps = PairOfRates{r.new.rate(weeks), r.old.rate(weeks)}
	out.Detections, out.Policies, out.Days, out.ByUser = r.detectionLines(), r.policyLines(), r.dayLines(), r.userLines()
	r.compare(out)
	return out
}

func rulesOf(s Side) Rules {
	out := Rules{Name: s.Name, Version: s.Rules.Version()}
	for _, p := range s.Rules.Policies.Policies() {
		out.Policies = append(out.Policies, PolicyInForce{Name: p.Name, Version: p.Version, Mode: p.Mode, Action: p.Then.Action})
	}
	return out
}

// rate is taken over a number of weeks of users, most of which nobody was asked in.
func (t *tally) rate(weeks uint64) Rate {
	type userWeek struct {
		user *user
		week int
	}
	asked, users := map[userWeek]uint64{}, map[*user]struct{}{}
	total := uint64(0)
	for _, j := range t.decisions {
		if j.asks() {
			asked[userWeek{j.user, j.week}]++
			users[j.user] = struct{}{}
			total++
		}
	}
	// A user may be asked in a week without an event of the user's own, by a verdict.
	out := Rate{UserWeeks: max(weeks, uint64(len(asked))), Asked: len(users)}
	if out.UserWeeks == 0 {
		return out
	}
	counts := slices.Sorted(maps.Values(asked))
	zeros := out.UserWeeks - uint64(len(counts))
	quantile := func(share float64) uint64 { // the smallest number that this share of the weeks does not exceed
		rank := uint64(max(1, math.Ceil(share*float64(out.UserWeeks))))
		if rank <= zeros {
			return 0
		}
		return counts[rank-zeros-1]
	}
	out.Mean, out.Median, out.P95, out.Max = float64(total)/float64(out.UserWeeks), quantile(0.5), quantile(0.95), quantile(1)
	return out
}

func (r *replay) detectionLines() []DetectionLine {
	names := map[string]struct{}{}
	for name := range r.new.detections {
		names[name] = struct{}{}
	}
	for name := range r.old.detections {
		names[name] = struct{}{}
	}
	var out []DetectionLine
	for _, name := range slices.Sorted(maps.Keys(names)) {
		line := DetectionLine{Detection: name}
		if n := r.new.detections[name]; n != nil {
			line.New = *n
		}
		if n := r.old.detections[name]; n != nil {
			line.Old = *n
		}
		out = append(out, line)
	}
	return out
}

// policyLines has the policies that are in force on either side too when they decided nothing.
func (r *replay) policyLines() []PolicyLine {
	lines := map[string]*PolicyLine{}
	line := func(name string) *PolicyLine {
		if lines[name] == nil {
			lines[name] = &PolicyLine{Policy: name}
		}
		return lines[name]
	}
	sides := []Side{r.o.New}
	if r.o.Baseline != nil {
		sides = append(sides, *r.o.Baseline)
	}
	for _, s := range sides {
		for _, p := range s.Rules.Policies.Policies() {
			line(p.Name)
		}
	}
	for name, c := range r.new.byPolicy {
		line(name).New = *c
	}
	for name, c := range r.old.byPolicy {
		line(name).Old = *c
	}
	var out []PolicyLine
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		out = append(out, *lines[name])
	}
	slices.SortStableFunc(out, func(a, b PolicyLine) int {
		return cmp.Compare(max(b.New.sum(), b.Old.sum()), max(a.New.sum(), a.Old.sum()))
	})
	return out
}

// dayLines has every day from the first to the last, also those without anything.
func (r *replay) dayLines() []DayLine {
	days := slices.Sorted(maps.Keys(r.byDay))
	var out []DayLine
	for n := days[0]; n <= days[len(days)-1]; n++ {
		line := DayLine{Day: events.Millis(n * events.Day).Time().Format("2006-01-02")}
		if d := r.byDay[n]; d != nil {
			line.Events, line.Pair = d.events, Pair{d.new, d.old}
		}
		out = append(out, line)
	}
	return out
}

// userLines are the users whom the change concerns most: by how much oftener or less often they are interrupted, then by
// how often.
func (r *replay) userLines() []UserLine {
	var concerned []*user
	for _, u := range r.users {
		if u.new.sum()+u.old.sum() > 0 {
			concerned = append(concerned, u)
		}
	}
	change := func(u *user) uint64 {
		n, o := u.new.Interrupts(), u.old.Interrupts()
		return max(n, o) - min(n, o)
	}
	slices.SortFunc(concerned, func(a, b *user) int {
		return cmp.Or(cmp.Compare(change(b), change(a)), cmp.Compare(b.new.Interrupts(), a.new.Interrupts()),
			cmp.Compare(b.new.sum(), a.new.sum()), cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.id, b.id))
	})
	var out []UserLine
	for _, u := range concerned[:min(len(concerned), maxUsers)] {
		out = append(out, UserLine{Tenant: u.tenant, User: u.id, Name: u.name, Pair: Pair{u.new, u.old}})
	}
	return out
}

// compare lists what the sides do not treat alike.
func (r *replay) compare(out *Report) {
	var onlyNew, onlyOld, changed []string
	for id, n := range r.new.decisions {
		o := r.old.decisions[id]
		switch was, would := o.effect(), n.effect(); {
		case was == would:
			if would != "" {
				out.Same++
			}
		case was == "":
			onlyNew = append(onlyNew, id)
		case would == "":
			onlyOld = append(onlyOld, id)
		default:
			changed = append(changed, id)
		}
	}
	for id, o := range r.old.decisions {
		if _, both := r.new.decisions[id]; !both && o.effect() != "" {
			onlyOld = append(onlyOld, id)
		}
	}
	out.OnlyNew, out.OnlyOld, out.Changed = r.differences(onlyNew), r.differences(onlyOld), r.differences(changed)
}

func (r *replay) differences(ids []string) Differences {
	strength := func(id string) int {
		n, o := r.new.decisions[id], r.old.decisions[id]
		return max(n.effect().Rank(), o.effect().Rank())
	}
	either := func(id string) judged {
		if j, ok := r.new.decisions[id]; ok {
			return j
		}
		return r.old.decisions[id]
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(strength(b), strength(a)), cmp.Compare(either(a).at, either(b).at), cmp.Compare(a, b))
	})
	out := Differences{Count: uint64(len(ids))}
	for _, id := range ids[:min(len(ids), maxDifferences)] {
		j := either(id)
		out.First = append(out.First, Difference{
			EventID: j.event, Time: j.at, Tenant: j.user.tenant, User: j.user.id, Name: j.user.name,
			New: r.new.judgement(id), Old: r.old.judgement(id),
		})
	}
	return out
}

func (t *tally) judgement(id string) *Judgement {
	j, ok := t.decisions[id]
	if !ok {
		return nil
	}
	return &Judgement{
		Policy: j.policy, Version: j.version, Action: j.action, Observed: j.observed, Held: j.held, Cooling: j.cooling,
		Covered: j.covered, Requirement: j.requirement, Detections: j.detections, Summary: j.summary,
	}
}

// String sums the decision up in some words.
func (j *Judgement) String() string {
	if j == nil {
		return "nothing"
	}
	state := ""
	switch {
	case j.Observed:
		state = ", only watched"
	case j.Held:
		state = ", held by the breaker"
	case j.Cooling:
		state = ", asked lately"
	case j.Covered:
		state = ", asked already"
	}
	return fmt.Sprintf("%s (%s%s)", j.Action, j.Policy, state)
}
