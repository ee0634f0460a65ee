package report

import "github.com/countersign-io/countersign/internal/events"

// MapQuery asks where things happened. Zero fields do not filter.
type MapQuery struct {
	Scope Scope
	Span  Span
	// Now tells what is too old to be known by the hour.
	Now events.Millis
	// Severity restricts the arcs.
	Severity []events.Severity
}

// MapPlace is a place of the map, with what happened there.
type MapPlace struct {
	Location
	Events   uint64 `json:"events"`
	Users    uint64 `json:"users"`
	Findings uint64 `json:"findings" doc:"Active findings"`
}

// Arc is an impossible way between two places, from a finding.
type Arc struct {
	Finding   string          `json:"finding"`
	Detection string          `json:"detection"`
	Severity  events.Severity `json:"severity"`
	Tenant    string          `json:"tenant"`
	User      string          `json:"user"`
	Name      string          `json:"name,omitempty" doc:"For people only; may be anything"`
	Time      events.Millis   `json:"time"`
	From      Location        `json:"from"`
	To        Location        `json:"to"`
	SpeedKmh  float64         `json:"speed_kmh"`
}

// WorldMap is where things happened in a span, which is widened to whole hours, and to whole days where it is longer
// than a week or long ago.
type WorldMap struct {
	From   events.Millis `json:"from"`
	To     events.Millis `json:"to"`
	Places []MapPlace    `json:"places" nullable:"false" doc:"At most 500, those with most events first"`
	Arcs   []Arc         `json:"arcs" nullable:"false" doc:"At most 200 active findings, the most severe and newest first"`
}
