package keycloak

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/source/foreign"
)

// maxDetails bounds the details that are kept; an event has about ten.
const maxDetails = 64

// logLine are the members of a JSON log line. Keys are flat and dotted, or nested, by the format that was chosen.
type logLine struct {
	message, logger, sequence, host string
}

// read reads an event, or a log line that holds one.
func read(value []byte) (*raw, error) {
	r := &raw{}
	var line logLine
	var timestamp string
	l := &jlexer.Lexer{Data: value}
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "timestamp", "@timestamp":
			timestamp = foreign.Text(l)
		case "message":
			line.message = foreign.Text(l)
		case "log": // the line, as container engines wrap it, or the logger
			line.log(l)
		case "loggerName", "log.logger", "logger", "logger_name":
			line.logger = foreign.Text(l)
		case "sequence", "event.sequence":
			line.sequence = foreign.Text(l)
		case "hostName", "host.hostname", "host.name":
			line.host = cmp.Or(line.host, foreign.Text(l))
		case "host":
			line.host = cmp.Or(line.host, named(l, "hostname", "name"))
		case "event":
			line.sequence = cmp.Or(line.sequence, named(l, "sequence"))
		default:
			r.member(l, key)
		}
	})
	if l.Consumed(); l.Error() != nil {
		return nil, foreign.Broken(l)
	}
	switch {
	case line.message == "" && line.logger == "":
		return r, nil
	case line.logger != "" && line.logger != logger:
		return nil, &foreign.Skipped{Reason: "category", Category: line.logger}
	}
	text, err := readLine(line.message)
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	text.time = cmp.Or(timestamp, r.time, text.time)
	text.line = fmt.Sprintf("%q %q %q %q", line.host, line.sequence, text.time, line.message)
	return text, nil
}

func (line *logLine) log(l *jlexer.Lexer) {
	if l.CurrentToken() == jlexer.TokenString {
		line.message = cmp.Or(line.message, foreign.Text(l))
		return
	}
	line.logger = cmp.Or(line.logger, named(l, "logger"))
}

// named reads one of the members of an object, the first by the order of names.
func named(l *jlexer.Lexer, names ...string) string {
	found := make([]string, len(names))
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		if n := slices.Index(names, key); n >= 0 {
			found[n] = foreign.Text(l)
			return
		}
		l.SkipRecursive()
	})
	return cmp.Or(found...)
}

func (r *raw) member(l *jlexer.Lexer, key string) {
	switch key {
	case "id":
		r.id = foreign.Text(l)
	case "time":
		r.time = foreign.Text(l)
	case "type":
		r.kind = foreign.Text(l)
	case "realmId":
		r.realm = foreign.Text(l)
	case "clientId":
		r.client = foreign.Text(l)
	case "userId":
		r.userID = foreign.Text(l)
	case "sessionId":
		r.session = foreign.Text(l)
	case "ipAddress":
		r.address = foreign.Text(l)
	case "error":
		r.failure = foreign.Text(l)
	case "details":
		r.readDetails(l)
	case "authDetails":
		r.readActor(l)
	case "operationType":
		r.operation = foreign.Text(l)
	case "resourceType", "resourceTypeAsString":
		r.resource = cmp.Or(r.resource, foreign.Text(l))
	case "resourcePath":
		r.path = foreign.Text(l)
	case "representation":
		r.representation = foreign.Text(l)
	default:
		l.SkipRecursive()
	}
}

// readDetails reads the details; the first of a name counts.
func (r *raw) readDetails(l *jlexer.Lexer) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		name := string([]byte(key)) // the key is valid during the call only
		r.detail(name, foreign.Text(l))
	})
}

func (r *raw) detail(name, value string) {
	if r.details == nil {
		r.details = map[string]string{}
	}
	if _, again := r.details[name]; !again && value != "" && len(r.details) < maxDetails {
		r.details[name] = value
	}
}

// readActor reads who caused an admin event. The realm there is that of the administrator.
func (r *raw) readActor(l *jlexer.Lexer) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "clientId":
			r.client = foreign.Text(l)
		case "userId":
			r.userID = foreign.Text(l)
		case "ipAddress":
			r.address = foreign.Text(l)
		case "realmId":
			r.realm = cmp.Or(r.realm, foreign.Text(l))
		default:
			l.SkipRecursive()
		}
	})
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
