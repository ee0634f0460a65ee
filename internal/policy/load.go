package policy

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v3"

	"github.com/countersign-io/countersign/internal/events"
)

// The limits on a policy file.
const (
	MaxFile     = 1 << 20
	MaxPolicies = 256
	maxText     = 500
	minTTL      = time.Minute
	maxTTL      = 30 * 24 * time.Hour
	defaultTTL  = 12 * time.Hour
	// defaultCooldown is that of policies that need no finding.
	defaultCooldown = 12 * events.Hour
	maxFresh        = 365 * 24 * time.Hour
	maxMaxAge       = 365 * 24 * 3600
	maxACR          = 8
	maxLanguage     = 16
	maxList         = 2000
	maxNamed        = 64
	maxPerMinute    = 1_000_000
)

//go:embed default.yaml
var defaultYAML []byte

// DefaultYAML is the text of the shipped policies, for people who want to start from it.
func DefaultYAML() []byte { return slices.Clone(defaultYAML) }

// Default is the shipped set.
func Default() *Set {
	s, err := Load(defaultYAML)
	if err != nil {
		panic(fmt.Sprintf("policy: the embedded default: %v", err)) // a test loads it
	}
	return s
}

var (
	validName     = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	validListName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	validACR      = regexp.MustCompile(`^[!#-\[\]-~]{1,128}$`) // what fits a quoted challenge parameter, without spaces
	validLanguage = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$`)
	validContext  = regexp.MustCompile(`^c[1-9][0-9]?$`) // Entra has c1 to c99
)

// Load reads and checks a policy file. Every problem is reported at once, each on a line of its own that starts with its
// path and line, such as "policies[2].when (line 31): column 5: undeclared reference to 'evnt'". Where detections are given,
// conditions may name no others.
func Load(text []byte, detections ...string) (*Set, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("policy file has %d bytes, at most %d are allowed", len(text), MaxFile)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New("policy file is empty")
	} else if err != nil {
		return nil, fmt.Errorf("parsing the policy file: %w", err)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("policy file holds more than one document")
	}
	r := &reader{detections: detections}
	set := r.set(document.Content[0])
	if len(r.problems) > 0 {
		return nil, errors.Join(r.problems...)
	}
	return set, nil
}

func (r *reader) set(n *yaml.Node) *Set {
	s, proofs := &Set{breaker: DefaultBreakerLimits()}, defaultProofs()
	fields := r.mapping("", n, "version", "lists", "proofs", "breaker", "policies")
	if fields == nil {
		return s
	}
	if v, ok := fields["version"]; !ok {
		r.bad("version", n, "is missing, must be 1")
	} else if got := r.integer("version", v, 0, 1<<30); got != 1 {
		r.bad("version", v, "is %d, must be 1", got)
	}
	if v := fields["lists"]; v != nil {
		r.lists("lists", v, &s.lists)
	}
	if v := fields["proofs"]; v != nil {
		r.proofs("proofs", v, proofs)
	}
	if v := fields["breaker"]; v != nil {
		r.breaker("breaker", v, &s.breaker)
	}
	env, err := environmentWith(s.lists.named)
	if err != nil {
		r.bad("lists", n, "%w", err)
		return s
	}
	list, ok := fields["policies"]
	if !ok {
		r.bad("policies", n, "is missing")
		return s
	}
	items := r.sequence("policies", list)
	if len(items) > MaxPolicies {
		r.bad("policies", list, "has %d elements, at most %d are allowed", len(items), MaxPolicies)
		return s
	}
	r.policies(s, env, proofs, items)
	return s
}

// policies reads the policies and completes the set, when nothing is wrong.
func (r *reader) policies(s *Set, env *cel.Env, proofs map[ProofWanted][]string, items []*yaml.Node) {
	seen := map[string]int{}
	for i, item := range items {
		path := "policies[" + strconv.Itoa(i) + "]"
		p := r.policy(path, item, env, proofs)
		if first, twice := seen[p.Name]; twice && p.Name != "" {
			r.bad(path+".name", item, "%q is already the name of policies[%d]", p.Name, first)
		} else {
			seen[p.Name] = i
		}
		if p.checked != nil {
			if err := p.explore(env, &s.lists); err != nil {
				r.bad(path+".when", item, "%w", err)
			}
			if p.Unprompted() && p.Cooldown == 0 && (p.Then.Action != events.RevokeSession || p.Mode == OnlyObserve) {
				p.Cooldown = defaultCooldown // or it would speak up at every event
			}
		}
		s.policies = append(s.policies, p)
	}
	if len(r.problems) == 0 {
		s.seal()
	}
}

func (r *reader) policy(path string, n *yaml.Node, env *cel.Env, proofs map[ProofWanted][]string) *Policy {
	p := &Policy{Mode: Enforce}
	fields := r.mapping(path, n, "name", "version", "owner", "description", "mode", "priority", "for", "except", "cooldown", "when", "then")
	if fields == nil {
		return p
	}
	for _, required := range []string{"name", "when", "then"} {
		if fields[required] == nil {
			r.bad(path+"."+required, n, "is missing")
		}
	}
	if v := fields["name"]; v != nil {
		p.Name = r.text(path+".name", v)
		if !validName.MatchString(p.Name) {
			r.bad(path+".name", v, "is %.80q, must be 1 to 64 lower-case letters, digits and dashes", p.Name)
		}
	}
	if v := fields["version"]; v != nil {
		p.Number = r.integer(path+".version", v, 1, 1_000_000)
	}
	if v := fields["owner"]; v != nil {
		p.Owner = r.text(path+".owner", v)
	}
	if v := fields["description"]; v != nil {
		p.Description = r.text(path+".description", v)
	}
	if v := fields["mode"]; v != nil {
		p.Mode = Mode(r.oneOf(path+".mode", v, string(Enforce), string(OnlyObserve)))
	}
	if v := fields["priority"]; v != nil {
		p.Priority = r.integer(path+".priority", v, -1_000_000, 1_000_000)
	}
	if v := fields["for"]; v != nil {
		r.selector(path+".for", v, &p.For)
	}
	if v := fields["except"]; v != nil {
		r.selector(path+".except", v, &p.Except)
	}
	if v := fields["cooldown"]; v != nil {
		p.Cooldown = r.duration(path+".cooldown", v, minTTL, maxTTL)
	}
	if v := fields["when"]; v != nil {
		r.when(path+".when", v, env, p)
	}
	if v := fields["then"]; v != nil {
		p.Then = r.then(path+".then", v, proofs)
	}
	if v := fields["cooldown"]; v != nil && p.Then.Action == events.RevokeSession {
		// A cooldown follows the answer, and this has none. Were the user left alone from the revocation on, so would be
		// the intruder who signs in again.
		r.bad(path+".cooldown", v, "means nothing with action %s, which no proof answers: remove it, or ask for a %s", events.RevokeSession, events.StepUp)
	}
	return p
}

// when reads and compiles the condition. CEL's positions are turned into those of the file where YAML keeps its lines.
func (r *reader) when(path string, n *yaml.Node, env *cel.Env, p *Policy) {
	if !r.scalar(path, n) {
		return
	}
	switch {
	case strings.TrimSpace(n.Value) == "":
		r.bad(path, n, "is empty, must be a CEL expression")
		return
	case len(n.Value) > maxCondition:
		r.bad(path, n, "has %d bytes, at most %d are allowed", len(n.Value), maxCondition)
		return
	}
	p.When = strings.TrimSpace(n.Value)
	var problems []problem
	p.checked, p.program, problems = compile(env, p.When, r.detections)
	for _, problem := range problems {
		line := n.Line
		if n.Style == yaml.LiteralStyle {
			line += problem.line
		}
		if problem.line == 0 {
			r.bad(path, n, "%s", problem.text)
		} else {
			r.badLine(path, line, "column %d: %s", problem.column, problem.text)
		}
	}
}

func (r *reader) selector(path string, n *yaml.Node, s *Selector) {
	fields := r.mapping(path, n, "users", "groups", "tenants", "apps")
	if fields != nil && len(fields) == 0 {
		r.bad(path, n, "is empty, leave it out or name users, groups, tenants or apps")
	}
	for key, into := range map[string]*[]string{"users": &s.Users, "groups": &s.Groups, "tenants": &s.Tenants, "apps": &s.Apps} {
		if v := fields[key]; v != nil {
			if *into = r.texts(path+"."+key, v, maxList); len(*into) == 0 {
				r.bad(path+"."+key, v, "is empty, leave it out or name some")
			}
		}
	}
	s.seal()
}

func (r *reader) then(path string, n *yaml.Node, proofs map[ProofWanted][]string) Then {
	t := Then{}
	fields := r.mapping(path, n, "action", "proof", "acr_values", "fresh_within", "max_age", "ttl", "scope", "message", "credential_change")
	if fields == nil {
		return t
	}
	if v := fields["action"]; v == nil {
		r.bad(path+".action", n, "is missing, must be one of %s", strings.Join(texts(events.Actions), ", "))
		return t
	} else if t.Action = events.Action(r.oneOf(path+".action", v, texts(events.Actions)...)); t.Action == "" {
		return t
	}
	needless := []string{"credential_change"}
	switch t.Action { //nolint:exhaustive // the others take every key but that one
	case events.Observe, events.Notify:
		needless = []string{"proof", "acr_values", "fresh_within", "max_age", "ttl", "scope", "message", "credential_change"}
	case events.RevokeAll:
		needless = []string{"scope"}
	}
	for _, key := range needless {
		if v := fields[key]; v != nil {
			r.bad(path+"."+key, v, "means nothing with action %s, remove it", t.Action)
			delete(fields, key)
		}
	}
	if t.Action.Rank() < events.StepUp.Rank() {
		return t
	}
	t.Scope, t.TTL = ScopeSession, events.Millis(defaultTTL.Milliseconds())
	if t.Action == events.RevokeAll {
		t.Scope, t.CredentialChange = ScopeUser, true
	}
	if v := fields["scope"]; v != nil {
		t.Scope = Scope(r.oneOf(path+".scope", v, string(ScopeSession), string(ScopeUser)))
	}
	if v := fields["credential_change"]; v != nil {
		t.CredentialChange = r.boolean(path+".credential_change", v)
	}
	if v := fields["ttl"]; v != nil {
		t.TTL = r.duration(path+".ttl", v, minTTL, maxTTL)
	}
	if v := fields["message"]; v != nil {
		t.Message = r.message(path+".message", v)
	}
	r.wanted(path, n, fields, proofs, &t)
	return t
}

// wanted reads which proof is enough, and how fresh it has to be.
func (r *reader) wanted(path string, n *yaml.Node, fields map[string]*yaml.Node, proofs map[ProofWanted][]string, t *Then) {
	proof, acr := fields["proof"], fields["acr_values"]
	switch {
	case proof != nil && acr != nil:
		r.bad(path+".acr_values", acr, "is given besides proof, keep one of them")
	case proof != nil:
		t.ACRValues = proofs[ProofWanted(r.oneOf(path+".proof", proof, string(AnyMFA), string(PhishingResistant)))]
	case acr != nil:
		t.ACRValues = r.acrValues(path+".acr_values", acr)
	case t.Action != events.RevokeSession:
		r.bad(path+".proof", n, "is missing, a %s needs to say which proof is enough: any_mfa, phishing_resistant, or acr_values of your own", t.Action)
	}
	fresh, age := fields["fresh_within"], fields["max_age"]
	switch {
	case fresh != nil && age != nil:
		r.bad(path+".max_age", age, "is given besides fresh_within, keep one of them")
	case fresh != nil:
		t.MaxAge = int(r.duration(path+".fresh_within", fresh, 0, maxFresh) / events.Second)
	case age != nil:
		t.MaxAge = r.integer(path+".max_age", age, 0, maxMaxAge)
	}
}

func (r *reader) acrValues(path string, n *yaml.Node) []string {
	out := r.texts(path, n, maxACR)
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		r.bad(path, n, "has 0 elements, must have 1 to %d", maxACR)
	}
	for i, v := range out {
		if !validACR.MatchString(v) {
			r.bad(path+"["+strconv.Itoa(i)+"]", n, "is %.80q, must be 1 to 128 printable characters without spaces, quotes and backslashes", v)
		}
	}
	return out
}

func (r *reader) message(path string, n *yaml.Node) map[string]string {
	if n.Kind == yaml.MappingNode && len(n.Content)/2 > maxLanguage {
		r.bad(path, n, "has %d languages, at most %d are allowed", len(n.Content)/2, maxLanguage)
		return nil
	}
	fields := r.mapping(path, n)
	out := make(map[string]string, len(fields))
	for _, language := range slices.Sorted(maps.Keys(fields)) {
		v := fields[language]
		if !validLanguage.MatchString(language) {
			r.bad(path, v, "%.40q is no language, use tags such as en or pt-BR", language)
		}
		text := r.text(path+"."+language, v)
		if text == "" {
			r.bad(path+"."+language, v, "is empty")
		}
		out[language] = text
	}
	return out
}

func (r *reader) lists(path string, n *yaml.Node, l *lists) {
	fields := r.mapping(path, n, "apps", "resources", "privileged", "named")
	classes := map[string]map[Sensitivity][]string{}
	for _, key := range []string{"apps", "resources"} {
		if v := fields[key]; v != nil {
			classes[key] = r.classes(path+"."+key, v)
		}
	}
	var users, groups []string
	if v := fields["privileged"]; v != nil {
		inner := r.mapping(path+".privileged", v, "users", "groups")
		if u := inner["users"]; u != nil {
			users = r.texts(path+".privileged.users", u, maxList)
		}
		if g := inner["groups"]; g != nil {
			groups = r.texts(path+".privileged.groups", g, maxList)
		}
	}
	if v := fields["named"]; v != nil {
		inner := r.mapping(path+".named", v)
		if len(inner) > maxNamed {
			r.bad(path+".named", v, "has %d lists, at most %d are allowed", len(inner), maxNamed)
			inner = nil
		}
		l.named = make(map[string][]string, len(inner))
		for _, name := range slices.Sorted(maps.Keys(inner)) {
			at := path + ".named." + name
			if !validListName.MatchString(name) {
				r.bad(at, inner[name], "is no name, must be 1 to 64 lower-case letters, digits and underscores")
				continue
			}
			l.named[listPrefix+name] = r.texts(at, inner[name], maxList)
		}
	}
	l.seal(classes["apps"], classes["resources"], users, groups)
}

// classes reads a classification: no name may be in two classes.
func (r *reader) classes(path string, n *yaml.Node) map[Sensitivity][]string {
	fields := r.mapping(path, n, texts(Sensitivities)...)
	out := map[Sensitivity][]string{}
	seen := map[string]Sensitivity{}
	for _, s := range Sensitivities {
		v := fields[string(s)]
		if v == nil {
			continue
		}
		at := path + "." + string(s)
		out[s] = r.texts(at, v, maxList)
		for _, name := range out[s] {
			key := strings.ToLower(name)
			if other, twice := seen[key]; twice && other != s {
				r.bad(at, v, "%q is also in %s", name, other)
			}
			seen[key] = s
		}
	}
	return out
}

// proofs reads the names that identity providers have for our proofs. What is enough for the stronger is enough for the
// weaker.
func (r *reader) proofs(path string, n *yaml.Node, into map[ProofWanted][]string) {
	fields := r.mapping(path, n, string(PhishingResistant), string(AnyMFA))
	extra := func(kind ProofWanted) []string {
		v := fields[string(kind)]
		if v == nil {
			return nil
		}
		at := path + "." + string(kind)
		inner := r.mapping(at, v, "acr_values", "entra")
		var out []string
		if a := inner["acr_values"]; a != nil {
			out = r.acrValues(at+".acr_values", a)
		}
		if e := inner["entra"]; e != nil {
			if context := r.text(at+".entra", e); !validContext.MatchString(context) {
				r.bad(at+".entra", e, "is %.40q, must be the id of an authentication context, c1 to c99", context)
			} else {
				out = append(out, context)
			}
		}
		return out
	}
	strong := unique(append(slices.Clone(into[PhishingResistant]), extra(PhishingResistant)...))
	into[PhishingResistant] = strong
	into[AnyMFA] = unique(append(append(slices.Clone(strong), acrMFA), extra(AnyMFA)...))
	if got := len(into[AnyMFA]); got > maxACR {
		r.bad(path, n, "comes to %d values, at most %d are allowed", got, maxACR)
	}
}

func unique(list []string) []string {
	var out []string
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func (r *reader) breaker(path string, n *yaml.Node, b *BreakerLimits) {
	fields := r.mapping(path, n, "per_minute", "user_share", "min_users")
	if v := fields["per_minute"]; v != nil {
		b.PerMinute = r.integer(path+".per_minute", v, 1, maxPerMinute)
	}
	if v := fields["user_share"]; v != nil {
		b.UserShare = r.fraction(path+".user_share", v, 0.001, 1)
	}
	if v := fields["min_users"]; v != nil {
		b.MinUsers = r.integer(path+".min_users", v, 1, 10_000_000)
	}
}
