package history

import (
	"context"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// seenTop is how many of each a profile lists.
const seenTop = 20

// reported leaves out what countersign told itself: it is in a user's partition of the log, and nothing that the user did.
const reported = "kind NOT IN ('verdict', 'context', 'erasure')"

// failed tells events that count as failures.
const failed = "outcome IN ('failure', 'blocked')"

// A dimension is one way to sort events. Its key names a group; "" is unknown and in no group.
type dimension string

const (
	byPlace   dimension = "place"
	byDevice  dimension = "device"
	byNetwork dimension = "network"
	byApp     dimension = "app"
	bySession dimension = "session"
	byPerson  dimension = "person"
)

// keys are the dimensions' expressions over a row of events.
var keys = map[dimension]string{
	byPlace: `multiIf(country != '' OR city != '', concat(country, '/', city),
    lat != 0 OR lon != 0, concat(toString(round(lat, 1)), ',', toString(round(lon, 1))), '')`,
	byDevice: `multiIf(device_id != '', device_id,
    os != '' OR browser != '' OR device_type != '', concat(os, '/', browser, '/', device_type), '')`,
	byNetwork: `multiIf(prefix != '', prefix, asn != 0, concat('AS', toString(asn)), '')`,
	byApp:     `if(app_id != '', app_id, toString(app_name))`,
	bySession: `session_id`,
	// A tenant holds no slash.
	byPerson: `concat(tenant, '/', user_id)`,
}

// sortedBy selects the rows of events that hold, each once, with the key of every dimension beside what tells of it.
func sortedBy(dimensions []dimension, where string, more ...string) string {
	var b strings.Builder
	b.WriteString("SELECT time, tenant, user_id, user_name, user_type, outcome, session_id, city, region, country, lat, lon, radius_km, prefix, asn, org, classes, os, browser, device_type, app_name")
	for _, d := range dimensions {
		b.WriteString(",\n    " + keys[d] + " AS " + string(d) + "_key")
	}
	for _, m := range more {
		b.WriteString(",\n    " + m)
	}
	// Not FINAL: within the order of the table this keeps the newest writing of each row at a third of the cost.
	b.WriteString("\nFROM ${database}.events\nWHERE " + where + "\n  AND " + reported +
		"\nORDER BY tenant, user_id, time, id, logged DESC\nLIMIT 1 BY tenant, user_id, time, id")
	return b.String()
}

// sets are the grouping sets of dimensions, and lane the expressions that tell which dimension a group is of, and its key.
func sets(dimensions []dimension) (sets, lane, key string) {
	each := func(format func(d string) string, between string) string {
		list := make([]string, len(dimensions))
		for i, d := range dimensions {
			list[i] = format(string(d))
		}
		return strings.Join(list, between)
	}
	return each(func(d string) string { return "(" + d + "_key)" }, ", "),
		"multiIf(" + each(func(d string) string { return "grouping(" + d + "_key) = 0, '" + d + "'" }, ", ") + ", '')",
		"concat(" + each(func(d string) string { return d + "_key" }, ", ") + ", '')"
}

// newest is what the newest event of a group tells of it, in the order in which group.dest takes it, and its newest name.
const newest = `(argMax((city, region, country, lat, lon, radius_km, prefix, asn, org, classes, os, browser, device_type, app_name), time) AS n).1,
    n.2, n.3, n.4, n.5, n.6, n.7, n.8, n.9, n.10, n.11, n.12, n.13, n.14, argMaxIf(user_name, time, user_name != ''), toString(argMax(user_type, time))`

// group is one group of events of one dimension.
type group struct {
	of                        dimension
	key                       string
	first, last               int64
	events, failures          uint64
	city, region, country     string
	lat, lon                  float64
	radius                    float32
	prefix                    string
	asn                       uint32
	org, classes, os, browser string
	deviceType, app           string
	name, userType            string
}

// dest are the destinations of newest.
func (g *group) dest() []any {
	return []any{
		&g.city, &g.region, &g.country, &g.lat, &g.lon, &g.radius, &g.prefix, &g.asn, &g.org, &g.classes,
		&g.os, &g.browser, &g.deviceType, &g.app, &g.name, &g.userType,
	}
}

// label is a group's name for people.
func (g *group) label() string {
	switch g.of {
	case byPlace:
		return joined(", ", g.city, g.country, g.key)
	case byDevice:
		return joined(" · ", g.os, g.browser, g.deviceType, g.key)
	case byNetwork:
		return joined(" · ", g.prefix, g.org, g.key)
	case byApp:
		return joined("", g.app, g.key)
	case byPerson:
		return joined("", g.name, g.key)
	case bySession:
		return g.key
	}
	return g.key
}

// joined joins those of the texts that are there; the last one stands in when nothing is. An empty separator means the
// first that is there.
func joined(separator string, texts ...string) string {
	instead := texts[len(texts)-1]
	list := slices.DeleteFunc(slices.Clone(texts[:len(texts)-1]), func(s string) bool { return s == "" })
	if len(list) == 0 {
		return instead
	}
	if separator == "" {
		return list[0]
	}
	return strings.Join(list, separator)
}

func (g *group) seen() report.Seen {
	s := report.Seen{
		Key: g.key, Label: g.label(), First: millis(g.first), Last: millis(g.last), Events: g.events, Failures: g.failures,
	}
	if g.of == byPlace {
		s.Location = g.location()
	}
	if g.of == byNetwork {
		s.Network = &report.NetworkName{Prefix: g.prefix, ASN: g.asn, Org: g.org, Classes: splitClasses(g.classes)}
	}
	return s
}

// location is where the newest event was; nil when its place is not known.
func (g *group) location() *report.Location {
	if g.lat == 0 && g.lon == 0 {
		return nil
	}
	return &report.Location{Lat: g.lat, Lon: g.lon, RadiusKm: float64(g.radius), City: g.city, Region: g.region, Country: g.country}
}

func splitClasses(classes string) []string {
	if classes == "" {
		return nil
	}
	return strings.Split(classes, ",")
}

// grouped sorts the events that hold by each dimension, in one pass over them: the most frequent groups, up to top of each, but
// sessions by the newest. The group of no dimension is that of all the events; it is there also when there are none.
func (s *Store) grouped(ctx context.Context, where *conditions, top int, dimensions ...dimension) (map[dimension][]group, error) {
	groupings, lane, key := sets(dimensions)
	groups := map[dimension][]group{"": {{}}}
	err := s.rows(ctx, `SELECT `+lane+` AS lane, `+key+` AS group_key,
    toUnixTimestamp64Milli(min(time)), toUnixTimestamp64Milli(max(time)) AS last, count() AS events, countIf(`+failed+`),
    `+newest+`
FROM (
`+sortedBy(dimensions, where.String())+`
)
GROUP BY GROUPING SETS (`+groupings+`, ())
HAVING group_key != '' OR (lane = '' AND events > 0)
ORDER BY if(lane = 'session', last, toInt64(events)) DESC, last DESC, group_key
LIMIT {top:UInt32} BY lane`, where.with(named("top", uint32(top))), func(r rowScanner) error {
		var g group
		var of string
		if err := r.Scan(append([]any{&of, &g.key, &g.first, &g.last, &g.events, &g.failures}, g.dest()...)...); err != nil {
			return err
		}
		if g.of = dimension(of); of == "" {
			groups[""] = []group{g}
			return nil
		}
		groups[g.of] = append(groups[g.of], g)
		return nil
	})
	return groups, err
}

func seenList(groups []group) []report.Seen {
	list := make([]report.Seen, len(groups))
	for i := range groups {
		list[i] = groups[i].seen()
	}
	return list
}

func surroundings(groups map[dimension][]group) report.Surroundings {
	return report.Surroundings{
		Places: seenList(groups[byPlace]), Devices: seenList(groups[byDevice]),
		Networks: seenList(groups[byNetwork]), Apps: seenList(groups[byApp]),
	}
}

func seenUsers(groups []group) []report.SeenUser {
	list := make([]report.SeenUser, len(groups))
	for i := range groups {
		g := &groups[i]
		tenant, user, _ := strings.Cut(g.key, "/")
		list[i] = report.SeenUser{
			Tenant: tenant, User: user, Name: g.name, First: millis(g.first), Last: millis(g.last), Events: g.events, Failures: g.failures,
		}
	}
	return list
}

// one binds a question to one tenant of the scope: what is outside of it finds nothing.
func one(scope report.Scope, tenant string) *conditions {
	c := within(scope.Narrow(tenant))
	if tenant == "" {
		c.and("false")
	}
	return c
}

// ofUser binds a question to one user. Unlike equal, it finds nothing for "".
func ofUser(scope report.Scope, tenant, user string) *conditions {
	return one(scope, tenant).and("user_id = {user:String}", named("user", user))
}

// findingLines reads findings as lines of a list, newest first. Their records, which have the title and the summary, are read
// for those only that are listed.
func (s *Store) findingLines(ctx context.Context, where *conditions, limit int) ([]report.FindingLine, error) {
	list := []report.FindingLine{}
	err := s.rows(ctx, `SELECT `+hexID+`, tenant, user_id, user_name, toUnixTimestamp64Milli(time), detection, severity, disposition, session_id,
    JSONExtractString(raw, 'title'), JSONExtractString(raw, 'summary')
FROM ${database}.findings
WHERE (tenant, time, id) IN (
    SELECT tenant, time, id
    FROM ${database}.findings
    WHERE `+where.String()+`
    ORDER BY time DESC, id DESC
    LIMIT 1 BY tenant, time, id
    LIMIT {limit:UInt32}
)
ORDER BY time DESC, id DESC, logged DESC
LIMIT 1 BY tenant, time, id`, where.with(named("limit", uint32(limit))), func(r rowScanner) error {
		var f report.FindingLine
		var at int64
		var severity, disposition string
		if err := r.Scan(&f.ID, &f.Tenant, &f.User, &f.Name, &at, &f.Detection, &severity, &disposition, &f.Session, &f.Title, &f.Summary); err != nil {
			return err
		}
		f.Time, f.Severity, f.Disposition = millis(at), events.Severity(severity), events.Disposition(disposition)
		list = append(list, f)
		return nil
	})
	return list, err
}
