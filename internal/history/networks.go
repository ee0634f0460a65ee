package history

import (
	"context"
	"net/netip"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// Limits of the lists about one network.
const (
	maxNetworkUsers = 50
	maxNetworkApps  = 20
)

// Network answers with who came from an address or a prefix, in a span that is widened to whole days. Of a network that
// nobody came from, everything is zero.
func (s *Store) Network(ctx context.Context, q report.NetworkQuery) (*report.NetworkProfile, error) {
	prefix := q.Prefix
	if q.IP.IsValid() {
		prefix = prefixOf(q.IP)
	}
	span := report.Span{From: millis(floor(int64(q.Span.From), events.Day)), To: millis(floor(int64(q.Span.To)+events.Day-1, events.Day))}
	where := func() *conditions {
		c := within(q.Scope).and("prefix = {prefix:String}", named("prefix", prefix))
		if q.IP.IsValid() {
			c.and("ip = toIPv6({ip:String})", named("ip", q.IP.String()))
		}
		return c
	}
	counted := func() *conditions {
		return where().and("day >= toDate({from:Int64}, 'UTC') AND day < toDate({to:Int64}, 'UTC')",
			named("from", int64(span.From)/1000), named("to", int64(span.To)/1000))
	}
	n := &report.NetworkProfile{From: span.From, To: span.To, NetworkName: report.NetworkName{Prefix: prefix}, Users: []report.SeenUser{}}
	if q.IP.IsValid() {
		n.IP = q.IP.String()
	}
	if err := s.networkTotals(ctx, counted(), n); err != nil || n.Events == 0 {
		n.Apps, n.Findings = []report.NetworkApp{}, []report.FindingLine{}
		return n, err
	}
	c := counted()
	err := s.rows(ctx, `SELECT tenant, user_id, toUnixTimestamp64Milli(min(by_prefix.first)), toUnixTimestamp64Milli(max(by_prefix.last)) AS newest,
    uniqMerge(events) AS n, uniqIfMerge(failures)
FROM ${database}.by_prefix
WHERE `+c.String()+`
GROUP BY tenant, user_id
ORDER BY n DESC, newest DESC, tenant, user_id
LIMIT {limit:UInt32}`, c.with(named("limit", uint32(maxNetworkUsers))), func(r rowScanner) error {
		var u report.SeenUser
		var first, last int64
		if err := r.Scan(&u.Tenant, &u.User, &first, &last, &u.Events, &u.Failures); err != nil {
			return err
		}
		u.First, u.Last = millis(first), millis(last)
		n.Users = append(n.Users, u)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.nameUsers(ctx, q.Scope, n.Users); err != nil {
		return nil, err
	}
	if n.Apps, err = s.networkApps(ctx, counted(), q.Scope); err != nil {
		return nil, err
	}
	n.Findings, err = s.findingLines(ctx, where().during("time", span), maxFindingLines)
	return n, err
}

// prefixOf is the /24 or /48 around an address.
func prefixOf(ip netip.Addr) string {
	bits := 48
	if ip.Is4() {
		bits = 24
	}
	p, _ := ip.Prefix(bits) // it has no zone, and more bits
	return p.String()
}

func (s *Store) networkTotals(ctx context.Context, where *conditions, n *report.NetworkProfile) error {
	return s.rows(ctx, `SELECT toUnixTimestamp64Milli(min(by_prefix.first)), toUnixTimestamp64Milli(max(by_prefix.last)), uniqMerge(events), uniqIfMerge(failures),
    uniq(tenant, user_id), max(asn), max(org), max(classes), max(country)
FROM ${database}.by_prefix
WHERE `+where.String(), where.with(), func(r rowScanner) error {
		var first, last int64
		var classes string
		if err := r.Scan(&first, &last, &n.Events, &n.Failures, &n.UserCount, &n.ASN, &n.Org, &classes, &n.Country); err != nil {
			return err
		}
		if n.Events > 0 {
			n.First, n.Last = millis(first), millis(last)
		}
		n.Classes = splitClasses(classes)
		return nil
	})
}

// networkApps are the applications that were used from a network.
func (s *Store) networkApps(ctx context.Context, where *conditions, scope report.Scope) ([]report.NetworkApp, error) {
	list := []report.NetworkApp{}
	err := s.rows(ctx, `SELECT tenant, arrayJoin(apps) AS app, uniq(user_id) AS n, toUnixTimestamp64Milli(max(by_prefix.last)) AS newest
FROM ${database}.by_prefix
WHERE `+where.String()+`
GROUP BY tenant, app
ORDER BY n DESC, newest DESC, tenant, app
LIMIT {limit:UInt32}`, where.with(named("limit", uint32(maxNetworkApps))), func(r rowScanner) error {
		var a report.NetworkApp
		var last int64
		if err := r.Scan(&a.Tenant, &a.App, &a.Users, &last); err != nil {
			return err
		}
		a.Last = millis(last)
		list = append(list, a)
		return nil
	})
	if err != nil || len(list) == 0 {
		return list, err
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].App
	}
	names, err := s.appNames(ctx, scope, ids)
	for i := range list {
		list[i].Name = names[appKey{list[i].Tenant, list[i].App}]
	}
	return list, err
}

// nameUsers looks up the names of a list's users.
func (s *Store) nameUsers(ctx context.Context, scope report.Scope, list []report.SeenUser) error {
	if len(list) == 0 {
		return nil
	}
	at := map[string]*report.SeenUser{}
	var tenants, users []string
	for i := range list {
		u := &list[i]
		at[events.Key(u.Tenant, u.User)] = u
		tenants, users = append(tenants, u.Tenant), append(users, u.User)
	}
	where := among(scope, tenants, users)
	return s.rows(ctx, `SELECT tenant, user_id, argMaxIfMerge(user_name)
FROM ${database}.by_user
WHERE `+where.String()+`
GROUP BY tenant, user_id`, where.with(), func(r rowScanner) error {
		var tenant, user, name string
		if err := r.Scan(&tenant, &user, &name); err != nil {
			return err
		}
		if u := at[events.Key(tenant, user)]; u != nil {
			u.Name = name
		}
		return nil
	})
}
