package api

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/report"
)

// maxPolicyBody is the largest request with policies, in bytes. The text itself has at most 256 KB; JSON escapes a part.
const maxPolicyBody = 1 << 20

// Policy is one policy in force, and what it has done in the span.
type Policy struct {
	Name        string              `json:"name"`
	Number      int                 `json:"number,omitempty" doc:"The version that its author gave"`
	Version     string              `json:"version" doc:"Identity of its content"`
	Owner       string              `json:"owner,omitempty"`
	Description string              `json:"description,omitempty"`
	Mode        policy.Mode         `json:"mode" enum:"enforce,observe"`
	Priority    int                 `json:"priority"`
	Condition   string              `json:"condition" doc:"CEL"`
	Unprompted  bool                `json:"unprompted" doc:"It can match an event without any finding"`
	For         *PolicySelector     `json:"for,omitempty" doc:"Whom it is for; everybody when left out"`
	Except      *PolicySelector     `json:"except,omitempty" doc:"Whom it is not for"`
	Cooldown    int64               `json:"cooldown_seconds,omitempty" doc:"How long it leaves a user alone who has met its requirement"`
	Action      events.Action       `json:"action" enum:"observe,notify,step_up,revoke_session,revoke_all"`
	ACRValues   []string            `json:"acr_values,omitempty" doc:"Proofs one of which is enough, best first"`
	MaxAge      int                 `json:"max_age_seconds,omitempty" doc:"How old the proof may be"`
	TTL         int64               `json:"ttl_seconds,omitempty" doc:"How long a requirement stays open"`
	Scope       policy.Scope        `json:"scope,omitempty" enum:"session,user" doc:"What a requirement binds"`
	Credential  bool                `json:"credential_change,omitempty" doc:"The user has to change the credential too"`
	Message     map[string]string   `json:"message,omitempty" doc:"What the user is told, by language"`
	Record      report.PolicyRecord `json:"record"`
}

