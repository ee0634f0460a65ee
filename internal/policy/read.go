package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-io/countersign/internal/events"
)

// reader walks the YAML tree and collects problems, each with its path and line.
type reader struct {
	detections []string // that conditions may name; empty is all
	problems   []error
}

func (r *reader) bad(path string, at *yaml.Node, format string, args ...any) {
	r.badLine(path, at.Line, format, args...)
}

func (r *reader) badLine(path string, line int, format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf("%s (line %d): "+format, append([]any{path, line}, args...)...))
}

// mapping reads an object; with no known keys every key is allowed. It returns nil when n is not an object.
func (r *reader) mapping(path string, n *yaml.Node, known ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		if path == "" {
			path = "policy file"
		}
		r.bad(path, n, "must be an object")
		return nil
	}
	out := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		switch {
		case key.Kind != yaml.ScalarNode:
			r.bad(path, key, "has a key that is no text")
		case len(known) > 0 && !slices.Contains(known, key.Value):
			r.bad(at, key, "is unknown, the keys here are %s", strings.Join(known, ", "))
		case out[key.Value] != nil:
			r.bad(at, key, "is given twice")
		default:
			out[key.Value] = n.Content[i+1]
		}
	}
	return out
}

func (r *reader) sequence(path string, n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		r.bad(path, n, "must be a list")
		return nil
	}
	return n.Content
}

func (r *reader) scalar(path string, n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode {
		r.bad(path, n, "is an alias, write the value itself")
		return false
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.bad(path, n, "must be a single value")
		return false
	}
	return true
}

func (r *reader) text(path string, n *yaml.Node) string {
	if !r.scalar(path, n) {
		return ""
	}
	if !utf8.ValidString(n.Value) || len(n.Value) > maxText {
		r.bad(path, n, "has %d bytes, must be valid text of at most %d", len(n.Value), maxText)
		return ""
	}
	return n.Value
}

func (r *reader) integer(path string, n *yaml.Node, low, high int) int {
	if !r.scalar(path, n) {
		return low
	}
	v, err := strconv.Atoi(n.Value)
	if err != nil || v < low || v > high {
		r.bad(path, n, "is %.40q, must be a whole number between %d and %d", n.Value, low, high)
		return low
	}
	return v
}

func (r *reader) fraction(path string, n *yaml.Node, low, high float64) float64 {
	if !r.scalar(path, n) {
		return low
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || !(v >= low && v <= high) {
		r.bad(path, n, "is %.40q, must be a number between %g and %g", n.Value, low, high)
		return low
	}
	return v
}

func (r *reader) boolean(path string, n *yaml.Node) bool {
	return r.oneOf(path, n, "true", "false") == "true"
}

func (r *reader) oneOf(path string, n *yaml.Node, allowed ...string) string {
	v := r.text(path, n)
	if !slices.Contains(allowed, v) {
		r.bad(path, n, "is %.40q, must be one of %s", v, strings.Join(allowed, ", "))
		return ""
	}
	return v
}

// duration reads whole seconds.
func (r *reader) duration(path string, n *yaml.Node, low, high time.Duration) events.Millis {
	d, err := time.ParseDuration(r.text(path, n))
	if err != nil || d < low || d > high {
		r.bad(path, n, "is %.40q, must be a duration between %s and %s, such as 12h", n.Value, Short(low), Short(high))
		return 0
	}
	return events.Millis(d.Truncate(time.Second).Milliseconds())
}

// Short is a duration without its empty parts: 720h, not 720h0m0s.
func Short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// texts reads a list of different texts.
func (r *reader) texts(path string, n *yaml.Node, limit int) []string {
	items := r.sequence(path, n)
	if len(items) > limit {
		r.bad(path, n, "has %d elements, at most %d are allowed", len(items), limit)
		return nil
	}
	out := make([]string, 0, len(items))
	seen := make(map[string]bool, len(items))
	for i, item := range items {
		at := path + "[" + strconv.Itoa(i) + "]"
		switch v := r.text(at, item); {
		case v == "":
			r.bad(at, item, "is empty")
		case seen[v]:
			r.bad(at, item, "repeats %q", v)
		default:
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}
