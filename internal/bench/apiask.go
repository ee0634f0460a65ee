package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/history"
)

// question is one of the dashboard's. path makes one up to ask.
type question struct {
	// name is the operation's id in the OpenAPI description.
	name string
	path func(k *known) string
}

// questions are all that the dashboard asks the history. What has no row in it answers fast and is asked all the same.
var questions = []question{
	{"overview", func(k *known) string { return "/v1/overview?" + k.window(k.tenant()).Encode() }},
	{"map", func(k *known) string { return "/v1/map?" + k.window(k.tenant()).Encode() }},
	{"findings", func(k *known) string { return "/v1/findings?" + k.filtered().Encode() }},
	{"finding", func(k *known) string { return "/v1/findings/" + k.pick(k.findings) }},
	{"finding-details", func(k *known) string { return "/v1/findings/" + k.pick(k.findings) + "/details" }},
	{"rules", func(k *known) string { return "/v1/rules?" + k.window(k.tenant()).Encode() }},
	{"enforcement", func(k *known) string { return "/v1/enforcement?" + k.window(k.tenant()).Encode() }},
	{"revocations", func(k *known) string {
		return "/v1/revocations?" + k.some(k.window(k.tenant()), "status", "open", "satisfied", "expired").Encode()
	}},
	{"revocation", func(k *known) string { return "/v1/revocations/" + k.pick(k.requirements) }},
	{"receipts", func(k *known) string { return "/v1/receipts?" + k.window(k.tenant()).Encode() }},
	{"policies", func(k *known) string { return "/v1/policies?" + k.window(k.tenant()).Encode() }},
	{"users", func(k *known) string {
		v := url.Values{"tenant": {k.tenant()}}
		if k.rng.IntN(2) == 0 {
			v.Set("q", []string{fmt.Sprintf("emp-%04d", k.rng.IntN(2500)), "ana", "mei t", "svc-"}[k.rng.IntN(4)])
		}
		return "/v1/users?" + v.Encode()
	}},
	{"user", func(k *known) string { return k.user() }},
	{"lanes", func(k *known) string { return k.user() + "/lanes?" + k.window("").Encode() }},
	{"session", func(k *known) string { return k.session() }},
	{"session-events", func(k *known) string { return k.session() + "/events" }},
	{"network", func(k *known) string {
		v := k.window(k.tenant())
		if k.rng.IntN(2) == 0 {
			v.Set("ip", k.pick(k.ips))
		} else {
			v.Set("prefix", k.pick(k.prefixes))
		}
		return "/v1/networks?" + v.Encode()
	}},
	{"apps", func(k *known) string { return "/v1/apps?" + k.window(k.tenant()).Encode() }},
	{"app", func(k *known) string { return "/v1/apps/" + k.pick(k.apps) + "?" + k.window("").Encode() }},
	{"sources", func(*known) string { return "/v1/sources" }},
	{"alerts", func(k *known) string { return "/v1/alerts?" + k.window(k.tenant()).Encode() }},
	{"dead-letters", func(k *known) string { return "/v1/deadletters?" + k.window("").Encode() }},
	{"audit", func(k *known) string { return "/v1/audit?" + k.window(k.tenant()).Encode() }},
	{"erasures", func(k *known) string { return "/v1/erasures?tenant=" + k.tenant() }},
	{"me", func(*known) string { return "/v1/me" }},
}

// timeline has a figure of its own.
var timeline = question{"timeline", func(k *known) string { return k.user() + "/timeline?" + k.window("").Encode() }}

// spans are how far back a question looks: the presets of the dashboard, and all there may be.
var spans = []time.Duration{24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour, 90 * 24 * time.Hour, 400 * 24 * time.Hour}

// known is what there is to ask about, as somebody finds out who looks around.
type known struct {
	rng                                                *rand.Rand
	newest                                             time.Time
	tenants, users, sessions, ips, prefixes, apps      []string
	findings, requirements, countries, detections, ids []string
}

func (k *known) pick(list []string) string { return list[k.rng.IntN(len(list))] }

