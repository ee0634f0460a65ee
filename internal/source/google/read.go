package google

import (
	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// pageKind is the kind of an answer of activities.list.
const pageKind = "admin#reports#activities"

// Limits of an activity. Google's have one or two events with a dozen parameters.
const (
	maxHappenings = 100
	maxParameters = 64
)

// activity is a record as it came; every text is "" when the record did not say.
type activity struct {
	kind                    string
	time, qualifier         string
	application, customer   string
	email, profile, key     string
	ip, region, subdivision string
	asn                     uint32
	happenings              []happening
	tooMany                 bool
}

// happening is one of an activity's events.
type happening struct {
	name       string
	parameters []parameter
}

// parameter carries one value, several, or nothing but its name.
type parameter struct {
	name   string
	flag   events.Tri
	values []string
}

// text is a parameter's first value, "" when there is none.
func (h *happening) text(name string) string {
	if values := h.list(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// list is all values of a parameter, in Google's order.
func (h *happening) list(name string) []string {
	for i := range h.parameters {
		if h.parameters[i].name == name {
			return h.parameters[i].values
		}
	}
	return nil
}

// flag is a parameter that is true or false.
func (h *happening) flag(name string) events.Tri {
	for i := range h.parameters {
		if h.parameters[i].name == name {
			return h.parameters[i].flag
		}
	}
	return events.Unknown
}

func (a *activity) read(l *jlexer.Lexer) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "kind":
			a.kind = foreign.Text(l)
		case "id":
			a.readID(l)
		case "actor":
			a.readActor(l)
		case "ipAddress":
			a.ip = foreign.Text(l)
		case "networkInfo":
			a.readNetwork(l)
		case "events":
			a.readHappenings(l)
		default:
			l.SkipRecursive()
		}
	})
}

func (a *activity) readID(l *jlexer.Lexer) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "time":
			a.time = foreign.Text(l)
		case "uniqueQualifier":
			a.qualifier = foreign.Text(l)
		case "applicationName":
			a.application = foreign.Text(l)
		case "customerId":
			a.customer = foreign.Text(l)
		default:
			l.SkipRecursive()
		}
	})
}

func (a *activity) readActor(l *jlexer.Lexer) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "email":
			a.email = foreign.Text(l)
		case "profileId":
			if a.profile = foreign.Text(l); a.profile == nobody {
				a.profile = ""
			}
		case "key":
			a.key = foreign.Text(l)
		default:
			l.SkipRecursive()
		}
	})
}

func (a *activity) readNetwork(l *jlexer.Lexer) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "ipAsn":
			if l.CurrentToken() != jlexer.TokenDelim {
				a.asn, _ = foreign.Unsigned(l)
				return
			}
			foreign.Array(l, func(l *jlexer.Lexer) {
				if asn, ok := foreign.Unsigned(l); ok && a.asn == 0 {
					a.asn = asn
				}
			})
		case "regionCode":
			a.region = foreign.Text(l)
		case "subdivisionCode":
			a.subdivision = foreign.Text(l)
		default:
			l.SkipRecursive()
		}
	})
}

func (a *activity) readHappenings(l *jlexer.Lexer) {
	foreign.Array(l, func(l *jlexer.Lexer) {
		if len(a.happenings) == maxHappenings {
			a.tooMany = true
			l.SkipRecursive()
			return
		}
		var h happening
		foreign.Object(l, func(l *jlexer.Lexer, key string) {
			switch key {
			case "name":
				h.name = foreign.Text(l)
			case "parameters":
				foreign.Array(l, func(l *jlexer.Lexer) {
					if p := readParameter(l); len(h.parameters) < maxParameters {
						h.parameters = append(h.parameters, p)
					}
				})
			default:
				l.SkipRecursive()
			}
		})
		a.happenings = append(a.happenings, h)
	})
}

// readParameter reads a parameter; its name may follow its value.
func readParameter(l *jlexer.Lexer) parameter {
	var p parameter
	add := func(l *jlexer.Lexer) {
		if v := foreign.Text(l); v != "" && len(p.values) < events.MaxElements {
			p.values = append(p.values, v)
		}
	}
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "name":
			p.name = foreign.Text(l)
		case "value":
			if l.CurrentToken() == jlexer.TokenBool {
				p.flag = foreign.Flag(l)
				return
			}
			add(l)
			if len(p.values) == 1 {
				p.flag = flagOf(p.values[0])
			}
		case "intValue":
			add(l)
		case "boolValue":
			p.flag = foreign.Flag(l)
		case "multiValue", "multiIntValue":
			foreign.Array(l, add)
		default:
			l.SkipRecursive()
		}
	})
	return p
}

// flagOf reads a flag that is written as text.
func flagOf(s string) events.Tri {
	switch s {
	case "true", "True":
		return events.Yes
	case "false", "False":
		return events.No
	}
	return events.Unknown
}
