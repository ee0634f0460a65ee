package incident

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
)

const (
	minute = events.Millis(events.Minute)
	begin  = events.Millis(1767571200000)
)

func config(routes ...Route) Config {
	if routes == nil {
		routes = []Route{{Name: "all", To: []string{"chat"}, Resolved: true}}
	}
	return Config{Least: events.Medium, Window: 60 * minute, TellWithin: 60 * minute, GroupWait: 5000, MaxOpen: 1000, Routes: routes}
}

func finding(user, id string, severity events.Severity, txn string) *events.Finding {
	f := &events.Finding{
		ID: id, Detection: "LOC-01", Title: "Impossible travel", Summary: "two places", Tenant: "acme", User: events.User{ID: user},
		Time: begin, Severity: severity, Disposition: events.Active,
	}
	if txn != "" {
		f.Decision = &events.Decision{Policy: "travel", Action: events.StepUp, Requirement: txn}
	}
	return f
}

func claims(txn string, status revocation.Status) *revocation.Claims {
	c := &revocation.Claims{Tenant: "acme", User: "ada", Status: status}
	c.ID, c.Expires = txn, int64(begin)/1000+3600
	if status != revocation.Open {
		c.ClosedAt = int64(begin) / 1000
	}
	return c
}

// said lists the messages of a state, "first-finding target phase severity", with the kind for what is not of one user.
func said(s *State) []string {
	var out []string
	for _, i := range s.All() {
		name := i.Seen[0]
		if i.Kind != User {
			name = string(i.Kind)
		}
		for _, d := range i.Deliveries {
			out = append(out, fmt.Sprintf("%s %s %s %s", name, d.Target, d.Phase, d.Severity))
		}
	}
	slices.Sort(out)
	return out
}

