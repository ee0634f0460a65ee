package policy

import (
	"time"

	"cel.dev/cel-go/cel"

	"github.com/countersign-io/countersign/internal/events"
)

// The types below are what conditions see. They are a vocabulary of their own, so that the wire form can grow without
// changing what a policy means. A fact with three values becomes two booleans that both mean "known to be".

type viewEvent struct {
	ID          string      `cel:"id"`
	Kind        string      `cel:"kind"`
	Tenant      string      `cel:"tenant"`
	Source      string      `cel:"source"`
	Outcome     string      `cel:"outcome"`
	Cause       string      `cel:"cause"`
	Code        string      `cel:"code"`
	Interactive bool        `cel:"interactive"`
	IP          string      `cel:"ip"`
	Session     string      `cel:"session"`
	UserAgent   string      `cel:"user_agent"`
	Time        time.Time   `cel:"time"`
	Hour        int64       `cel:"hour"`
	Weekday     int64       `cel:"weekday"`
	User        viewUser    `cel:"user"`
	App         viewRef     `cel:"app"`
	Resource    viewRef     `cel:"resource"`
	Place       viewPlace   `cel:"place"`
	Network     viewNetwork `cel:"network"`
	Device      viewDevice  `cel:"device"`
	Auth        viewAuth    `cel:"auth"`
	Access      viewAccess  `cel:"access"`
	Risk        viewRisk    `cel:"risk"`
	Change      viewChange  `cel:"change"`
}

type viewUser struct {
	ID           string   `cel:"id"`
	Name         string   `cel:"name"`
	Type         string   `cel:"type"`
	HomeTenant   string   `cel:"home_tenant"`
	Groups       []string `cel:"groups"`
	Privileged   bool     `cel:"privileged"`
	Unprivileged bool     `cel:"unprivileged"`
}

type viewRef struct {
	ID          string `cel:"id"`
	Name        string `cel:"name"`
	Sensitivity string `cel:"sensitivity"`
}

type viewPlace struct {
	Known    bool    `cel:"known"`
	Lat      float64 `cel:"lat"`
	Lon      float64 `cel:"lon"`
	RadiusKm float64 `cel:"radius_km"`
	City     string  `cel:"city"`
	Region   string  `cel:"region"`
	Country  string  `cel:"country"`
}

type viewNetwork struct {
	Prefix  string   `cel:"prefix"`
	ASN     int64    `cel:"asn"`
	Org     string   `cel:"org"`
	Classes []string `cel:"classes"`
}

type viewDevice struct {
	ID           string `cel:"id"`
	Managed      bool   `cel:"managed"`
	Unmanaged    bool   `cel:"unmanaged"`
	Compliant    bool   `cel:"compliant"`
	Noncompliant bool   `cel:"noncompliant"`
	OS           string `cel:"os"`
	Browser      string `cel:"browser"`
	Type         string `cel:"type"`
}

type viewAuth struct {
	MFA      string        `cel:"mfa"`
	Strength int64         `cel:"strength"`
	Methods  []string      `cel:"methods"`
	Method   int64         `cel:"method"`
	Protocol string        `cel:"protocol"`
	ACR      string        `cel:"acr"`
	Proved   bool          `cel:"proved"`
	Age      time.Duration `cel:"age"`
}

type viewAccess struct {
	Result    string   `cel:"result"`
	Policies  []string `cel:"policies"`
	Locations []string `cel:"locations"`
}

type viewRisk struct {
	Level      int64    `cel:"level"`
	User       int64    `cel:"user"`
	State      string   `cel:"state"`
	Detections []string `cel:"detections"`
}

type viewChange struct {
	Type   string   `cel:"type"`
	Action string   `cel:"action"`
	Target string   `cel:"target"`
	Grants []string `cel:"grants"`
}

