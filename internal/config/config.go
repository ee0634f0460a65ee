// Package config reads a configuration: defaults in code, then a YAML file, then the environment. It is strict: an
// unknown key is an error, and every problem is reported at once with its path. It knows no component; a configuration
// is any struct with `yaml` tags whose sections say in Validate what is wrong with them.
package config

import (
	"encoding"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
	goyaml "go.yaml.in/yaml/v3"
)

// Prefix starts every environment variable that overrides a key: COUNTERSIGN_KAFKA__CLIENT_ID is kafka.client_id. Two
// underscores stand for the dot; a list is separated by commas.
const Prefix = "COUNTERSIGN_"

// MaxFile is the largest configuration file that is read, in bytes.
const MaxFile = 1 << 20

// Validator is what a section of a configuration says about itself: nil, or errors.Join of "field.path: problem" lines.
type Validator interface{ Validate() error }

// Load reads the file, unless its name is empty, and the environment over the defaults. environ is what os.Environ
// returns. The error holds every problem, one a line, each with its path. A process that uses some sections only names
// them: the others must still be readable, but may be incomplete.
func Load[T any](defaults T, file string, environ []string, sections ...string) (T, error) {
	content, err := read(file)
	if err != nil {
		return defaults, err
	}
	return Parse(defaults, content, environ, sections...)
}

// Sections tells which sections of a configuration the file or the environment say anything about, and which they leave to
// the defaults. The file's keys that are no sections are of neither.
func Sections[T any](file string, environ []string) (named, others []string, err error) {
	content, err := read(file)
	if err != nil {
		return nil, nil, err
	}
	k, err := parse(content, environ)
	if err != nil {
		return nil, nil, err
	}
	for f := range reflect.TypeFor[T]().Fields() {
		if k.Exists(name(f)) {
			named = append(named, name(f))
		} else {
			others = append(others, name(f))
		}
	}
	return named, others, nil
}

// read reads the file; no name is an empty one.
func read(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if info.Size() > MaxFile {
		return nil, fmt.Errorf("reading the configuration: %s has %d bytes, at most %d are allowed", file, info.Size(), MaxFile)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return content, nil
}

// parse puts the environment over a file's content.
func parse(content []byte, environ []string) (*koanf.Koanf, error) {
	k := koanf.New(".")
	if len(content) > 0 {
		if err := k.Load(rawbytes.Provider(content), yaml.Parser()); err != nil {
			return nil, fmt.Errorf("reading the configuration: %w", err)
		}
	}
	overrides := env.Provider(".", env.Opt{
		Prefix: Prefix,
		// Names without the separator are not configuration, such as COUNTERSIGN_ENGINE_LIB.
		TransformFunc: func(name, value string) (string, any) {
			path := strings.TrimPrefix(name, Prefix)
			if !strings.Contains(path, "__") {
				return "", nil
			}
			return strings.ReplaceAll(strings.ToLower(path), "__", "."), value
		},
		EnvironFunc: func() []string { return environ },
	})
	if err := k.Load(overrides, nil); err != nil {
		return nil, fmt.Errorf("reading the environment: %w", err)
	}
	return k, nil
}

// Parse is [Load] of a file's content.
func Parse[T any](defaults T, content []byte, environ []string, sections ...string) (T, error) {
	k, err := parse(content, environ)
	if err != nil {
		return defaults, err
	}
	out := defaults
	var problems []string
	if err := decode(k.Raw(), &out); err != nil {
		problems = append(problems, decodeProblems(err, reflect.TypeFor[T]().String())...)
	}
	problems = append(problems, sectionProblems(reflect.ValueOf(out), sections)...)
	// What concerns several sections is for the whole to say.
	if whole, ok := any(out).(Validator); ok {
		problems = append(problems, lines(whole.Validate())...)
	}
	if len(problems) > 0 {
		slices.Sort(problems)
		return out, errors.New(strings.Join(slices.Compact(problems), "\n"))
	}
	return out, nil
}

func decode(raw map[string]any, out any) error {
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: out, TagName: "yaml", ErrorUnused: true, WeaklyTypedInput: false,
		// A list in the file replaces the default list; it is not written over its first elements.
		ZeroFields: false,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			resetSlices,
			durations,
			mapstructure.StringToSliceHookFunc(","),
			mapstructure.TextUnmarshallerHookFunc(),
			scalarsFromText,
		),
	})
	if err != nil {
		return err
	}
	return d.Decode(raw)
}

// resetSlices empties a default list before the given one is decoded over it.
func resetSlices(from, to reflect.Value) (any, error) {
	if to.Kind() == reflect.Slice && to.CanSet() && from.IsValid() {
		to.SetZero()
	}
	return from.Interface(), nil
}

