package policy

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

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
	Code        string      `cel:"code"`
	Interactive bool        `cel:"interactive"`
	IP          string      `cel:"ip"`
	Session     string      `cel:"session"`
	UserAgent   string      `cel:"user_agent"`
	User        viewUser    `cel:"user"`
	App         viewRef     `cel:"app"`
	Resource    viewRef     `cel:"resource"`
	Place       viewPlace   `cel:"place"`
	Network     viewNetwork `cel:"network"`
	Device      viewDevice  `cel:"device"`
	Auth        viewAuth    `cel:"auth"`
}

type viewUser struct {
	ID           string   `cel:"id"`
	Name         string   `cel:"name"`
	Groups       []string `cel:"groups"`
	Privileged   bool     `cel:"privileged"`
	Unprivileged bool     `cel:"unprivileged"`
}

type viewRef struct {
	ID   string `cel:"id"`
	Name string `cel:"name"`
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
	MFA      string   `cel:"mfa"`
	Strength int64    `cel:"strength"`
	Methods  []string `cel:"methods"`
	Protocol string   `cel:"protocol"`
	ACR      string   `cel:"acr"`
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

func viewOf(e *events.Event) *viewEvent {
	return &viewEvent{
		ID: e.ID, Kind: string(e.Kind), Tenant: e.Tenant, Source: e.Source.Name, Outcome: string(e.Outcome), Code: e.Code,
		Interactive: e.Interactive == events.Yes, IP: e.IP, Session: e.Session.ID, UserAgent: e.UserAgent,
		User: viewUser{
			ID: e.User.ID, Name: e.User.Name, Groups: e.User.Groups,
			Privileged: e.User.Privileged == events.Yes, Unprivileged: e.User.Privileged == events.No,
		},
		App: viewRef(e.App), Resource: viewRef(e.Resource),
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
			MFA: string(e.Auth.MFA), Strength: int64(e.Auth.Strength.Rank()), Methods: e.Auth.Methods,
			Protocol: e.Auth.Protocol, ACR: e.Auth.ACR,
		},
	}
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

func texts[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = string(v)
	}
	return out
}

// The limits on a condition. Cost is CEL's own unit, about one for each step of the evaluation.
const (
	maxCondition = 4096
	maxCost      = 20_000
)

// detected is the function behind the has_detection macros. The name cannot be written in a condition.
const detected = "@detected"

var detectionID = regexp.MustCompile(`^[A-Z]{3,4}-[0-9]{2}$`)

// environment is built once: it is the same for every set, and building it costs milliseconds.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.ParserExpressionSizeLimit(maxCondition),
		cel.ParserRecursionLimit(64),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateComprehensionNestingLimit(2)),
		ext.NativeTypes(ext.ParseStructTags(true), reflect.TypeFor[viewEvent](), reflect.TypeFor[viewFinding]()),
		cel.Variable("event", cel.ObjectType("policy.viewEvent")),
		cel.Variable("findings", cel.ListType(cel.ObjectType("policy.viewFinding"))),
		cel.Variable("max_severity", cel.IntType),
		cel.Macros(
			cel.GlobalMacro("has_detection", 1, expandDetected),
			cel.GlobalMacro("has_detection", 2, expandDetected),
		),
		cel.Function(detected, cel.Overload("detected_findings_string_int",
			[]*cel.Type{cel.ListType(cel.ObjectType("policy.viewFinding")), cel.StringType, cel.IntType}, cel.BoolType,
			cel.FunctionBinding(evalDetected))),
	}
	for _, s := range events.Severities {
		options = append(options, cel.Constant(string(s), cel.IntType, types.Int(s.Rank())))
	}
	for name, s := range map[string]events.Strength{
		"single_factor": events.SingleFactor, "multi_factor": events.MultiFactor,
		"phishing_resistant": events.PhishingResistant,
	} {
		options = append(options, cel.Constant(name, cel.IntType, types.Int(s.Rank())))
	}
	return cel.NewEnv(options...)
})

// expandDetected turns has_detection("LOC-01", high) into @detected(findings, "LOC-01", high), so that the reader need
// not pass the findings, and so that a mistyped id is an error when the policy is loaded.
func expandDetected(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	id := args[0]
	if id.Kind() != ast.LiteralKind {
		return nil, f.NewError(id.ID(), `has_detection needs the detection's id as text, such as "LOC-01"`)
	}
	text, ok := id.AsLiteral().Value().(string)
	if !ok || !detectionID.MatchString(text) {
		return nil, f.NewError(id.ID(), `has_detection needs a detection's id such as "LOC-01"`)
	}
	least := f.NewLiteral(types.Int(0))
	if len(args) == 2 {
		least = args[1]
	}
	return f.NewCall(detected, f.NewIdent("findings"), id, least), nil
}

func evalDetected(args ...ref.Val) ref.Val {
	list, ok := args[0].Value().([]viewFinding)
	id, ok2 := args[1].Value().(string)
	least, ok3 := args[2].Value().(int64)
	if !ok || !ok2 || !ok3 {
		return types.NewErr("has_detection: unexpected arguments")
	}
	for i := range list {
		if list[i].Detection == id && list[i].Severity >= least {
			return types.True
		}
	}
	return types.False
}

// compile checks a condition and makes it ready to run.
func compile(condition string) (cel.Program, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("building the CEL environment: %w", err)
	}
	checked, issues := env.Compile(condition)
	if issues.Err() != nil {
		var problems []string
		for _, e := range issues.Errors() {
			problems = append(problems, fmt.Sprintf("%d:%d: %s", e.Location.Line(), e.Location.Column()+1, e.Message))
		}
		return nil, errors.New(strings.Join(problems, "; "))
	}
	if checked.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("gives %s, must give true or false", checked.OutputType())
	}
	return env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
}
