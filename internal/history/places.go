package history

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// Limits of the map.
const (
	maxPlaces = 500
	maxArcs   = 200
)

// spot names a place as it is counted.
type spot struct{ country, region, city string }

// Map answers with the places of a span and the ways between places that findings are about.
func (s *Store) Map(ctx context.Context, q report.MapQuery) (*report.WorldMap, error) {
	where := within(q.Scope)
	span := where.buckets(q.Span, q.Now)
	m := &report.WorldMap{From: span.From, To: span.To, Places: []report.MapPlace{}, Arcs: []report.Arc{}}
	asking, ctx := errgroup.WithContext(ctx)
	asking.Go(func() (err error) {
		m.Arcs, err = s.arcs(ctx, q, span)
		return err
	})
	findings, err := s.findingPlaces(ctx, q.Scope, span)
	if err != nil {
		return nil, errors.Join(err, asking.Wait())
	}
	// A place with a finding is on the map however quiet it is.
	var countries, regions, cities []string
	for p := range findings {
		countries, regions, cities = append(countries, p.country), append(regions, p.region), append(cities, p.city)
	}
	// A user's id names one in its tenant only, so users are counted in each.
	err = s.rows(ctx, `SELECT country, region, city, (anyIf(spot, spot.1 != 0 OR spot.2 != 0) AS at).1, at.2, at.3, sum(events_there) AS n, sum(users_there)
FROM (
    SELECT tenant, country, region, city, anyIf((lat, lon, radius_km), lat != 0 OR lon != 0) AS spot,
        uniqCombinedMerge(12)(events) AS events_there, uniqCombinedMerge(12)(users) AS users_there
    FROM ${database}.by_place
    WHERE `+where.String()+`
    GROUP BY tenant, country, region, city
)
GROUP BY country, region, city
HAVING at.1 != 0 OR at.2 != 0
ORDER BY (country, region, city) IN (SELECT arrayJoin(arrayZip({countries:Array(String)}, {regions:Array(String)}, {cities:Array(String)}))) DESC,
    n DESC, country, region, city
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(maxPlaces)), named("countries", some(countries)), named("regions", some(regions)), named("cities", some(cities))), func(r rowScanner) error {
		var p report.MapPlace
		var radius float32
		if err := r.Scan(&p.Country, &p.Region, &p.City, &p.Lat, &p.Lon, &radius, &p.Events, &p.Users); err != nil {
			return err
		}
		p.RadiusKm = float64(radius)
		p.Findings = findings[spot{p.Country, p.Region, p.City}]
		m.Places = append(m.Places, p)
		return nil
	})
	if err := errors.Join(err, asking.Wait()); err != nil {
		return nil, err
	}
	slices.SortStableFunc(m.Places, func(a, b report.MapPlace) int { return cmp.Compare(b.Events, a.Events) })
	return m, nil
}

// some is a list that the server takes for one: never nil.
func some(list []string) []string { return append([]string{}, list...) }

// findingPlaces counts active findings by place, at most those of as many places as the map shows.
func (s *Store) findingPlaces(ctx context.Context, scope report.Scope, span report.Span) (map[spot]uint64, error) {
	where := within(scope).during("time", span).and("disposition = 'active'").and("(lat != 0 OR lon != 0)")
	places := map[spot]uint64{}
	err := s.rows(ctx, `SELECT country, region, city, uniqExact(id) AS n
FROM ${database}.findings
WHERE `+where.String()+`
GROUP BY country, region, city
ORDER BY n DESC, country, region, city
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(maxPlaces))), func(r rowScanner) error {
		var p spot
		var n uint64
		if err := r.Scan(&p.country, &p.region, &p.city, &n); err != nil {
			return err
		}
		places[p] = n
		return nil
	})
	return places, err
}

// travels are the detections whose findings are about a way between two places.
var travels = []string{"LOC-01", "LOC-02", "LOC-03", "MFA-06"}

// arcs reads the ways of active findings, the most severe and then the newest first.
func (s *Store) arcs(ctx context.Context, q report.MapQuery, span report.Span) ([]report.Arc, error) {
	where := within(q.Scope).during("time", span).and("disposition = 'active'").
		and("detection IN {detections:Array(String)}", named("detections", travels))
	if len(q.Severity) > 0 {
		where.and("severity IN {severities:Array(String)}", named("severities", texts(q.Severity)))
	}
	list := []report.Arc{}
	// The records are read for those only that are shown.
	err := s.rows(ctx, `SELECT raw
FROM ${database}.findings
WHERE (tenant, time, id) IN (
    SELECT tenant, time, id
    FROM ${database}.findings
    WHERE `+where.String()+`
    ORDER BY indexOf({ranks:Array(String)}, severity) DESC, time DESC, id DESC
    LIMIT 1 BY tenant, time, id
    LIMIT {limit:UInt32}
)
ORDER BY indexOf({ranks:Array(String)}, severity) DESC, time DESC, id DESC, logged DESC
LIMIT 1 BY tenant, time, id`, where.with(named("limit", uint32(maxArcs)), named("ranks", texts(events.Severities))), func(r rowScanner) error {
		var raw string
		if err := r.Scan(&raw); err != nil {
			return err
		}
		f, err := events.DecodeFinding(json.RawMessage(raw))
		if err != nil {
			return fmt.Errorf("reading a finding of the history: %w", err)
		}
		if t := f.Evidence.Travel; t != nil && t.From.Place.Located() && t.To.Place.Located() {
			list = append(list, report.Arc{
				Finding: f.ID, Detection: f.Detection, Severity: f.Severity, Tenant: f.Tenant, User: f.User.ID, Name: f.User.Name, Time: f.Time,
				From: located(&t.From.Place), To: located(&t.To.Place), SpeedKmh: t.SpeedKmh,
			})
		}
		return nil
	})
	return list, err
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

func located(p *events.Place) report.Location {
	return report.Location{Lat: p.Lat, Lon: p.Lon, RadiusKm: p.RadiusKm, City: p.City, Region: p.Region, Country: p.Country}
}
