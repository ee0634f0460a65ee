package policy

import (
	"fmt"
	"iter"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
)

// The limits on a condition. Cost is CEL's own unit, about one for each step of the evaluation.
const (
	maxCondition = 4096
	maxCost      = 20_000
)

// detected is the function behind the has_detection macros. The name cannot be written in a condition.
const detected = "@detected"

var detectionID = regexp.MustCompile(`^[A-Z]{3,4}-[0-9]{2}$`)

const (
	eventType   = "policy.viewEvent"
	findingType = "policy.viewFinding"
)

// environment is built once: it is the same for every set but for its named lists, and building it costs milliseconds.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.ParserExpressionSizeLimit(maxCondition),
		cel.ParserRecursionLimit(64),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(),
			cel.ValidateComprehensionNestingLimit(2)),
		ext.NativeTypes(ext.ParseStructTags(true), reflect.TypeFor[viewEvent](), reflect.TypeFor[viewFinding]()),
		cel.Variable(varEvent, cel.ObjectType(eventType)),
		cel.Variable(varFindings, cel.ListType(cel.ObjectType(findingType))),
		cel.Variable(varSeverity, cel.IntType),
		cel.Variable(varRisk, cel.DoubleType),
		cel.Variable(varScore, cel.DoubleType),
		cel.Variable(varScored, cel.BoolType),
		cel.Macros(
			cel.GlobalMacro("has_detection", 1, expandDetected),
			cel.GlobalMacro("has_detection", 2, expandDetected),
		),
		cel.Function(detected, cel.Overload("detected_findings_list_int",
			[]*cel.Type{cel.ListType(cel.ObjectType(findingType)), cel.ListType(cel.StringType), cel.IntType}, cel.BoolType,
			cel.FunctionBinding(evalDetected))),
	}
	ranks := constants()
	for _, name := range slices.Sorted(maps.Keys(ranks)) {
		options = append(options, cel.Constant(name, cel.IntType, types.Int(ranks[name])))
	}
	return cel.NewEnv(options...)
})

// environmentWith knows the named lists of a file, too.
func environmentWith(named map[string][]string) (*cel.Env, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("building the CEL environment: %w", err)
	}
	if len(named) == 0 {
		return env, nil
	}
	var options []cel.EnvOption
	for _, name := range slices.Sorted(maps.Keys(named)) {
		options = append(options, cel.Variable(name, cel.ListType(cel.StringType)))
	}
	if env, err = env.Extend(options...); err != nil {
		return nil, fmt.Errorf("declaring the lists: %w", err)
	}
	return env, nil
}

// expandDetected turns has_detection("LOC-01", high) into max_severity >= high && @detected(findings, ["LOC-01"], high), so
// that the reader need not pass the findings, and so that a mistyped id is an error when the policy is loaded. A list of ids
// asks for any. The first half says nothing that the second does not: it is cheap, and known when the policies are sifted.
func expandDetected(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	ids := []ast.Expr{args[0]}
	if args[0].Kind() == ast.ListKind {
		ids = args[0].AsList().Elements()
	}
	if len(ids) == 0 {
		return nil, f.NewError(args[0].ID(), "has_detection needs at least one id")
	}
	for _, id := range ids {
		if id.Kind() != ast.LiteralKind {
			return nil, f.NewError(id.ID(), `has_detection needs the detection's id as text, such as "LOC-01"`)
		}
		if text, ok := id.AsLiteral().Value().(string); !ok || !detectionID.MatchString(text) {
			return nil, f.NewError(id.ID(), `has_detection needs a detection's id such as "LOC-01"`)
		}
	}
	list := args[0]
	if list.Kind() != ast.ListKind {
		list = f.NewList(ids...)
	}
	if len(args) == 1 {
		return f.NewCall(detected, f.NewIdent(varFindings), list, f.NewLiteral(types.Int(0))), nil
	}
	return f.NewCall(operators.LogicalAnd,
		f.NewCall(operators.GreaterEquals, f.NewIdent(varSeverity), f.Copy(args[1])),
		f.NewCall(detected, f.NewIdent(varFindings), list, args[1])), nil
}

func evalDetected(args ...ref.Val) ref.Val {
	found, ok := args[0].Value().([]viewFinding)
	ids, ok2 := args[1].(traits.Lister)
	least, ok3 := args[2].Value().(int64)
	if !ok || !ok2 || !ok3 {
		return types.NewErr("has_detection: unexpected arguments")
	}
	for i := range found {
		if found[i].Severity >= least && ids.Contains(types.String(found[i].Detection)) == types.True {
			return types.True
		}
	}
	return types.False
}

// problem is one thing wrong with a condition, at a line and column of it, from 1; 0 is of the whole.
type problem struct {
	line, column int
	text         string
}

