package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// Sensitivity is how much harm is done with an application or resource.
type Sensitivity string

// The sensitivities. What no list names is normal.
const (
	LowSensitivity    Sensitivity = "low"
	NormalSensitivity Sensitivity = "normal"
	HighSensitivity   Sensitivity = "high"
)

// Sensitivities lists every sensitivity, lowest first.
var Sensitivities = []Sensitivity{LowSensitivity, NormalSensitivity, HighSensitivity}

// names is a set of ids and names, compared without regard to the case of ASCII letters, as identity providers do.
type names map[uint64][]string

func newNames(list []string) names {
	if len(list) == 0 {
		return nil
	}
	n := make(names, len(list))
	for _, v := range list {
		h := foldHash(v)
		n[h] = append(n[h], v)
	}
	return n
}

func (n names) has(name string) bool {
	if name == "" || len(n) == 0 {
		return false
	}
	return slices.ContainsFunc(n[foldHash(name)], func(v string) bool { return strings.EqualFold(v, name) })
}

func (n names) hasAny(list []string) bool { return len(n) > 0 && slices.ContainsFunc(list, n.has) }

// foldHash is FNV-1a of the text in lower case.
func foldHash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// lists are the classifications and named lists of a policy file.
type lists struct {
	apps, resources map[Sensitivity]names
	privileged      struct{ users, groups names }
	// named are for conditions, by "lists." and the name.
	named map[string][]string
	// text is what the version of the set is derived from.
	text []string
}

func sensitivityOf(classes map[Sensitivity]names, r *events.Ref) Sensitivity {
	if len(classes) == 0 {
		return NormalSensitivity
	}
	for _, s := range []Sensitivity{HighSensitivity, LowSensitivity} {
		if n := classes[s]; n.has(r.ID) || n.has(r.Name) {
			return s
		}
	}
	return NormalSensitivity
}

// isPrivileged is the source's word, or that of the list: either is enough.
func (l *lists) isPrivileged(u *events.User) events.Tri {
	if l.privileged.users.has(u.ID) || l.privileged.users.has(u.Name) || l.privileged.groups.hasAny(u.Groups) {
		return events.Yes
	}
	return u.Privileged
}

// Selector says whom a policy is for, or not for: ids and names, compared without regard to case.
type Selector struct {
	Users, Groups, Tenants, Apps []string

	users, groups, tenants, apps names
}

func (s *Selector) seal() {
	s.users, s.groups, s.tenants, s.apps = newNames(s.Users), newNames(s.Groups), newNames(s.Tenants), newNames(s.Apps)
}

// all reports whether the event is within every list that is given.
func (s *Selector) all(e *events.Event) bool {
	return (len(s.users) == 0 || s.users.has(e.User.ID) || s.users.has(e.User.Name)) &&
		(len(s.groups) == 0 || s.groups.hasAny(e.User.Groups)) &&
		(len(s.tenants) == 0 || s.tenants.has(e.Tenant)) &&
		(len(s.apps) == 0 || s.apps.has(e.App.ID) || s.apps.has(e.App.Name))
}

// any reports whether the event is in one of the lists.
func (s *Selector) any(e *events.Event) bool {
	return s.users.has(e.User.ID) || s.users.has(e.User.Name) || s.groups.hasAny(e.User.Groups) || s.tenants.has(e.Tenant) ||
		s.apps.has(e.App.ID) || s.apps.has(e.App.Name)
}

// text is what the version of a policy is derived from.
func (s *Selector) text() []string {
	var out []string
	for _, list := range [][]string{s.Users, s.Groups, s.Tenants, s.Apps} {
		out = append(append(out, "list"), slices.Sorted(slices.Values(list))...)
	}
	return out
}

func (l *lists) seal(apps, resources map[Sensitivity][]string, users, groups []string) {
	classes := func(what string, in map[Sensitivity][]string) map[Sensitivity]names {
		out := map[Sensitivity]names{}
		for _, s := range Sensitivities {
			if len(in[s]) > 0 && s != NormalSensitivity {
				out[s] = newNames(in[s])
				l.text = append(append(l.text, what, string(s)), slices.Sorted(slices.Values(in[s]))...)
			}
		}
		return out
	}
	l.apps, l.resources = classes("apps", apps), classes("resources", resources)
	l.privileged.users, l.privileged.groups = newNames(users), newNames(groups)
	l.text = append(append(l.text, "users"), slices.Sorted(slices.Values(users))...)
	l.text = append(append(l.text, "groups"), slices.Sorted(slices.Values(groups))...)
	for _, name := range slices.Sorted(maps.Keys(l.named)) {
		l.text = append(append(l.text, name), l.named[name]...)
	}
}