type viewFinding struct {
	Detection   string   `cel:"detection"`
	Severity    int64    `cel:"severity"`
	Disposition string   `cel:"disposition"`
	Technique   string   `cel:"technique"`
	SpeedKmh    float64  `cel:"speed_kmh"`
	DistanceKm  float64  `cel:"distance_km"`
	GapSeconds  float64  `cel:"gap_s"`
	FromCountry string   `cel:"from_country"`
	ToCountry   string   `cel:"to_country"`
	Novel       []string `cel:"novel"`
	Changed     []string `cel:"changed"`
	GeoConflict bool     `cel:"geo_conflict"`
}

// enumerations are the fields with a closed set of values: a condition that compares one with anything else is refused.
// "" is "the source did not say" in each of them.
var enumerations = map[string][]string{
	"event.kind":                 texts(events.Kinds),
	"event.outcome":              texts(events.Outcomes),
	"event.cause":                texts(events.Causes),
	"event.user.type":            texts(events.UserTypes),
	"event.app.sensitivity":      texts(Sensitivities),
	"event.resource.sensitivity": texts(Sensitivities),
	"event.network.classes":      texts(events.Classes),
	"event.auth.mfa":             texts(events.MFAResults),
	"event.access.result":        texts(events.AccessResults),
	"event.risk.state":           texts(events.RiskStates),
	"event.change.type":          texts(events.ChangeTypes),
	"event.change.action":        texts(events.ChangeActions),
}

// constants are the names of ranks in conditions.
func constants() map[string]int {
	out := map[string]int{
		"single_factor": events.SingleFactor.Rank(), "multi_factor": events.MultiFactor.Rank(),
		"phishing_resistant": events.PhishingResistant.Rank(),

		"method_knowledge": int(MethodKnowledge), "method_voice": int(MethodVoice), "method_sms": int(MethodSMS),
		"method_code": int(MethodCode), "method_number_match": int(MethodNumberMatch), "method_resistant": int(MethodResistant),
	}
	for _, s := range events.Severities {
		out[string(s)] = s.Rank()
	}
	for day := time.Sunday; day <= time.Saturday; day++ {
		out[weekdays[day]] = int(day)
	}
	return out
}

var weekdays = [...]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

func (s *Set) viewOf(e *events.Event) *viewEvent {
	at, proof := e.Time.Time(), ProofOf(e)
	privileged := s.lists.isPrivileged(&e.User)
	strength := e.Auth.Strength
	if strength == "" {
		strength = StrengthOf(e.Auth.Methods)
	}
	v := &viewEvent{
		ID: e.ID, Kind: string(e.Kind), Tenant: e.Tenant, Source: e.Source.Name, Outcome: string(e.Outcome),
		Cause: string(e.Cause), Code: e.Code, Interactive: e.Interactive == events.Yes, IP: e.IP, Session: e.Session.ID,
		UserAgent: e.UserAgent, Time: at, Hour: int64(at.Hour()), Weekday: int64(at.Weekday()),
		User: viewUser{
			ID: e.User.ID, Name: e.User.Name, Type: string(e.User.Type), HomeTenant: e.User.HomeTenant, Groups: e.User.Groups,
			Privileged: privileged == events.Yes, Unprivileged: privileged == events.No,
		},
		App:      viewRef{e.App.ID, e.App.Name, string(sensitivityOf(s.lists.apps, &e.App))},
		Resource: viewRef{e.Resource.ID, e.Resource.Name, string(sensitivityOf(s.lists.resources, &e.Resource))},
		Place: viewPlace{
			Known: e.Place.Located(), Lat: e.Place.Lat, Lon: e.Place.Lon, RadiusKm: e.Place.RadiusKm, City: e.Place.City,
			Region: e.Place.Region, Country: e.Place.Country,
		},
		Network: viewNetwork{
			Prefix: e.Network.Prefix, ASN: int64(e.Network.ASN), Org: e.Network.Org, Classes: texts(e.Network.Classes),
		},
		Device: viewDevice{
			ID: e.Device.ID, Managed: e.Device.Managed == events.Yes, Unmanaged: e.Device.Managed == events.No,
			Compliant: e.Device.Compliant == events.Yes, Noncompliant: e.Device.Compliant == events.No,
			OS: e.Device.OS, Browser: e.Device.Browser, Type: e.Device.Type,
		},
		Auth: viewAuth{
			MFA: string(e.Auth.MFA), Strength: int64(strength.Rank()), Methods: e.Auth.Methods,
			Method: int64(BestMethod(e.Auth.Methods)), Protocol: e.Auth.Protocol, ACR: e.Auth.ACR,
		},
		Access: viewAccess{Result: string(e.Access.Result), Locations: e.Access.Locations},
		Risk: viewRisk{
			Level: riskRank(e.Risk.Level), User: riskRank(e.Risk.User), State: string(e.Risk.State), Detections: e.Risk.Detections,
		},
		Change: viewChange{
			Type: string(e.Change.Type), Action: string(e.Change.Action), Target: e.Change.Target.Name, Grants: e.Change.Grants,
		},
	}
	if proof.Time != 0 {
		v.Auth.Proved, v.Auth.Age = true, time.Duration(max(0, e.Time-proof.Time))*time.Millisecond
	}
	for i := range e.Access.Policies {
		v.Access.Policies = append(v.Access.Policies, e.Access.Policies[i].Name)
	}
	return v
}