// PolicySelector names people and things.
type PolicySelector struct {
	Users   []string `json:"users,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	Tenants []string `json:"tenants,omitempty"`
	Apps    []string `json:"apps,omitempty"`
	// Withheld says that the selector names more than what is here: it is not everybody's to know.
	Withheld bool `json:"withheld,omitempty" doc:"It names more, which is about tenants that you may not see"`
}

// PolicyProblem is one thing that is wrong with a policy file.
type PolicyProblem struct {
	Path    string `json:"path,omitempty" example:"policies[2].when"`
	Line    int    `json:"line,omitempty" doc:"From 1"`
	Column  int    `json:"column,omitempty" doc:"In a condition, from 1"`
	Message string `json:"message"`
}

type policiesAnswer struct {
	Body struct {
		Version  string         `json:"version" doc:"Identity of the set"`
		Source   string         `json:"source" doc:"The file's name, or \"shipped\""`
		Loaded   time.Time      `json:"loaded" doc:"When this process read them"`
		Problem  string         `json:"problem,omitempty" doc:"Why the file as it is now is not what is shown: it cannot be loaded, and the one before stays in force"`
		Policies []Policy       `json:"policies" nullable:"false" doc:"Strongest action first: the order in which they are evaluated. Those that can be for none of your tenants are left out"`
		Former   []FormerPolicy `json:"former,omitempty" doc:"What policies have done in the span that are not in force any more"`
		YAML     string         `json:"yaml,omitempty" doc:"The text as a whole; of a file, for who may see all tenants"`
		From     time.Time      `json:"from"`
		To       time.Time      `json:"to"`
		History  string         `json:"history" enum:"ok,away" doc:"With away the records are missing, not zero"`
	}
}

// FormerPolicy is what a policy has done that is not in force any more.
type FormerPolicy struct {
	Name   string              `json:"name"`
	Record report.PolicyRecord `json:"record"`
}

type checkPolicy struct {
	Body struct {
		YAML string `json:"yaml" maxLength:"262144"`
	}
}

type checkedPolicy struct {
	Body struct {
		Problems []PolicyProblem `json:"problems" nullable:"false" doc:"Everything that is wrong; empty for policies that can be loaded"`
		Version  string          `json:"version,omitempty" doc:"Identity of the set, when nothing is wrong"`
		Policies int             `json:"policies" doc:"How many there are"`
	}
}

func (a *API) describePolicies(api huma.API) {
	register(a, api, "policies", "/v1/policies", "The policies in force and what they have done", ScopeRead, a.policies)
	register(a, api, "check-policy", "POST /v1/policies/check", "Say what is wrong with policies", ScopeBacktest, a.checkPolicy, taking(maxPolicyBody), aside)
}

func (a *API) policies(ctx context.Context, who *principal, q *Window) (*policiesAnswer, error) {
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	force := a.inForce.now(time.Now())
	answer := &policiesAnswer{}
	b := &answer.Body
	b.Version, b.Source, b.Loaded = force.set.Version(), force.source, force.loaded
	switch {
	case who.tenants.All || a.cfg.PolicyFile == "": // the shipped ones name nobody
		b.Problem, b.YAML = force.problem, string(force.text)
	case force.problem != "":
		b.Problem = "The file as it is now cannot be loaded; who may see all tenants sees why."
	}
	b.From, b.To, b.History = span.From.Time(), span.To.Time(), "ok"
	// What is in force is known without the history.
	records, err := a.deps.History.PolicyRecords(ctx, who.tenants.Narrow(q.Tenant), span, now())
	switch {
	case errors.Is(err, report.ErrUnavailable):
		b.History = "away"
	case err != nil:
		return nil, a.refusal(err)
	}
	b.Policies = make([]Policy, 0, len(force.set.Policies()))
	for _, p := range force.set.Policies() {
		view, ok := policyFor(p, who.tenants)
		if !ok {
			continue
		}
		view.Record = records[p.Name]
		delete(records, p.Name)
		b.Policies = append(b.Policies, view)
	}
	for _, name := range slices.Sorted(maps.Keys(records)) {
		b.Former = append(b.Former, FormerPolicy{Name: name, Record: records[name]})
	}
	return answer, nil
}

// policyFor is a policy as somebody with some tenants may see it: without what names other tenants, or people of others. One
// that can be for none of theirs is not shown at all. Conditions are, as they decide on their people too.
func policyFor(p *policy.Policy, tenants report.Scope) (Policy, bool) {
	view := policyOf(p)
	if tenants.All {
		return view, true
	}
	in := func(list []string, tenant string) bool {
		return slices.ContainsFunc(list, func(t string) bool { return strings.EqualFold(t, tenant) })
	}
	concerned := func(tenant string) bool {
		return (len(p.For.Tenants) == 0 || in(p.For.Tenants, tenant)) && !in(p.Except.Tenants, tenant)
	}
	if !slices.ContainsFunc(tenants.Tenants, concerned) {
		return Policy{}, false
	}
	foreign := func(tenant string) bool { return !in(tenants.Tenants, tenant) }
	// The names in both selectors are of the tenants that the policy is for.
	own := len(p.For.Tenants) > 0 && !slices.ContainsFunc(p.For.Tenants, foreign)
	for _, s := range []*PolicySelector{view.For, view.Except} {
		if s == nil {
			continue
		}
		whole := *s
		s.Tenants = slices.DeleteFunc(slices.Clone(s.Tenants), foreign)
		if !own {
			s.Users, s.Groups, s.Apps = nil, nil, nil
		}
		s.Withheld = len(s.Tenants) < len(whole.Tenants) || len(s.Users)+len(s.Groups)+len(s.Apps) < len(whole.Users)+len(whole.Groups)+len(whole.Apps)
	}
	return view, true
}

func policyOf(p *policy.Policy) Policy {
	seconds := func(m events.Millis) int64 { return int64(m / events.Second) }
	return Policy{
		Name: p.Name, Number: p.Number, Version: p.Version, Owner: p.Owner, Description: p.Description, Mode: p.Mode, Priority: p.Priority,
		Condition: p.When, Unprompted: p.Unprompted(), For: selectorOf(&p.For), Except: selectorOf(&p.Except), Cooldown: seconds(p.Cooldown),
		Action: p.Then.Action, ACRValues: p.Then.ACRValues, MaxAge: p.Then.MaxAge, TTL: seconds(p.Then.TTL), Scope: p.Then.Scope,
		Credential: p.Then.CredentialChange, Message: p.Then.Message,
	}
}

func selectorOf(s *policy.Selector) *PolicySelector {
	if len(s.Users)+len(s.Groups)+len(s.Tenants)+len(s.Apps) == 0 {
		return nil
	}
	return &PolicySelector{Users: s.Users, Groups: s.Groups, Tenants: s.Tenants, Apps: s.Apps}
}

func (a *API) checkPolicy(ctx context.Context, _ *principal, q *checkPolicy) (*checkedPolicy, error) {
	set, problems, err := a.parsePolicies(ctx, q.Body.YAML)
	if err != nil {
		return nil, err
	}
	answer := &checkedPolicy{}
	answer.Body.Problems = append([]PolicyProblem{}, problems...)
	if set != nil {
		answer.Body.Version, answer.Body.Policies = set.Version(), len(set.Policies())
	}
	return answer, nil
}

// parsePolicies reads policies, one text at a time: what they cost is the sender's to choose.
func (a *API) parsePolicies(ctx context.Context, text string) (*policy.Set, []PolicyProblem, error) {
	wait := time.NewTimer(a.cfg.QuestionWait)
	defer wait.Stop()
	select {
	case a.parsing <- struct{}{}:
		defer func() { <-a.parsing }()
	case <-wait.C:
		return nil, nil, unavailable(busy, "Other policies are being checked; ask again soon.")
	case <-ctx.Done():
		return nil, nil, a.refusal(ctx.Err())
	}
	set, err := detector.ParsePolicies([]byte(text))
	if err != nil {
		return nil, problemsOf(err), nil
	}
	return set, nil, nil
}