// durations reads "90s", "15m", "72h" and, for people, whole days: "30d".
func durations(_, to reflect.Type, data any) (any, error) {
	text, ok := data.(string)
	if !ok || to != reflect.TypeFor[time.Duration]() {
		return data, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return nil, fmt.Errorf("is %.40q, write for example 90s, 15m, 72h or 30d", text)
	}
	return d, nil
}

// scalarsFromText reads numbers and booleans that come from the environment, where everything is text.
func scalarsFromText(from, to reflect.Type, data any) (any, error) {
	text, ok := data.(string)
	if !ok {
		return data, nil
	}
	switch to.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8,
		reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		v := reflect.New(to)
		if err := goyaml.Unmarshal([]byte(text), v.Interface()); err != nil {
			return nil, fmt.Errorf("is %.40q, must be a %s", text, to)
		}
		return v.Elem().Interface(), nil
	default:
		return data, nil
	}
}

// decodeProblems turns the decoder's errors into "path: problem" lines. root is the type of the whole.
func decodeProblems(err error, root string) []string {
	var out []string
	path := func(de *mapstructure.DecodeError) string {
		if name := de.Name(); name != root { // what is outermost goes by its type
			return name
		}
		return ""
	}
	var walk func(error)
	walk = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				walk(e)
			}
			return
		}
		if de, ok := errors.AsType[*mapstructure.DecodeError](err); ok {
			text := de.Unwrap().Error()
			if keys, ok := strings.CutPrefix(text, "has invalid keys: "); ok {
				for key := range strings.SplitSeq(keys, ", ") {
					out = append(out, join(path(de), key)+": unknown key, see `countersign config dump` for the keys there are")
				}
				return
			}
			out = append(out, strings.TrimPrefix(path(de)+": "+text, ": "))
			return
		}
		out = append(out, err.Error())
	}
	if inner := errors.Unwrap(err); inner != nil {
		if _, ok := inner.(interface{ Unwrap() []error }); ok {
			err = inner
		}
	}
	walk(err)
	return out
}

// sectionProblems asks the named sections of the configuration, or all; a section is a field of the outermost struct.
func sectionProblems(v reflect.Value, names []string) []string {
	var out []string
	for i := range v.NumField() {
		section, ok := reflect.TypeAssert[Validator](v.Field(i))
		if !ok || len(names) > 0 && !slices.Contains(names, name(v.Type().Field(i))) {
			continue
		}
		for _, line := range lines(section.Validate()) {
			out = append(out, join(name(v.Type().Field(i)), line))
		}
	}
	return out
}

func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func join(path, rest string) string {
	if path == "" {
		return rest
	}
	return path + "." + rest
}

func name(f reflect.StructField) string {
	tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return tag
}

// Dump writes a configuration as YAML that Load reads back. Fields tagged `secret:"true"` are redacted.
func Dump(v any) ([]byte, error) {
	out, err := goyaml.Marshal(redact(reflect.ValueOf(v)))
	if err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	return out, nil
}

// Redacted stands for a secret in a dump.
const Redacted = "(redacted)"

func redact(v reflect.Value) *goyaml.Node {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return scalar(nil)
		}
		return redact(v.Elem())
	case reflect.Struct:
		if m, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok {
			return text(m)
		}
		n := &goyaml.Node{Kind: goyaml.MappingNode}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key := name(f)
			if !f.IsExported() || key == "" || key == "-" {
				continue
			}
			value := redact(v.Field(i))
			if f.Tag.Get("secret") == "true" && !v.Field(i).IsZero() {
				value = scalar(Redacted)
			}
			n.Content = append(n.Content, scalar(key), value)
		}
		return n
	case reflect.Slice, reflect.Array:
		n := &goyaml.Node{Kind: goyaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, redact(v.Index(i)))
		}
		return n
	case reflect.Map:
		n := &goyaml.Node{Kind: goyaml.MappingNode}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		for _, key := range keys {
			n.Content = append(n.Content, scalar(key.Interface()), redact(v.MapIndex(key)))
		}
		return n
	default:
		return scalar(v.Interface())
	}
}

func text(m encoding.TextMarshaler) *goyaml.Node {
	b, err := m.MarshalText()
	if err != nil {
		return scalar(err.Error())
	}
	return scalar(string(b))
}

func scalar(v any) *goyaml.Node {
	n := new(goyaml.Node)
	if s, ok := v.(fmt.Stringer); ok {
		v = s.String()
	}
	if err := n.Encode(v); err != nil {
		n.SetString(fmt.Sprint(v))
	}
	return n
}
