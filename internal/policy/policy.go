package policy

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/countersign-io/countersign/internal/events"
)

// revision goes into every version. It grows when the same policy text may decide otherwise than before.
const revision = "2"

// Mode says whether a policy acts or only watches.
type Mode string

// The modes.
const (
	Enforce     Mode = "enforce"
	OnlyObserve Mode = "observe"
)

// Scope says what a requirement binds.
type Scope string

// The scopes: the session of the event, or every session of the user.
const (
	ScopeSession Scope = "session"
	ScopeUser    Scope = "user"
)

// ProofWanted is the proof that a policy asks for, in words that mean the same with every identity provider.
type ProofWanted string

// The proofs. AnyMFA takes any two factors, a phishing-resistant method too; PhishingResistant takes that only.
const (
	AnyMFA            ProofWanted = "any_mfa"
	PhishingResistant ProofWanted = "phishing_resistant"
)

// defaultProofs are the classes that stand for the proofs, before a file adds its provider's.
func defaultProofs() map[ProofWanted][]string {
	return map[ProofWanted][]string{PhishingResistant: {acrResistant}, AnyMFA: {acrResistant, acrMFA}}
}

// Policy is one condition and its consequence, as loaded. It is read-only.
type Policy struct {
	Name string
	// Number is the version its author gave, 0 when none; Version is the identity of its content, such as
	// "3-9f86d081884c".
	Number      int
	Version     string
	Owner       string
	Description string
	Mode        Mode
	Priority    int
	// For is whom the policy is for, everybody when empty; Except is whom it is not for.
	For, Except Selector
	// Cooldown is how long the policy leaves a user alone who has met its requirement, or of whom it has told, in
	// milliseconds; 0 means not at all. A policy that can match without findings always has one, unless it ends sessions:
	// one that is over is not asked again.
	Cooldown events.Millis
	When     string
	Then     Then

	id      uint64 // of Version, for passes
	checked *cel.Ast
	program cel.Program
	// reach says, fact by fact, for which values the condition can hold without any finding; nil when it never can.
	reach []uint32
	// severities are the ranks of the worst finding with which it can hold.
	severities uint8
}

// Unprompted tells whether the condition can hold for an event without any active finding.
func (p *Policy) Unprompted() bool { return p.reach != nil }

// Then is the consequence of a policy.
type Then struct {
	Action events.Action
	// ACRValues are the authentication context classes one of which is enough, best first.
	ACRValues []string
	// MaxAge is the age of the proof that applications should ask for, in seconds.
	MaxAge int
	// TTL is how long a requirement stays open, in milliseconds.
	TTL   events.Millis
	Scope Scope
	// CredentialChange is set when the user has to change the credential, too.
	CredentialChange bool
	// Message is what the user is told, by BCP 47 language tag.
	Message map[string]string
}

// Set is a checked set of policies.
type Set struct {
	policies []*Policy // strongest action first, then priority, then name
	lists    lists
	breaker  BreakerLimits
	version  string

	// unprompted are the policies that can match without findings; reach is where, by fact and value.
	unprompted mask
	reach      [][]mask
	// prompted are those that can match with findings, by the rank of the worst.
	prompted [6]mask
}

// seal orders the policies and derives the versions.
func (s *Set) seal() {
	slices.SortFunc(s.policies, func(a, b *Policy) int {
		return cmp.Or(
			cmp.Compare(b.Then.Action.Rank(), a.Then.Action.Rank()),
			cmp.Compare(b.Priority, a.Priority),
			cmp.Compare(a.Name, b.Name),
		)
	})
	all := []string{
		"policies", revision, strconv.Itoa(s.breaker.PerMinute), strconv.FormatFloat(s.breaker.UserShare, 'g', -1, 64),
		strconv.Itoa(s.breaker.MinUsers),
	}
	lists := events.ID(append([]string{"lists"}, s.lists.text...)...)
	all = append(all, lists)
	for _, p := range s.policies {
		p.seal(lists)
		all = append(all, "policy", p.Name, p.Version)
	}
	s.version = events.ID(all...)[:16]
	s.chart()
}

// seal derives the version from the content of the policy and the identity of the lists it may ask.
func (p *Policy) seal(lists string) {
	fields := []string{
		"policy", revision, lists, p.Name, strconv.Itoa(p.Number), string(p.Mode), strconv.Itoa(p.Priority), p.When,
		strconv.FormatInt(int64(p.Cooldown), 10), string(p.Then.Action), strings.Join(p.Then.ACRValues, " "),
		strconv.Itoa(p.Then.MaxAge), strconv.FormatInt(int64(p.Then.TTL), 10), string(p.Then.Scope),
		strconv.FormatBool(p.Then.CredentialChange),
	}
	fields = append(append(fields, p.For.text()...), p.Except.text()...)
	for _, language := range slices.Sorted(maps.Keys(p.Then.Message)) {
		fields = append(fields, language, p.Then.Message[language])
	}
	p.Version = events.ID(fields...)[:12]
	if p.Number > 0 {
		p.Version = strconv.Itoa(p.Number) + "-" + p.Version
	}
	p.id = passID(p.Name, p.Version)
	p.checked = nil
}

// Version names the content of the set: it changes when any decision may change, and not with comments, order, owners
// and descriptions.
func (s *Set) Version() string { return s.version }

// Policies lists the policies, strongest action first. The elements are shared and must not be changed.
func (s *Set) Policies() []*Policy { return slices.Clone(s.policies) }

// Breaker are the limits of the tenants' breakers.
func (s *Set) Breaker() BreakerLimits { return s.breaker }

// label is the name people know: the author's version, not the hash.
func (p *Policy) label() string {
	if p.Number > 0 {
		return p.Name + " v" + strconv.Itoa(p.Number)
	}
	return p.Name
}
