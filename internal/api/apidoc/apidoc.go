// Package apidoc writes an OpenAPI document as a page for people.
package apidoc

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// intro is what holds for all operations.
//
//go:embed intro.md
var intro string

type document struct {
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]*schema }
}

type operation struct {
	ID          string `json:"operationId"`
	Summary     string
	Description string
	Parameters  []parameter
	RequestBody *struct{ Content map[string]media }
	Responses   map[string]struct {
		Description string
		Content     map[string]media
	}
	Security []map[string][]string
}

type parameter struct {
	Name, In, Description string
	Required              bool
	Schema                *schema
}

type media struct{ Schema *schema }

type schema struct {
	Ref         string          `json:"$ref"`
	Type        json.RawMessage // a text, or a list of them
	Format      string
	Description string
	Enum        []any
	Default     any
	Examples    []any
	Minimum     *float64
	Maximum     *float64
	MinItems    *int
	MaxLength   *int
	Pattern     string
	Items       *schema
	Properties  map[string]*schema
	Required    []string
}

// Markdown describes an OpenAPI document operation by operation: what each needs, takes and answers, with an example.
func Markdown(openapi []byte) ([]byte, error) {
	var d document
	if err := json.Unmarshal(openapi, &d); err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	var b bytes.Buffer
	b.WriteString(intro)
	groups := map[string][]string{}
	for path := range d.Paths {
		group, _, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
		groups[group] = append(groups[group], path)
	}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		fmt.Fprintf(&b, "\n## %s\n", group)
		slices.Sort(groups[group])
		for _, path := range groups[group] {
			for _, method := range []string{"get", "post", "put", "patch", "delete"} {
				if o, ok := d.Paths[path][method]; ok {
					d.operation(&b, strings.ToUpper(method), path, &o)
				}
			}
		}
	}
	return b.Bytes(), nil
}

func (d *document) operation(b *bytes.Buffer, method, path string, o *operation) {
	fmt.Fprintf(b, "\n### %s %s\n\n%s.", method, path, strings.TrimSuffix(o.Summary, "."))
	if text := strings.TrimSpace(o.Description); text != "" {
		fmt.Fprintf(b, " %s", text)
	}
	b.WriteString("\n")
	if len(o.Parameters) > 0 {
		b.WriteString("\n| parameter | in | | |\n|---|---|---|---|\n")
		for _, p := range o.Parameters {
			text := p.Description
			if text == "" && p.Schema != nil {
				text = p.Schema.Description
			}
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", p.Name, p.In, cell(d.kind(p.Schema)), cell(required(p.Required, text)))
		}
	}
	body := map[string]*schema{}
	if o.RequestBody != nil {
		if m, ok := o.RequestBody.Content["application/json"]; ok {
			s := d.resolve(m.Schema)
			body = s.Properties
			d.fields(b, "body", s)
		}
	}
	var refusals []string
	for _, status := range slices.Sorted(maps.Keys(o.Responses)) {
		r := o.Responses[status]
		if status >= "400" || status == "default" {
			refusals = append(refusals, status)
			continue
		}
		kinds := slices.Sorted(maps.Keys(r.Content))
		if len(kinds) == 0 {
			fmt.Fprintf(b, "\nAnswers %s without a body.\n", status)
			continue
		}
		fmt.Fprintf(b, "\nAnswers %s with `%s`.\n", status, strings.Join(kinds, "`, `"))
		if m, ok := r.Content["application/json"]; ok {
			d.fields(b, "answer", d.resolve(m.Schema))
		}
	}
	fmt.Fprintf(b, "\nRefuses with %s.\n", strings.Join(refusals, ", "))
	d.example(b, method, path, o, body)
}

func required(is bool, text string) string {
	if is {
		return strings.TrimSpace("required. " + text)
	}
	return text
}

// fields lists the fields of an object.
func (d *document) fields(b *bytes.Buffer, what string, s *schema) {
	if len(s.Properties) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| %s | | |\n|---|---|---|\n", what)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		f := s.Properties[name]
		text := f.Description
		if text == "" && f.Ref == "" && f.Items != nil {
			text = f.Items.Description
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, cell(d.kind(f)), cell(required(what == "body" && slices.Contains(s.Required, name), text)))
	}
}

