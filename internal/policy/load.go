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
	"unicode/utf8"

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
	maxMaxAge   = 365 * 24 * 3600
	maxACR      = 8
	maxLanguage = 16
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
	validACR      = regexp.MustCompile(`^[!#-\[\]-~]{1,128}$`) // what fits a quoted challenge parameter, without spaces
	validLanguage = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$`)
)

// Load reads and checks a policy file. Every problem is reported at once, each on a line of its own that starts with its
// path, such as "policies[2].when: 1:5: undeclared reference to 'evnt'".
func Load(text []byte) (*Set, error) {
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
	r := &reader{}
	set := r.set(document.Content[0])
	if len(r.problems) > 0 {
		return nil, errors.Join(r.problems...)
	}
	set.seal()
	return set, nil
}

// reader walks the YAML tree and collects problems with their paths.
type reader struct{ problems []error }

func (r *reader) bad(path, format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf("%s: "+format, append([]any{path}, args...)...))
}

func (r *reader) set(n *yaml.Node) *Set {
	s := &Set{}
	fields := r.mapping("", n, "version", "policies")
	if v, ok := fields["version"]; !ok {
		r.bad("version", "is missing, must be 1")
	} else if got := r.integer("version", v, 0, 1<<30); got != 1 {
		r.bad("version", "is %d, must be 1", got)
	}
	list, ok := fields["policies"]
	if !ok {
		r.bad("policies", "is missing")
		return s
	}
	items := r.sequence("policies", list)
	if len(items) > MaxPolicies {
		r.bad("policies", "has %d elements, at most %d are allowed", len(items), MaxPolicies)
		return s
	}
	seen := map[string]int{}
	for i, item := range items {
		path := "policies[" + strconv.Itoa(i) + "]"
		p := r.policy(path, item)
		if first, twice := seen[p.Name]; twice && p.Name != "" {
			r.bad(path+".name", "%q is already the name of policies[%d]", p.Name, first)
		} else {
			seen[p.Name] = i
		}
		s.policies = append(s.policies, p)
	}
	return s
}

func (r *reader) policy(path string, n *yaml.Node) *Policy {
	p := &Policy{Mode: Enforce}
	fields := r.mapping(path, n, "name", "version", "owner", "description", "mode", "priority", "when", "then")
	if fields == nil {
		return p
	}
	for _, required := range []string{"name", "when", "then"} {
		if fields[required] == nil {
			r.bad(path+"."+required, "is missing")
		}
	}
	if v := fields["name"]; v != nil {
		p.Name = r.text(path+".name", v)
		if !validName.MatchString(p.Name) {
			r.bad(path+".name", "is %.80q, must be 1 to 64 lower-case letters, digits and dashes", p.Name)
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
	if v := fields["when"]; v != nil {
		p.When = r.condition(path+".when", v)
		if p.When != "" {
			var err error
			if p.program, err = compile(p.When); err != nil {
				r.bad(path+".when", "%w", err)
			}
		}
	}
	if v := fields["then"]; v != nil {
		p.Then = r.then(path+".then", v)
	}
	return p
}

func (r *reader) condition(path string, n *yaml.Node) string {
	if !r.scalar(path, n) {
		return ""
	}
	switch {
	case strings.TrimSpace(n.Value) == "":
		r.bad(path, "is empty, must be a CEL expression")
		return ""
	case len(n.Value) > maxCondition:
		r.bad(path, "has %d bytes, at most %d are allowed", len(n.Value), maxCondition)
		return ""
	}
	return strings.TrimSpace(n.Value)
}

func (r *reader) then(path string, n *yaml.Node) Then {
	t := Then{}
	fields := r.mapping(path, n, "action", "acr_values", "max_age", "ttl", "scope", "message")
	if fields == nil {
		return t
	}
	if v := fields["action"]; v == nil {
		r.bad(path+".action", "is missing, must be one of %s", strings.Join(texts(events.Actions), ", "))
		return t
	} else if t.Action = events.Action(r.oneOf(path+".action", v, texts(events.Actions)...)); t.Action == "" {
		return t
	}
	if t.Action != events.StepUp && t.Action != events.RevokeSession {
		for _, key := range []string{"acr_values", "max_age", "ttl", "scope", "message"} {
			if fields[key] != nil {
				r.bad(path+"."+key, "means nothing with action %s, remove it", t.Action)
			}
		}
		return t
	}
	t.Scope, t.TTL = ScopeSession, events.Millis(defaultTTL.Milliseconds())
	if v := fields["scope"]; v != nil {
		t.Scope = Scope(r.oneOf(path+".scope", v, string(ScopeSession), string(ScopeUser)))
	}
	if v := fields["acr_values"]; v != nil {
		t.ACRValues = r.acrValues(path+".acr_values", v)
	} else if t.Action == events.StepUp {
		r.bad(path+".acr_values", "is missing, a step_up needs to say which proof is enough, such as [phr, mfa]")
	}
	if v := fields["max_age"]; v != nil {
		t.MaxAge = r.integer(path+".max_age", v, 0, maxMaxAge)
	}
	if v := fields["ttl"]; v != nil {
		t.TTL = r.ttl(path+".ttl", v)
	}
	if v := fields["message"]; v != nil {
		t.Message = r.message(path+".message", v)
	}
	return t
}

func (r *reader) acrValues(path string, n *yaml.Node) []string {
	items := r.sequence(path, n)
	if len(items) == 0 || len(items) > maxACR {
		r.bad(path, "has %d elements, must have 1 to %d", len(items), maxACR)
		return nil
	}
	var out []string
	for i, item := range items {
		at := path + "[" + strconv.Itoa(i) + "]"
		v := r.text(at, item)
		if !validACR.MatchString(v) {
			r.bad(at, "is %.80q, must be 1 to 128 printable characters without spaces, quotes and backslashes", v)
		}
		if slices.Contains(out, v) {
			r.bad(at, "repeats %q", v)
		}
		out = append(out, v)
	}
	return out
}

func (r *reader) ttl(path string, n *yaml.Node) events.Millis {
	d, err := time.ParseDuration(r.text(path, n))
	if err != nil || d < minTTL || d > maxTTL {
		r.bad(path, "is %.40q, must be a duration between 1m and 720h, such as 12h", n.Value)
		return 0
	}
	return events.Millis(d.Truncate(time.Second).Milliseconds())
}

func (r *reader) message(path string, n *yaml.Node) map[string]string {
	if n.Kind == yaml.MappingNode && len(n.Content)/2 > maxLanguage {
		r.bad(path, "has %d languages, at most %d are allowed", len(n.Content)/2, maxLanguage)
		return nil
	}
	fields := r.mapping(path, n)
	out := make(map[string]string, len(fields))
	for _, language := range slices.Sorted(maps.Keys(fields)) {
		v := fields[language]
		if !validLanguage.MatchString(language) {
			r.bad(path, "%.40q is no language, use tags such as en or pt-BR", language)
		}
		text := r.text(path+"."+language, v)
		if text == "" {
			r.bad(path+"."+language, "is empty")
		}
		out[language] = text
	}
	return out
}

// mapping reads an object; with no known keys every key is allowed. It returns nil when n is not an object.
func (r *reader) mapping(path string, n *yaml.Node, known ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		if path == "" {
			path = "policy file"
		}
		r.bad(path, "must be an object")
		return nil
	}
	out := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		switch {
		case key.Kind != yaml.ScalarNode:
			r.bad(path, "line %d: has a key that is no text", key.Line)
		case len(known) > 0 && !slices.Contains(known, key.Value):
			r.bad(at, "is unknown, the keys here are %s", strings.Join(known, ", "))
		case out[key.Value] != nil:
			r.bad(at, "is given twice")
		default:
			out[key.Value] = n.Content[i+1]
		}
	}
	return out
}

func (r *reader) sequence(path string, n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		r.bad(path, "must be a list")
		return nil
	}
	return n.Content
}

func (r *reader) scalar(path string, n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode {
		r.bad(path, "is an alias, write the value itself")
		return false
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.bad(path, "must be a single value")
		return false
	}
	return true
}

func (r *reader) text(path string, n *yaml.Node) string {
	if !r.scalar(path, n) {
		return ""
	}
	if !utf8.ValidString(n.Value) || len(n.Value) > maxText {
		r.bad(path, "has %d bytes, must be valid text of at most %d", len(n.Value), maxText)
		return ""
	}
	return n.Value
}

func (r *reader) integer(path string, n *yaml.Node, low, high int) int {
	if !r.scalar(path, n) {
		return low
	}
	v, err := strconv.Atoi(n.Value)
	if err != nil || v < low || v > high {
		r.bad(path, "is %.40q, must be a whole number between %d and %d", n.Value, low, high)
		return low
	}
	return v
}

func (r *reader) oneOf(path string, n *yaml.Node, allowed ...string) string {
	v := r.text(path, n)
	if !slices.Contains(allowed, v) {
		r.bad(path, "is %.40q, must be one of %s", v, strings.Join(allowed, ", "))
		return ""
	}
	return v
}