// tenant is one of the tenants or, once in three times, all.
func (k *known) tenant() string {
	if k.rng.IntN(3) == 0 {
		return ""
	}
	return k.pick(k.tenants)
}

// window is a span, which ends now or, sometimes, a while ago.
func (k *known) window(tenant string) url.Values {
	to := k.newest
	if k.rng.IntN(4) == 0 {
		to = to.Add(-time.Duration(k.rng.Int64N(int64(30 * 24 * time.Hour))))
	}
	v := url.Values{"from": {to.Add(-spans[k.rng.IntN(len(spans))]).Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}
	if tenant != "" {
		v.Set("tenant", tenant)
	}
	return v
}

func (k *known) some(v url.Values, name string, values ...string) url.Values {
	if k.rng.IntN(2) == 0 {
		v.Set(name, k.pick(values))
	}
	return v
}

// filtered asks for findings by up to one filter.
func (k *known) filtered() url.Values {
	v := k.window(k.tenant())
	switch k.rng.IntN(9) {
	case 0:
		v.Set("detection", k.pick(k.detections))
	case 1:
		v.Set("severity", k.pick([]string{"critical", "high,critical", "medium"}))
	case 2:
		v.Set("disposition", k.pick([]string{"active", "suppressed"}))
	case 3:
		v.Set("user", k.pick(k.ids))
	case 4:
		v.Set("ip", k.pick(k.ips))
	case 5:
		v.Set("country", k.pick(k.countries))
	case 6:
		_, app, _ := strings.Cut(k.pick(k.apps), "/")
		v.Set("app", app)
	case 7:
		v.Set("triage", k.pick([]string{"open", "acknowledged", "false_positive"}))
	}
	return v
}

func (k *known) user() string    { return "/v1/users/" + k.pick(k.users) }
func (k *known) session() string { return "/v1/sessions/" + k.pick(k.sessions) }

// lookAround finds out what there is to ask about, by the API itself.
func lookAround(ctx context.Context, o Options, s *apiServer) (*known, error) {
	k := &known{rng: rand.New(rand.NewPCG(o.Seed, 3))}
	var all struct {
		Newest     time.Time               `json:"newest_event"`
		Countries  []struct{ Name string } `json:"countries"`
		Detections []struct{ Name string } `json:"detections"`
	}
	if _, err := s.get(ctx, "/v1/overview", &all); err != nil {
		return nil, err
	}
	k.newest = all.Newest
	month := url.Values{"from": {k.newest.Add(-30 * 24 * time.Hour).Format(time.RFC3339)}, "to": {k.newest.Format(time.RFC3339)}}
	if _, err := s.get(ctx, "/v1/overview?"+month.Encode(), &all); err != nil {
		return nil, err
	}
	for _, c := range all.Countries {
		k.countries = append(k.countries, c.Name)
	}
	for _, d := range all.Detections {
		k.detections = append(k.detections, d.Name)
	}
	for _, group := range historyTenants {
		k.tenants = append(k.tenants, group...)
	}
	for _, tenant := range k.tenants {
		if err := k.lookAt(ctx, s, tenant, month); err != nil {
			return nil, err
		}
	}
	for what, list := range map[string][]string{
		"users": k.users, "sessions": k.sessions, "addresses": k.ips, "prefixes": k.prefixes, "applications": k.apps,
		"findings": k.findings, "requirements": k.requirements, "countries": k.countries, "detections": k.detections,
	} {
		if len(list) == 0 {
			return nil, fmt.Errorf("the history has no %s to ask about, give more --events", what)
		}
	}
	return k, nil
}

func (k *known) lookAt(ctx context.Context, s *apiServer, tenant string, month url.Values) error {
	list := url.Values{"tenant": {tenant}, "from": month["from"], "to": month["to"], "limit": {"100"}}
	var found struct {
		Findings []struct {
			ID       string `json:"id"`
			Evidence struct {
				Sight struct {
					IP      string `json:"ip"`
					Session string `json:"session"`
					Network struct {
						Prefix string `json:"prefix"`
					} `json:"network"`
				} `json:"sight"`
			} `json:"evidence"`
		} `json:"findings"`
	}
	if _, err := s.get(ctx, "/v1/findings?"+list.Encode(), &found); err != nil {
		return err
	}
	for _, f := range found.Findings {
		k.findings = append(k.findings, f.ID)
		sight := f.Evidence.Sight
		for list, value := range map[*[]string]string{&k.ips: sight.IP, &k.prefixes: sight.Network.Prefix} {
			if value != "" {
				*list = append(*list, value)
			}
		}
		if sight.Session != "" {
			k.sessions = append(k.sessions, tenant+"/"+url.PathEscape(sight.Session))
		}
	}
	var open struct {
		Revocations []struct{ ID string } `json:"revocations"`
	}
	if _, err := s.get(ctx, "/v1/revocations?"+list.Encode(), &open); err != nil {
		return err
	}
	for _, r := range open.Revocations {
		k.requirements = append(k.requirements, r.ID)
	}
	// People from all over the list, the programs among them, which do the most.
	for _, q := range []string{"", "svc-", "emp-0000", "emp-0001", "emp-001"} {
		var people struct {
			Users []struct{ User string } `json:"users"`
		}
		if _, err := s.get(ctx, "/v1/users?"+url.Values{"tenant": {tenant}, "q": {q}, "limit": {"50"}}.Encode(), &people); err != nil {
			return err
		}
		for _, u := range people.Users {
			k.users = append(k.users, tenant+"/"+url.PathEscape(u.User))
			k.ids = append(k.ids, u.User)
		}
	}
	var apps struct {
		Apps []struct{ App string } `json:"apps"`
	}
	if _, err := s.get(ctx, "/v1/apps?"+url.Values{"tenant": {tenant}, "from": month["from"], "to": month["to"]}.Encode(), &apps); err != nil {
		return err
	}
	for _, a := range apps.Apps {
		k.apps = append(k.apps, tenant+"/"+url.PathEscape(a.App))
	}
	return nil
}

// askAll asks every question so many times, in turn, one at a time, and reports the times of the slowest, of the timeline
// and of each. Bare is a round trip to the engine by the same client, without a question.
func askAll(ctx context.Context, o Options, s *apiServer, store *history.Store, rounds int) ([]Figure, error) {
	var pings []time.Duration
	for range max(rounds, 20) {
		began := time.Now()
		if err := store.Ping(ctx); err != nil {
			return nil, err
		}
		pings = append(pings, time.Since(began))
	}
	bare := quantile(pings, .95)
	k, err := lookAround(ctx, o, s)
	if err != nil {
		return nil, err
	}
	all := append([]question{timeline}, questions...)
	took := make([][]time.Duration, len(all))
	var first time.Duration
	for round := range rounds {
		o.Progress("asking all %d questions, round %d of %d", len(all), round+1, rounds)
		for i, q := range all {
			path := q.path(k)
			began := time.Now()
			status, err := s.get(ctx, path, nil)
			if err != nil {
				return nil, err
			}
			if status == http.StatusNotFound && q.name != "network" {
				return nil, fmt.Errorf("asking %s: it is not there", path)
			}
			since := time.Since(began)
			took[i] = append(took[i], since)
			if round == 0 {
				first = max(first, since)
			} else if since > 300*time.Millisecond {
				o.Progress("%v: %s", since.Round(time.Millisecond), path)
			}
		}
	}
	if rounds == 0 {
		return nil, errors.New("rounds: must be positive")
	}
	var worst float64
	var each []Figure
	for i, q := range all {
		p95 := quantile(took[i], .95)
		each = append(each, figure("api.query_p95_ms{"+q.name+"}", p95, "ms", bare))
		if i > 0 {
			worst = max(worst, p95)
		}
	}
	return append([]Figure{
		figure("api.query_p95_ms", worst, "ms", bare),
		figure("api.timeline_p95_ms", each[0].Value, "ms", bare),
		figure("api.first_query_ms", float64(first.Microseconds())/1000, "ms", bare),
	}, each[1:]...), nil
}