// compile checks a condition, which may name these detections, and makes it ready to run.
func compile(env *cel.Env, condition string, detections []string) (*cel.Ast, cel.Program, []problem) {
	checked, issues := env.Compile(condition)
	if issues.Err() != nil {
		var problems []problem
		for _, e := range issues.Errors() {
			problems = append(problems, problem{e.Location.Line(), e.Location.Column() + 1, e.Message})
		}
		return nil, nil, problems
	}
	if checked.OutputType() != cel.BoolType {
		return nil, nil, []problem{{text: fmt.Sprintf("gives %s, must give true or false", checked.OutputType())}}
	}
	if problems := inspect(checked, detections); len(problems) > 0 {
		return nil, nil, problems
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return nil, nil, []problem{{text: err.Error()}}
	}
	return checked, program, nil
}

// inspect finds what the type checker lets pass and can never be meant: a comparison with a value that a field never has, a
// detection that there is not, a division by zero, and the name of a time zone, whose rules differ from machine to machine.
func inspect(checked *cel.Ast, detections []string) []problem {
	native := checked.NativeRep()
	var problems []problem
	say := func(id int64, format string, args ...any) {
		at := native.SourceInfo().GetStartLocation(id)
		problems = append(problems, problem{at.Line(), at.Column() + 1, fmt.Sprintf(format, args...)})
	}
	ast.PostOrderVisit(native.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		call := e.AsCall()
		switch name := call.FunctionName(); {
		case name == operators.Equals || name == operators.NotEquals || name == operators.In:
			for i, arg := range call.Args() {
				checkEnumeration(arg, call.Args()[1-i], say)
				if arg.Kind() == ast.SelectKind && arg.AsSelect().FieldName() == "detection" {
					checkDetections(call.Args()[1-i], detections, say)
				}
			}
		case name == detected:
			checkDetections(call.Args()[1], detections, say)
		case name == operators.Divide || name == operators.Modulo:
			checkDivisor(call.Args()[1], say)
		case call.IsMemberFunction() && strings.HasPrefix(name, "get") && len(call.Args()) == 1:
			checkZone(call.Args()[0], say)
		}
	}))
	return problems
}

type sayFunc func(id int64, format string, args ...any)

// checkEnumeration checks the literals that a field with a closed set of values is compared with.
func checkEnumeration(field, with ast.Expr, say sayFunc) {
	allowed, ok := enumerations[pathOf(field)]
	if !ok {
		return
	}
	for id, text := range literals(with) {
		if text != "" && !slices.Contains(allowed, text) {
			say(id, "%s is never %.40q, it is one of %s", pathOf(field), text, strings.Join(allowed, ", "))
		}
	}
}

// checkDetections checks the ids that findings are compared with.
func checkDetections(with ast.Expr, known []string, say sayFunc) {
	for id, text := range literals(with) {
		if len(known) > 0 && !slices.Contains(known, text) {
			say(id, "there is no detection %.40q", text)
		}
	}
}

// checkDivisor refuses a zero; the floating-point one gives infinity.
func checkDivisor(divisor ast.Expr, say sayFunc) {
	if divisor.Kind() != ast.LiteralKind {
		return
	}
	if v := divisor.AsLiteral(); v == types.IntZero || v == types.Uint(0) {
		say(divisor.ID(), "division by zero")
	}
}

// literals are the texts of a literal or a list of some, by the ids of their expressions.
func literals(e ast.Expr) iter.Seq2[int64, string] {
	list := []ast.Expr{e}
	if e.Kind() == ast.ListKind {
		list = e.AsList().Elements()
	}
	return func(yield func(int64, string) bool) {
		for _, l := range list {
			if l.Kind() != ast.LiteralKind {
				continue
			}
			if text, isText := l.AsLiteral().Value().(string); isText && !yield(l.ID(), text) {
				return
			}
		}
	}
}

// pathOf is a chain of fields such as "event.app.sensitivity", or "".
func pathOf(e ast.Expr) string {
	switch e.Kind() { //nolint:exhaustive // everything else is no path
	case ast.IdentKind:
		return e.AsIdent()
	case ast.SelectKind:
		if s := e.AsSelect(); !s.IsTestOnly() {
			if operand := pathOf(s.Operand()); operand != "" {
				return operand + "." + s.FieldName()
			}
		}
	}
	return ""
}

var fixedZone = regexp.MustCompile(`^(UTC|[+-]?[0-9]{2}:[0-9]{2})$`)

func checkZone(zone ast.Expr, say sayFunc) {
	if zone.Kind() == ast.LiteralKind {
		if text, ok := zone.AsLiteral().Value().(string); ok && fixedZone.MatchString(text) {
			return
		}
	}
	say(zone.ID(), `a time zone must be "UTC" or an offset such as "+02:00": the rules behind a name differ from machine to machine`)
}