// example is a request that could be sent.
func (d *document) example(b *bytes.Buffer, method, path string, o *operation, body map[string]*schema) {
	var query []string
	for _, p := range o.Parameters {
		switch {
		case p.In == "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", sample(p.Name, p.Schema))
		case p.In == "query" && p.Required:
			query = append(query, p.Name+"="+sample(p.Name, p.Schema))
		}
	}
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	fmt.Fprintf(b, "\n```sh\ncurl -H \"Authorization: Bearer $TOKEN\"")
	if method != "GET" {
		fmt.Fprintf(b, " -X %s", method)
	}
	if o.RequestBody != nil {
		values := map[string]any{}
		for name, s := range body {
			if r := d.resolve(s); s == nil || len(r.Properties) == 0 {
				values[name] = d.value(name, r, 0)
			}
		}
		raw, err := json.Marshal(values)
		if err != nil {
			raw = []byte("{}")
		}
		fmt.Fprintf(b, " -H \"Content-Type: application/json\" \\\n  -d '%s' \\\n ", strings.ReplaceAll(string(raw), "'", `'\''`))
	}
	fmt.Fprintf(b, " \"$API%s\"\n```\n", path)
}

// samples are values that people recognize, by the name of a parameter.
var samples = map[string]string{
	"tenant": "acme", "user": "u-1093", "session": "s-77aa", "app": "bank", "kind": "findings", "verb": "pause", "ip": "192.0.2.7",
	"id": "0f6c2b1e3a574d0c9d5e7b1a2c4d6e80", "from": "2026-11-01T00:00:00Z", "to": "2026-11-08T00:00:00Z", "confirm": "u-1093", "reason": "request 2231",
}

func sample(name string, s *schema) string {
	if s != nil && len(s.Enum) > 0 {
		return fmt.Sprint(s.Enum[0])
	}
	if v, ok := samples[name]; ok {
		return v
	}
	if s != nil && len(s.Examples) > 0 {
		return fmt.Sprint(s.Examples[0])
	}
	return name
}

// value is one that a field may have.
func (d *document) value(name string, s *schema, depth int) any {
	switch kind := s.kind(); {
	case len(s.Examples) > 0:
		return s.Examples[0]
	case len(s.Enum) > 0:
		return s.Enum[0]
	case kind == "array" && depth == 0 && s.Items != nil:
		return []any{d.value(strings.TrimSuffix(name, "s"), d.resolve(s.Items), depth+1)}
	case kind == "array":
		return []any{}
	case kind == "integer" || kind == "number":
		return 30
	case kind == "boolean":
		return true
	}
	return sample(name, s)
}

// resolve follows references.
func (d *document) resolve(s *schema) *schema {
	for range 8 {
		if s == nil {
			return &schema{}
		}
		if s.Ref == "" {
			return s
		}
		s = d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	return &schema{}
}

// kind is the type of JSON, without null.
func (s *schema) kind() string {
	var one string
	if json.Unmarshal(s.Type, &one) == nil {
		return one
	}
	var several []string
	if json.Unmarshal(s.Type, &several) == nil {
		several = slices.DeleteFunc(several, func(t string) bool { return t == "null" })
		return strings.Join(several, " or ")
	}
	return ""
}

// kind says in words what a value is.
func (d *document) kind(s *schema) string {
	if s == nil {
		return ""
	}
	if s.Ref != "" {
		return strings.TrimPrefix(s.Ref, "#/components/schemas/")
	}
	text := s.kind()
	switch {
	case text == "array" && s.Items != nil:
		return "list of " + d.kind(s.Items)
	case len(s.Enum) > 0:
		var values []string
		for _, v := range s.Enum {
			values = append(values, fmt.Sprintf("`%v`", v))
		}
		text = strings.Join(values, ", ")
	case s.Format == "date-time":
		text = "time"
	}
	switch {
	case s.Minimum != nil && s.Maximum != nil:
		text += fmt.Sprintf(", %v to %v", *s.Minimum, *s.Maximum)
	case s.MaxLength != nil:
		text += fmt.Sprintf(", up to %d characters", *s.MaxLength)
	}
	if s.Default != nil {
		text += fmt.Sprintf(", else %v", s.Default)
	}
	return text
}

// cell makes a text fit for a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", ">", "&gt;").Replace(text)
}