func TestWhatBelongsTogether(t *testing.T) {
	t.Parallel()
	at := func(m int) events.Millis { return begin + events.Millis(m)*minute }
	sprayed := func(user string) *events.Finding {
		f := finding(user, "spray-"+user, events.Medium, "txn-"+user)
		f.Detection, f.Evidence.Verdict = "CRD-03", &events.Verdict{Detection: "CRD-03", Incident: "firing", Users: 300, Source: "ip 203.0.113.5"}
		return f
	}
	held := func(user string) *events.Finding {
		f := finding(user, "held-"+user, events.High, "txn-"+user)
		f.Decision.Held = true
		return f
	}
	for name, c := range map[string]struct {
		run  func(s *State)
		want []string
	}{
		"one requirement is one incident": {func(s *State) {
			s.Finding(finding("ada", "a", events.Medium, "t1"), at(0))
			s.Finding(finding("ada", "b", events.Medium, "t1"), at(600))
		}, []string{"a chat firing medium"}},
		"without a requirement the user's young incident takes it in": {func(s *State) {
			s.Finding(finding("ada", "a", events.Medium, ""), at(0))
			s.Finding(finding("ada", "b", events.Medium, ""), at(50))
			s.Finding(finding("ada", "c", events.Medium, "t1"), at(100))
			s.Finding(finding("ada", "d", events.Medium, ""), at(110))
		}, []string{"a chat firing medium"}},
		"after the window there is another": {func(s *State) {
			s.Finding(finding("ada", "a", events.Medium, ""), at(0))
			s.Tick(at(61))
			f := finding("ada", "b", events.Medium, "")
			f.Time = at(62)
			s.Finding(f, at(62))
		}, []string{"a chat firing medium", "a chat resolved medium", "b chat firing medium"}},
		"another requirement of the user is the same incident, over when both are": {func(s *State) {
			s.Finding(finding("ada", "a", events.Medium, "t1"), at(0))
			i := s.Finding(finding("ada", "b", events.Medium, "t2"), at(1))
			s.Claims(claims("t1", revocation.Satisfied), at(2))
			if i.Closed != 0 || i.Requirement != "t1" || len(i.Requirements) != 2 {
				t.Errorf("%+v", i)
			}
			s.Claims(claims("t2", revocation.Satisfied), at(3))
			s.Claims(claims("t2", revocation.Satisfied), at(3))
			if i.Ending != Satisfied {
				t.Errorf("%+v", i)
			}
		}, []string{"a chat firing medium", "a chat resolved medium"}},
		"who satisfied one of two is not satisfied": {func(s *State) {
			s.Finding(finding("ada", "a", events.Medium, "t1"), at(0))
			i := s.Finding(finding("ada", "b", events.High, "t2"), at(1))
			s.Claims(claims("t1", revocation.Expired), at(2))
			s.Claims(claims("t2", revocation.Satisfied), at(3))
			if i.Ending != Expired {
				t.Errorf("%+v", i)
			}
		}, []string{"a chat firing high", "a chat resolved high"}},
		"another requirement whose end came before": {func(s *State) {
			s.Finding(finding("ada", "a", events.Medium, "t1"), at(0))
			s.Claims(claims("t2", revocation.Satisfied), at(1))
			i := s.Finding(finding("ada", "b", events.Medium, "t2"), at(1))
			s.Finding(finding("ada", "c", events.Medium, "t2"), at(1))
			if i.Closed != 0 || len(s.Early()) != 0 {
				t.Errorf("%+v", i)
			}
			s.Claims(claims("t1", revocation.Satisfied), at(2))
		}, []string{"a chat firing medium", "a chat resolved medium"}},
		"another requirement after the window is another incident": {func(s *State) {
			s.Finding(finding("ada", "a", events.Medium, "t1"), at(0))
			f := finding("ada", "b", events.Medium, "t2")
			f.Time = at(61)
			s.Finding(f, at(61))
		}, []string{"a chat firing medium", "b chat firing medium"}},
		"another requirement when the first is over is another incident": {func(s *State) {
			s.Finding(finding("ada", "a", events.Medium, "t1"), at(0))
			s.Claims(claims("t1", revocation.Satisfied), at(1))
			s.Finding(finding("ada", "b", events.Medium, "t2"), at(2))
		}, []string{"a chat firing medium", "a chat resolved medium", "b chat firing medium"}},
		"requirements are bounded": {func(s *State) {
			for n := range maxRequirements + 1 {
				s.Finding(finding("ada", fmt.Sprintf("%c", 'a'+n), events.Medium, fmt.Sprint("t", n)), at(n))
			}
		}, []string{"a chat firing medium", "q chat firing medium"}},
		"requirements whose end was never heard of": {func(s *State) {
			s.Finding(finding("ada", "a", events.Medium, "t1"), at(0))
			i := s.Finding(finding("ada", "b", events.Medium, "t2"), at(1))
			s.Claims(claims("t1", revocation.Open), at(1))
			s.Tick(at(130))
			if i.Closed != 0 {
				t.Errorf("%+v", i)
			}
			s.Tick(at(1) + forgotten + 1)
			if i.Ending != Expired {
				t.Errorf("%+v", i)
			}
		}, []string{"a chat firing medium", "a chat resolved medium"}},
		"nobody is told of what is long over": {func(s *State) {
			if i := s.Finding(finding("ada", "a", events.High, "t1"), at(61)); i == nil || i.Findings != 1 {
				t.Errorf("%+v", i)
			}
			s.Claims(claims("t1", revocation.Satisfied), at(62))
		}, nil},
		"people are told when something young joins it": {func(s *State) {
			s.Finding(finding("ada", "a", events.High, "t1"), at(61))
			f := finding("ada", "b", events.Medium, "t1")
			f.Time = at(61)
			s.Finding(f, at(62))
		}, []string{"a chat firing high"}},
		"the end may come before the finding": {func(s *State) {
			s.Claims(claims("t1", revocation.Satisfied), at(0))
			s.Finding(finding("ada", "a", events.Medium, "t1"), at(1))
			s.Finding(finding("ada", "b", events.Medium, "t1"), at(1))
		}, []string{"a chat firing medium", "a chat resolved medium"}},
		"a finding that is there twice counts once": {func(s *State) {
			s.Finding(finding("ada", "a", events.Medium, ""), at(0))
			if i := s.Finding(finding("ada", "a", events.Medium, ""), at(0)); i.Findings != 1 {
				t.Errorf("counted %d", i.Findings)
			}
		}, []string{"a chat firing medium"}},
		"a spray over 300 users is one incident": {func(s *State) {
			for n := range 300 {
				s.Finding(sprayed(fmt.Sprint("user", n)), at(0))
			}
			i := s.All()[0]
			if i.Kind != Network || i.Users != 300 || i.Findings != 300 || i.Source != "ip 203.0.113.5" || len(i.Sample) != maxSample {
				t.Errorf("%+v", i)
			}
		}, []string{"network chat firing medium"}},
		"who got in is an incident of the user": {func(s *State) {
			s.Finding(sprayed("ada"), at(0))
			f := finding("ada", "in", events.Critical, "t9")
			f.Detection, f.Evidence.Verdict = "CRD-06", &events.Verdict{Detection: "CRD-03", Incident: "firing"}
			s.Finding(f, at(1))
		}, []string{"in chat firing critical", "network chat firing medium"}},
		"what the breaker holds is one incident": {func(s *State) {
			for n := range 100 {
				s.Finding(held(fmt.Sprint("user", n)), at(0))
			}
		}, []string{"breaker chat firing high"}},
		"a policy that only tells is heard whatever the severity": {func(s *State) {
			f := finding("ada", "a", events.Low, "")
			f.Decision = &events.Decision{Policy: "curious", Action: events.Notify}
			s.Finding(f, at(0))
		}, []string{"a chat firing medium"}},
		"what does not count says nothing": {func(s *State) {
			s.Finding(finding("ada", "a", events.Low, ""), at(0))
			f := finding("ada", "b", events.Critical, "")
			f.Disposition = events.Learning
			s.Finding(f, at(0))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := New(config())
			c.run(s)
			if diff := cmp.Diff(said(s), c.want); diff != "" {
				t.Errorf("(-got, +want)\n%s", diff)
			}
		})
	}
}

