package api

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

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
		Version  string    `json:"version" doc:"Identity of the set"`
		Source   string    `json:"source" doc:"The file's name, or \"shipped\""`
		Loaded   time.Time `json:"loaded" doc:"When this process read them"`
		Problem  string    `json:"problem,omitempty" doc:"Why the file as it is now is not what is shown: it cannot be loaded, and the one before stays in force"`
		Policies []Policy  `json:"policies" nullable:"false" doc:"Strongest action first: the order in which they are evaluated"`
		// Others are policies that have decided something in the span and are not in force any more.
		Others []FormerPolicy `json:"former,omitempty" doc:"What policies have done in the span that are not in force any more"`
		YAML   string         `json:"yaml" doc:"The text as a whole"`
		From   time.Time      `json:"from"`
		To     time.Time      `json:"to"`
		// History is away when the records could not be read.
		History string `json:"history" enum:"ok,away" doc:"With away the records are missing, not zero"`
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

func (a *API) policies(context.Context, *principal, *Window) (*policiesAnswer, error) {
	return nil, notConfigured("Policies are not available here.")
}

func (a *API) checkPolicy(context.Context, *principal, *checkPolicy) (*checkedPolicy, error) {
	return nil, notConfigured("Policies are not available here.")
}