// riskRank puts a provider's level on the scale of severities: none is info, unknown 0.
func riskRank(l events.RiskLevel) int64 {
	switch l {
	case events.RiskNone:
		return int64(events.Info.Rank())
	case events.RiskLow:
		return int64(events.Low.Rank())
	case events.RiskMedium:
		return int64(events.Medium.Rank())
	case events.RiskHigh:
		return int64(events.High.Rank())
	}
	return 0
}

func viewOfFinding(f *events.Finding) viewFinding {
	v := viewFinding{
		Detection: f.Detection, Severity: int64(f.Severity.Rank()), Disposition: string(f.Disposition),
		Technique: f.Technique, GeoConflict: f.Evidence.Conflict, ToCountry: f.Evidence.Sight.Place.Country,
	}
	if t := f.Evidence.Travel; t != nil {
		v.SpeedKmh, v.DistanceKm, v.GapSeconds = t.SpeedKmh, t.DistanceKm, t.GapSeconds
		v.FromCountry, v.ToCountry = t.From.Place.Country, t.To.Place.Country
	}
	for _, n := range f.Evidence.Novel {
		v.Novel = append(v.Novel, n.Kind)
	}
	if s := f.Evidence.Session; s != nil {
		v.Changed = s.Changed
	}
	return v
}

// scene is what a condition is evaluated over.
type scene struct {
	event    *viewEvent
	findings []viewFinding
	severity int64
	facts    Facts
	lists    map[string][]string
}

var _ cel.Activation = (*scene)(nil)

// The variables of conditions; named lists are variables too, such as lists.executives.
const (
	varEvent    = "event"
	varFindings = "findings"
	varSeverity = "max_severity"
	varRisk     = "risk"
	varScore    = "score"
	varScored   = "scored"
	listPrefix  = "lists."
)

// ResolveName gives CEL the value of a variable.
func (s *scene) ResolveName(name string) (any, bool) {
	switch name {
	case varEvent:
		return s.event, true
	case varFindings:
		return s.findings, true
	case varSeverity:
		return s.severity, true
	case varRisk:
		return s.facts.Risk, true
	case varScore:
		return s.facts.Score, true
	case varScored:
		return s.facts.Scored, true
	}
	list, ok := s.lists[name]
	return list, ok
}

// Parent is nil: nothing is behind a scene.
func (s *scene) Parent() cel.Activation { return nil }

func texts[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = string(v)
	}
	return out
}