// What is done comes before what a policy would have done, and with it its team.
func TestWhatIsInForceComesFirst(t *testing.T) {
	t.Parallel()
	watched := func(a events.Action) *events.Decision {
		return &events.Decision{Policy: "trial", Action: a, Observed: true, Reason: "watched"}
	}
	enforced := &events.Decision{Policy: "travel", Action: events.StepUp, Requirement: "t1", Reason: "done"}
	for name, first := range map[string]*events.Decision{
		"observed": watched(events.StepUp), "observed and stronger": watched(events.RevokeAll),
		"cooling": {Policy: "trial", Action: events.RevokeAll, Cooling: true},
	} {
		for _, order := range [][]*events.Decision{{first, enforced}, {enforced, first}} {
			cfg := config()
			cfg.Owner = func(policy string) string { return "team " + policy }
			s := New(cfg)
			var i *Incident
			for n, d := range order {
				f := finding("ada", fmt.Sprint(n), events.High, "")
				f.Decision = d
				i = s.Finding(f, begin)
			}
			if !i.InForce() || i.Action != events.StepUp || i.Policy != "travel" || i.Team != "team travel" || i.Reason != "done" {
				t.Errorf("%s: %+v", name, i)
			}
		}
	}
	s := New(config())
	for n, d := range []*events.Decision{watched(events.StepUp), watched(events.RevokeAll)} {
		f := finding("ada", fmt.Sprint(n), events.High, "")
		f.Decision = d
		if i := s.Finding(f, begin); i.Action != d.Action || !i.Observed {
			t.Errorf("%+v", i)
		}
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	routes := []Route{
		{Name: "log", To: []string{"siem"}, Continue: true},
		{Name: "pager", Match: Match{Severity: events.High, Tenants: []string{"acme"}}, To: []string{"pager"}},
		{Name: "team", Match: Match{Teams: []string{"identity"}, Kinds: []Kind{User}, Detections: []string{"LOC-01"}, Policies: []string{"travel"}}, To: []string{"chat"}},
	}
	cfg := config(routes...)
	cfg.Owner = func(policy string) string { return map[string]string{"travel": "identity"}[policy] }
	for want, f := range map[string]*events.Finding{
		"siem":       finding("ada", "a", events.Medium, ""),
		"siem chat":  finding("ada", "a", events.Medium, "t"),
		"siem pager": finding("ada", "a", events.High, "t"),
	} {
		s := New(cfg)
		var got string
		for k, d := range s.Finding(f, begin).Deliveries {
			if k > 0 {
				got += " "
			}
			got += d.Target
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", f.Severity, got, want)
		}
	}
	if err := (Route{Match: Match{Severity: "loud", Kinds: []Kind{"x"}}}).Validate(); err == nil {
		t.Error("accepted")
	}
}

// TestNothingIsLostAndNothingSaidTwice drives a state by chance: findings, ends of requirements, time, restarts, deliveries
// that succeed or die. For each incident and target there is at most one message of a phase and severity, each of the severity
// that the incident has or had; every finding that counts is in an incident that is told of at its severity at least.
func TestNothingIsLostAndNothingSaidTwice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg := config(Route{Name: "all", To: []string{"chat", "siem"}, Resolved: rapid.Bool().Draw(t, "resolved")})
		cfg.MaxOpen = 6
		s := New(cfg)
		now := begin
		ended := map[string]*Incident{} // all that ever were, by id
		home := map[string]string{}     // finding to incident
		worth := map[string]events.Severity{}
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1, 2:
				f := finding(fmt.Sprint("user", rapid.IntRange(0, 8).Draw(t, "user")), fmt.Sprint("f", step),
					rapid.SampledFrom(events.Severities).Draw(t, "severity"), rapid.SampledFrom([]string{"", "", "t1", "t2", "t3"}).Draw(t, "txn"))
				f.Time = now
				if f.Decision != nil {
					f.Decision.Requirement += f.User.ID
				}
				if i := s.Finding(f, now); i != nil {
					home[f.ID], worth[f.ID] = i.ID, f.Severity
				} else if f.Severity.Rank() >= events.Medium.Rank() {
					t.Fatalf("%s %s belongs nowhere", f.ID, f.Severity)
				}
			case 3:
				txn := rapid.SampledFrom([]string{"t1", "t2", "t3"}).Draw(t, "txn") + fmt.Sprint("user", rapid.IntRange(0, 8).Draw(t, "user"))
				s.Claims(claims(txn, rapid.SampledFrom(revocation.Statuses).Draw(t, "status")), now)
			case 4:
				now += events.Millis(rapid.IntRange(0, 90).Draw(t, "minutes")) * minute
				for _, i := range s.All() {
					for _, target := range []string{"chat", "siem"} {
						if d := i.Next(target, now); d != nil && rapid.Bool().Draw(t, "delivered") {
							d.Outcome = rapid.SampledFrom([]Outcome{Sent, Dead, Summarised}).Draw(t, "outcome")
						}
					}
				}
				s.Tick(now)
			case 5:
				next := New(cfg)
				for _, i := range s.All() {
					b, err := json.Marshal(i)
					if err != nil {
						t.Fatal(err)
					}
					read := new(Incident)
					if err := json.Unmarshal(b, read); err != nil {
						t.Fatal(err)
					}
					next.Restore(read)
				}
				next.RestoreEarly(s.Early())
				s = next
			}
			for _, i := range s.All() {
				ended[i.ID] = i
			}
		}
		for _, i := range ended {
			seen := map[string]bool{}
			for _, d := range i.Deliveries {
				key := d.Target + string(d.Phase) + string(d.Severity)
				if seen[key] {
					t.Fatalf("%s is said twice of %s", key, i.ID)
				}
				seen[key] = true
			}
		}
		for id, at := range home {
			i := ended[at]
			for _, target := range []string{"chat", "siem"} {
				if i == nil || !slices.ContainsFunc(i.Deliveries, func(d Delivery) bool {
					return d.Target == target && d.Phase == Firing && d.Severity.Rank() >= worth[id].Rank()
				}) {
					t.Fatalf("%s of %s is not told to %s: %+v", worth[id], id, target, i)
				}
			}
		}
	})
}

// What exceeds the bound is one incident for each tenant.
func TestFloodIsOneIncident(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.MaxOpen = 10
	s := New(cfg)
	for n := range 1000 {
		s.Finding(finding(fmt.Sprint("user", n), fmt.Sprint("f", n), events.High, ""), begin)
	}
	list := s.All()
	flood := slices.IndexFunc(list, func(i *Incident) bool { return i.Kind == Flood })
	if len(list) != 11 || flood < 0 || list[flood].Findings != 990 {
		t.Errorf("%d incidents, flood %d", len(list), flood)
	}
}
