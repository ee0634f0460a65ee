package incident

import (
	"errors"
	"fmt"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

// Route sends incidents that match to targets. Routes are asked in order; the first that matches ends the search unless it
// says to continue.
type Route struct {
	Name  string   `yaml:"name"`
	Match Match    `yaml:"match"`
	To    []string `yaml:"to"`
	// Resolved also sends when the incident is over.
	Resolved bool `yaml:"resolved"`
	Continue bool `yaml:"continue"`
}

// Match is what a route asks of an incident; an empty list matches all, several conditions must all hold.
type Match struct {
	// Severity is the least; "" is medium.
	Severity events.Severity `yaml:"severity"`
	Tenants  []string        `yaml:"tenants"`
	// Teams are the owners of policies.
	Teams      []string `yaml:"teams"`
	Policies   []string `yaml:"policies"`
	Detections []string `yaml:"detections"`
	Kinds      []Kind   `yaml:"kinds"`
}

// Validate reports every problem at once.
func (r Route) Validate() error {
	var errs []error
	if r.Name == "" || len(r.Name) > 100 {
		errs = append(errs, errors.New("name: must have 1 to 100 bytes"))
	}
	if len(r.To) == 0 || len(r.To) > 20 {
		errs = append(errs, fmt.Errorf("to: has %d targets, must have 1 to 20", len(r.To)))
	}
	if r.Match.Severity != "" && r.Match.Severity.Rank() == 0 {
		errs = append(errs, fmt.Errorf("match.severity: is %.40q, must be one of %s", r.Match.Severity, events.Severities))
	}
	for i, k := range r.Match.Kinds {
		if !slices.Contains(Kinds, k) {
			errs = append(errs, fmt.Errorf("match.kinds[%d]: is %.40q, must be one of %s", i, k, Kinds))
		}
	}
	return errors.Join(errs...)
}

// Matches reports whether the incident is the route's.
func (m *Match) Matches(i *Incident) bool {
	least := m.Severity
	if least == "" {
		least = events.Medium
	}
	one := func(allowed []string, is string) bool { return len(allowed) == 0 || slices.Contains(allowed, is) }
	return i.Severity.Rank() >= least.Rank() && one(m.Tenants, i.Tenant) && one(m.Teams, i.Team) && one(m.Policies, i.Policy) &&
		(len(m.Kinds) == 0 || slices.Contains(m.Kinds, i.Kind)) &&
		(len(m.Detections) == 0 || slices.ContainsFunc(i.Detections, func(d string) bool { return slices.Contains(m.Detections, d) }))
}

// targets are whom the routes tell of an incident, each with whether it is told of the end.
func targets(routes []Route, i *Incident) (names []string, resolved map[string]bool) {
	resolved = map[string]bool{}
	for k := range routes {
		r := &routes[k]
		if !r.Match.Matches(i) {
			continue
		}
		for _, t := range r.To {
			if !slices.Contains(names, t) {
				names = append(names, t)
			}
			resolved[t] = resolved[t] || r.Resolved
		}
		if !r.Continue {
			break
		}
	}
	return names, resolved
}
