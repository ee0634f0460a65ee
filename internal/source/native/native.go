// Package native decodes countersign's own event JSON, as schemas/event.json describes it, for senders that speak it.
//
// Unknown keys are ignored, so that a newer sender can talk to an older receiver. Everything else that is not as it
// should be is an error that names the field.
package native

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/countersign-io/countersign/internal/events"
)

// Family is the identity space of events that name none.
const Family = "custom"

// Decoder decodes one event a value. It holds nothing and is safe for concurrent use.
type Decoder struct{}

// pool spares an allocation of some kilobytes for every event.
var pool = sync.Pool{New: func() any { return new(events.Event) }}

// MaxValue is the largest value that Decode accepts, in bytes.
func (Decoder) MaxValue() int { return events.MaxRecord }

// Decode calls emit once, with the event or with what is wrong. The event is valid during the call only. Its address is
// in canonical form; its meaning is for [events.Event.Validate].
func (Decoder) Decode(value []byte, emit func(record []byte, e *events.Event, err error)) {
	e := pool.Get().(*events.Event)
	defer pool.Put(e)
	// The event's texts outlive the caller's value.
	if err := events.DecodeInto(bytes.Clone(value), e); err != nil {
		emit(value, nil, explain(value, err))
		return
	}
	if e.Source.Family == "" {
		e.Source.Family = Family
	}
	if e.IP != "" {
		// Validate refuses what is no address; it must see it as it came.
		if ip, err := netip.ParseAddr(e.IP); err == nil {
			e.IP = ip.Unmap().WithZone("").String()
		}
	}
	emit(value, e, nil)
}

// explain says what is wrong with a value that could not be decoded: the fast decoder does not tell the field.
func explain(value []byte, err error) error {
	if errors.Is(err, events.ErrTooLarge) || errors.Is(err, events.ErrNotUTF8) {
		return err
	}
	var tree any
	if syntax := json.Unmarshal(value, &tree); syntax != nil {
		if at, ok := errors.AsType[*json.SyntaxError](syntax); ok {
			return fmt.Errorf("is no JSON: %w (byte %d)", syntax, at.Offset)
		}
		return fmt.Errorf("is no JSON: %w", syntax)
	}
	var problems []error
	check("", tree, reflect.TypeFor[events.Event](), func(path, format string, args ...any) {
		problems = append(problems, fmt.Errorf(path+": "+format, args...))
	})
	if len(problems) == 0 {
		return fmt.Errorf("is no event: %w", err)
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

// check compares decoded JSON with the type it is meant for, and reports what does not fit.
func check(path string, v any, t reflect.Type, bad func(path, format string, args ...any)) {
	if v == nil {
		return
	}
	wrong := func(want string) { bad(or(path, "event"), "is %s, must be %s", kindOf(v), want) }
	switch t {
	case reflect.TypeFor[events.Millis]():
		text, ok := v.(string)
		if !ok {
			wrong("an RFC 3339 time in a string")
		} else if _, err := events.ParseMillis(text); err != nil {
			bad(path, "%w", err)
		}
		return
	case reflect.TypeFor[events.Tri]():
		if _, ok := v.(bool); !ok {
			wrong("true or false")
		}
		return
	}
	switch t.Kind() { //nolint:exhaustive // the kinds that the event type has
	case reflect.Struct:
		members, ok := v.(map[string]any)
		if !ok {
			wrong("an object")
			return
		}
		for _, field := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if member, present := members[name]; present && name != "" {
				check(join(path, name), member, field.Type, bad)
			}
		}
	case reflect.Slice:
		elements, ok := v.([]any)
		if !ok {
			wrong("an array")
			return
		}
		for i, element := range elements {
			check(fmt.Sprintf("%s[%d]", path, i), element, t.Elem(), bad)
		}
	case reflect.String:
		if _, ok := v.(string); !ok {
			wrong("a string")
		}
	case reflect.Float64:
		if _, ok := v.(float64); !ok {
			wrong("a number")
		}
	case reflect.Int, reflect.Int64, reflect.Uint32:
		n, ok := v.(float64)
		if !ok {
			wrong("a whole number")
		} else if json.Unmarshal(strconv.AppendFloat(nil, n, 'f', -1, 64), reflect.New(t).Interface()) != nil {
			bad(path, "is %g, must be a whole number that fits", n)
		}
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case bool:
		return "true or false"
	case float64:
		return "a number"
	case []any:
		return "an array"
	}
	return "an object"
}
