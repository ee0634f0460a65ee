// Package org is what is known of a tenant as a whole: which networks attack it, which are its own, what its people use.
//
// [State] folds sightings of all the tenant's users into that knowledge and says which users have to hear of it; [Context]
// is the part of it that every user's decision may use. Both are pure: the same sightings in the same order give the same
// verdicts. All times are the events' own.
package org

import (
	"math"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
)

// Context is a tenant's context, ready for look-ups. It is immutable and safe for concurrent use. A nil Context knows
// nothing.
type Context struct {
	told                                     *events.OrgContext
	countries, networks, cells, apps, agents map[string]Term
	egress                                   map[string]struct{}
	hubs                                     map[uint32]struct{}
	thresholds                               map[string]events.OrgThreshold
	prior                                    *familiarity.Prior
}

// Term is something in use in the tenant, by so many users.
type Term struct{ Users int }

// NewContext prepares a context as the network stage told it.
func NewContext(told *events.OrgContext) *Context {
	if told == nil {
		return nil
	}
	index := func(list []events.OrgTerm) map[string]Term {
		m := make(map[string]Term, len(list))
		for _, t := range list {
			m[t.Value] = Term{Users: t.Users}
		}
		return m
	}
	c := &Context{
		told: told, countries: index(told.Countries), networks: index(told.Networks), cells: index(told.Cells),
		apps: index(told.Apps), agents: index(told.Agents), egress: map[string]struct{}{}, hubs: map[uint32]struct{}{},
		thresholds: map[string]events.OrgThreshold{}, prior: familiarity.PriorOf(told.Levels, told.Users, told.Logins),
	}
	for _, prefix := range told.Egress {
		c.egress[prefix] = struct{}{}
	}
	for _, asn := range told.Hubs {
		c.hubs[asn] = struct{}{}
	}
	for _, t := range told.Thresholds {
		c.thresholds[t.Class] = t
	}
	return c
}

// Told is what the network stage told, nil for a nil Context.
func (c *Context) Told() *events.OrgContext {
	if c == nil {
		return nil
	}
	return c.told
}

// Span is how long the tenant has been watched, in event time.
func (c *Context) Span() events.Millis {
	if c == nil {
		return 0
	}
	return c.told.Until - c.told.Since
}

// Country looks up a country by its two-letter code.
func (c *Context) Country(code string) (Term, bool) {
	if c == nil {
		return Term{}, false
	}
	t, ok := c.countries[code]
	return t, ok
}

// ASN looks up a network by its number.
func (c *Context) ASN(asn uint32) (Term, bool) {
	if c == nil {
		return Term{}, false
	}
	t, ok := c.networks[strconv.FormatUint(uint64(asn), 10)]
	return t, ok
}

// Cell looks up the whole-degree cell of a place in degrees.
func (c *Context) Cell(lat, lon float64) (Term, bool) {
	if c == nil {
		return Term{}, false
	}
	t, ok := c.cells[CellOf(lat, lon)]
	return t, ok
}

// CellOf names the whole-degree cell of a place: "52,5" is what lies between 52 and 53 north and 5 and 6 east.
func CellOf(lat, lon float64) string { return string(appendCell(nil, lat, lon)) }

func appendCell(b []byte, lat, lon float64) []byte {
	b = strconv.AppendInt(b, int64(math.Floor(lat)), 10)
	return strconv.AppendInt(append(b, ','), int64(math.Floor(lon)), 10)
}

// App looks up an application by its id.
func (c *Context) App(id string) (Term, bool) {
	if c == nil {
		return Term{}, false
	}
	t, ok := c.apps[id]
	return t, ok
}

// Agent looks up an operating system and browser family.
func (c *Context) Agent(os, browser string) (Term, bool) {
	if c == nil {
		return Term{}, false
	}
	t, ok := c.agents[os+" "+browser]
	return t, ok
}

// Egress tells whether a prefix, such as "192.0.2.0/24", was learned as the organisation's own.
func (c *Context) Egress(prefix string) bool {
	if c == nil {
		return false
	}
	_, ok := c.egress[prefix]
	return ok
}

// Hub tells whether a network moves its users about.
func (c *Context) Hub(asn uint32) bool {
	if c == nil {
		return false
	}
	_, ok := c.hubs[asn]
	return ok
}

// Threshold is the familiarity score above which a login of a class is unfamiliar; false when too few were seen.
func (c *Context) Threshold(class string) (events.OrgThreshold, bool) {
	if c == nil {
		return events.OrgThreshold{}, false
	}
	t, ok := c.thresholds[class]
	return t, ok
}

// Prior is what the familiarity score knows of all users, nil when nothing.
func (c *Context) Prior() *familiarity.Prior {
	if c == nil {
		return nil
	}
	return c.prior
}
