package company

import (
	"slices"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

// incident is an attack with what its first victim did before it.
type incident struct {
	kind    Attack
	list    []events.Event
	victims map[string]bool
	tries   map[string]int // failures by user
	sources map[string]bool
	hits    int
	past    []events.Event // of the first victim
}

// remembered is how many events of a user are kept, to be compared with an attack.
const remembered = 40

// Every attack happens, and is what its name says.
func TestAttacksOfTheCatalogue(t *testing.T) {
	t.Parallel()
	cfg := EvalConfig(1500)
	cfg.Days, cfg.QuietDays, cfg.AttacksPerDay, cfg.Volume, cfg.Faults = 75, 5, 14, 0.5, Faults{}
	incidents := map[int]*incident{}
	genuine := map[string][]events.Event{}
	for e, l := range New(cfg).Events() {
		if l.EventID != e.ID || (l.Attack == "") != (l.Incident == 0) || l.Attack != "" && l.Confounder != "" {
			t.Fatalf("label %+v of %s", l, e.ID)
		}
		if err := e.Validate(); err != nil {
			t.Fatalf("%v\n%s", err, events.Encode(&e))
		}
		if l.Attack == "" {
			genuine[e.User.ID] = append(genuine[e.User.ID], e)
			genuine[e.User.ID] = genuine[e.User.ID][max(0, len(genuine[e.User.ID])-remembered):]
			continue
		}
		in := incidents[l.Incident]
		if in == nil {
			in = &incident{kind: l.Attack, victims: map[string]bool{}, tries: map[string]int{}, sources: map[string]bool{}}
			in.past = slices.Clone(genuine[e.User.ID])
			incidents[l.Incident] = in
		}
		if in.kind != l.Attack {
			t.Fatalf("incident %d is %s and %s", l.Incident, in.kind, l.Attack)
		}
		in.list = append(in.list, e)
		in.victims[e.User.ID] = true
		if e.Kind == events.RiskReport {
			continue
		}
		in.sources[e.IP] = true
		if e.Cause != "" {
			in.tries[e.User.ID]++
		} else if e.Kind == events.SignIn && e.Outcome == events.Success {
			in.hits++
		}
	}
	count := map[Attack]int{}
	for n, in := range incidents {
		count[in.kind]++
		if check, ok := laws[in.kind]; ok {
			if problem := check(in, in.past); problem != "" {
				t.Errorf("%s %d: %s; first %s", in.kind, n, problem, events.Encode(&in.list[0]))
			}
		}
	}
	for _, kind := range Attacks {
		if count[kind] < 3 {
			t.Errorf("%d of %s", count[kind], kind)
		}
	}
}

// shares tells whether the victim had the session.
func shares(past []events.Event, session string) bool {
	return slices.ContainsFunc(past, func(e events.Event) bool { return e.Session.ID == session })
}

func (in *incident) span() events.Millis { return in.list[len(in.list)-1].Time - in.list[0].Time }

// laws say what is wrong with an incident, given what the first victim did before it.
var laws = map[Attack]func(*incident, []events.Event) string{
	StolenRefreshToken: func(in *incident, past []events.Event) string {
		for _, e := range in.list {
			if e.Interactive != events.No || e.Kind != events.SignIn || !shares(past, e.Session.ID) {
				return "no silent redemption of the victim's session"
			}
		}
		return ""
	},
	ReplayAfterSignOut: func(in *incident, past []events.Event) string {
		if !slices.ContainsFunc(past, func(e events.Event) bool {
			return e.Kind == events.SignOut && e.Session.ID == in.list[0].Session.ID
		}) {
			return "the session was not ended"
		}
		return ""
	},
	AiTM: func(in *incident, past []events.Event) string {
		first := &in.list[0]
		if first.Kind != events.SignIn || !first.Network.Is(events.Hosting) || first.Device.Managed != events.No || first.Auth.MFA != events.MFAPerformed ||
			shares(past, first.Session.ID) {
			return "no relayed sign-in"
		}
		for _, e := range in.list[1:] {
			moved := e.Kind == events.SessionUse && e.Session.ID == first.Session.ID && e.IP != first.IP && e.Time-first.Time <= 30*events.Minute
			enrolled := e.Kind == events.AccountChange && e.Change.Type == events.MethodChange && e.Time-first.Time <= events.Hour
			if moved || enrolled {
				return ""
			}
		}
		return "nothing came of it"
	},
	DeviceCode: func(in *incident, past []events.Event) string {
		a, p := &in.list[0], &in.list[1]
		if a.Auth.Protocol != "devicecode" || p.Auth.Protocol != "devicecode" || a.Correlation != p.Correlation || a.Session.ID != p.Session.ID ||
			a.IP == p.IP || p.Interactive != events.No {
			return "no two ends of one flow"
		}
		if !slices.ContainsFunc(past, func(e events.Event) bool { return e.Network.ASN == a.Network.ASN }) {
			return "the victim did not authorise it"
		}
		return ""
	},
	PushFatigue: func(in *incident, _ []events.Event) string {
		n := 0
		for _, e := range in.list {
			if e.Cause == events.MFARefused || e.Cause == events.MFATimeout {
				n++
			}
		}
		if n < 5 || in.list[n-1].Time-in.list[0].Time > 10*events.Minute {
			return "no five prompts in ten minutes"
		}
		return ""
	},
	TOTPBruteForce: func(in *incident, _ []events.Event) string {
		flows, n := map[string]bool{}, 0
		for _, e := range in.list {
			if e.Cause == events.BadCode && e.Time-in.list[0].Time <= 10*events.Minute {
				flows[e.Correlation] = true
				n++
			}
		}
		if n < 10 || len(flows) < 5 {
			return "too few codes or flows"
		}
		return ""
	},
	Spray: func(in *incident, _ []events.Event) string {
		if len(in.tries) < 10 || len(in.sources) != 1 || slices.Max(values(in.tries)) > 2 {
			return "no spray"
		}
		return ""
	},
	DistributedSpray: func(in *incident, _ []events.Event) string {
		if len(in.tries) < 50 || len(in.sources) < 40 || slices.Max(values(in.tries)) > 1 {
			return "not distributed"
		}
		return ""
	},
	SlowSpray: func(in *incident, _ []events.Event) string {
		perDay := map[string]int{}
		start := in.list[0].Time
		for _, e := range in.list {
			if e.Cause != "" {
				perDay[e.User.ID]++
			}
		}
		if in.span() < 2*events.Day && start < DefaultConfig().Start+60*events.Day || slices.Max(values(perDay)) > 10 {
			return "not slow"
		}
		return ""
	},
	Stuffing: func(in *incident, _ []events.Event) string {
		if len(in.tries) < 60 || len(in.sources) > 2 || slices.Max(values(in.tries)) > 2 || in.hits > 10 {
			return "no stuffing"
		}
		return ""
	},
	BruteForce: func(in *incident, _ []events.Event) string {
		if len(in.victims) != 1 || len(in.sources) != 1 || len(in.list) < 10 {
			return "not one user from one address"
		}
		return ""
	},
	DistributedBruteForce: func(in *incident, _ []events.Event) string {
		if len(in.victims) != 1 || len(in.sources) < 5 || len(in.list) < 10 {
			return "not one user from many addresses"
		}
		return ""
	},
	Enumeration: func(in *incident, _ []events.Event) string {
		unknown := 0
		for _, e := range in.list {
			if e.User.Type == events.Unresolved && e.Cause == events.UnknownUser {
				unknown++
			}
		}
		if unknown < 20 {
			return "too few unknown names"
		}
		return ""
	},
	LockoutStorm: func(in *incident, _ []events.Event) string {
		locked := 0
		for _, e := range in.list {
			if e.Cause == events.AccountLocked {
				locked++
			}
		}
		if locked < 25 || in.span() > 45*events.Minute {
			return "no storm"
		}
		return ""
	},
	BackAndForth: func(in *incident, past []events.Event) string {
		a := past[len(past)-1]
		if len(in.list) < 2 || haversine(a.Place.Lat, a.Place.Lon, in.list[0].Place.Lat, in.list[0].Place.Lon) < 3000 && !explained(&a) {
			return "not far"
		}
		return ""
	},
	DomesticTravel: func(in *incident, past []events.Event) string {
		first := &in.list[0]
		for _, e := range past {
			if first.Time-e.Time < 90*events.Minute && e.Place.Country == first.Place.Country && !explained(&e) &&
				haversine(e.Place.Lat, e.Place.Lon, first.Place.Lat, first.Place.Lon) > 3300 {
				return ""
			}
		}
		return "not within the country and the hour"
	},
	PhoneTravel: func(in *incident, _ []events.Event) string {
		if in.list[0].Device.Type != "mobile" || in.list[0].Device.OS != "iOS" {
			return "no phone"
		}
		return ""
	},
	AgentSpoofing: func(in *incident, past []events.Event) string {
		if !slices.ContainsFunc(past, func(e events.Event) bool { return e.UserAgent == in.list[0].UserAgent }) {
			return "not the victim's user agent"
		}
		return ""
	},
	DormantTakeover: func(in *incident, past []events.Event) string {
		if len(past) == 0 || in.list[0].Time-past[len(past)-1].Time < 29*events.Day {
			return "not dormant"
		}
		return ""
	},
	ConsentGrant:     follows(events.ConsentChange),
	CredentialChange: follows(events.MethodChange, events.CredentialChange),
	EgressPoisoning: func(in *incident, _ []events.Event) string {
		if len(in.sources) != 1 || len(in.victims) < 5 && in.span() > 3*events.Day {
			return "not one address and many victims"
		}
		return ""
	},
	WorkloadKeyMisuse: func(in *incident, past []events.Event) string {
		first := &in.list[0]
		if first.User.Type != events.Workload || slices.ContainsFunc(past, func(e events.Event) bool { return e.Network.ASN == first.Network.ASN }) {
			return "no program in another network"
		}
		return ""
	},
	ConcurrentSessions: func(in *incident, past []events.Event) string {
		if shares(past, in.list[0].Session.ID) || in.span() < 15*events.Minute {
			return "no session beside"
		}
		return ""
	},
}

// follows wants a change of an account within an hour and a half of the sign-in.
func follows(types ...events.ChangeType) func(*incident, []events.Event) string {
	return func(in *incident, _ []events.Event) string {
		for _, e := range in.list {
			if slices.Contains(types, e.Change.Type) && e.Time-in.list[0].Time <= 90*events.Minute {
				return ""
			}
		}
		return "nothing was changed"
	}
}

func values(m map[string]int) (list []int) {
	for _, v := range m {
		list = append(list, v)
	}
	return list
}
