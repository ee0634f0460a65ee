package o365

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/source/foreign"
)

// raw is a record as it came; every text is "" when the record did not say.
type raw struct {
	id, created, recordType   string
	operation, result         string
	organization              string
	userKey, userID, userType string
	clientIP, actorIP         string
	app, object               string
	errorNumber, logonError   string
	session, token, flow      string
	agent                     string // of a directory change
	extended, device          map[string]string
	actor, target             []entry
	modified                  []modification
	content                   string // the address of an entry in a list of contents
}

// entry is one entry of a list of identities.
type entry struct{ id, kind string }

// modification is one property that was changed, with its values before and after as text.
type modification struct{ name, before, after string }

// Bounds of lists, of which records hold a handful each.
const (
	maxEntries       = 32
	maxModifications = 64
	maxTextDepth     = 2
)

// The properties that are used; the lists hold more, some of it personal.
var (
	wantedExtended = []string{"UserAgent", "UserAuthenticationMethod", "RequestType", "ResultStatusDetail", "additionalDetails"}
	wantedDevice   = []string{"Id", "DisplayName", "OS", "BrowserType", "IsCompliant", "IsManaged", "IsCompliantAndManaged", "SessionId"}
)

// read reads a record, or the record that is text or object inside a row.
func read(value []byte) (*raw, error) { return readAt(value, 0) }

func readAt(value []byte, depth int) (*raw, error) {
	r := &raw{}
	var inner []byte
	l := &jlexer.Lexer{Data: value}
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		if key == "AuditData" || key == "auditData" {
			inner = auditData(l)
			return
		}
		r.member(l, key)
	})
	if l.Consumed(); l.Error() != nil {
		return nil, foreign.Broken(l)
	}
	if inner == nil {
		return r, nil
	}
	if depth+1 >= maxTextDepth {
		return nil, errors.New("AuditData: holds a row again, must be a record")
	}
	if len(inner) == 0 || inner[0] != '{' {
		return nil, errors.New("AuditData: is no record, must be an object or one as text")
	}
	record, err := readAt(inner, depth+1)
	if err != nil {
		return nil, fmt.Errorf("AuditData: %w", err)
	}
	if record.recordType == "" {
		record.recordType = r.recordType
	}
	return record, nil
}

// auditData returns the record of a row, which is an object or text.
func auditData(l *jlexer.Lexer) []byte {
	if l.CurrentToken() == jlexer.TokenString {
		return []byte(strings.TrimSpace(l.String()))
	}
	return append([]byte{}, l.Raw()...)
}

func (r *raw) member(l *jlexer.Lexer, key string) {
	switch key {
	case "Id":
		r.id = foreign.Text(l)
	case "CreationTime":
		r.created = foreign.Text(l)
	case "RecordType":
		r.recordType = foreign.Text(l)
	case "Operation":
		r.operation = foreign.Text(l)
	case "ResultStatus":
		r.result = foreign.Text(l)
	case "OrganizationId":
		r.organization = foreign.Text(l)
	case "UserKey":
		r.userKey = text(l)
	case "UserId":
		r.userID = text(l)
	case "UserType":
		r.userType = foreign.Text(l)
	case "ClientIP":
		r.clientIP = text(l)
	case "ActorIpAddress":
		r.actorIP = text(l)
	case "ApplicationId":
		r.app = text(l)
	case "ObjectId":
		r.object = text(l)
	case "InterSystemsId":
		r.flow = foreign.Text(l)
	case "ErrorNumber":
		r.errorNumber = foreign.Text(l)
	case "ErrorCode": // by the documentation; records say ErrorNumber
		if code := foreign.Text(l); r.errorNumber == "" {
			r.errorNumber = code
		}
	case "LogonError":
		r.logonError = foreign.Text(l)
	case "ExtendedProperties":
		r.extended = properties(l, wantedExtended)
		r.agent = agentOf(r.extended["additionalDetails"])
	case "DeviceProperties":
		r.device = properties(l, wantedDevice)
	case "AppAccessContext":
		r.access(l)
	case "Actor":
		r.actor = entries(l)
	case "Target":
		r.target = entries(l)
	case "ModifiedProperties":
		r.modified = modifications(l)
	case "contentUri":
		r.content = foreign.Text(l)
	default:
		l.SkipRecursive()
	}
}

// text reads a text; the audit log has ways of its own to say nothing.
func text(l *jlexer.Lexer) string {
	s := foreign.Text(l)
	switch strings.ToLower(s) {
	case "not available", "<null>", "unknown actor":
		return ""
	}
	return s
}

// access reads the context that newer records carry of the session and token in use.
func (r *raw) access(l *jlexer.Lexer) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "AADSessionId":
			r.session = foreign.Text(l)
		case "UniqueTokenId":
			r.token = foreign.Text(l)
		default:
			l.SkipRecursive()
		}
	})
}

// properties reads the wanted entries of a list of {Name, Value}; the first of a name counts.
func properties(l *jlexer.Lexer, wanted []string) map[string]string {
	found := map[string]string{}
	foreign.Array(l, func(l *jlexer.Lexer) {
		var name, value string
		foreign.Object(l, func(l *jlexer.Lexer, key string) {
			switch key {
			case "Name":
				name = foreign.Text(l)
			case "Value":
				value = loose(l)
			default:
				l.SkipRecursive()
			}
		})
		if _, again := found[name]; !again && value != "" && slices.Contains(wanted, name) {
			found[name] = value
		}
	})
	return found
}

// loose reads a text, a number, or a boolean as text.
func loose(l *jlexer.Lexer) string {
	if l.CurrentToken() == jlexer.TokenBool {
		if l.Bool() {
			return "True"
		}
		return "False"
	}
	return foreign.Text(l)
}

// agentOf finds the user agent in the details of a directory change, which are JSON as text.
func agentOf(details string) (agent string) {
	if details == "" {
		return ""
	}
	foreign.Object(&jlexer.Lexer{Data: []byte(details)}, func(l *jlexer.Lexer, key string) {
		if key == "User-Agent" {
			agent = foreign.Text(l)
			return
		}
		l.SkipRecursive()
	})
	return agent
}

func entries(l *jlexer.Lexer) []entry {
	var list []entry
	foreign.Array(l, func(l *jlexer.Lexer) {
		var e entry
		foreign.Object(l, func(l *jlexer.Lexer, key string) {
			switch key {
			case "ID":
				e.id = text(l)
			case "Type":
				e.kind = foreign.Text(l)
			default:
				l.SkipRecursive()
			}
		})
		if e.id != "" && len(list) < maxEntries {
			list = append(list, e)
		}
	})
	return list
}

func modifications(l *jlexer.Lexer) []modification {
	var list []modification
	foreign.Array(l, func(l *jlexer.Lexer) {
		var m modification
		foreign.Object(l, func(l *jlexer.Lexer, key string) {
			switch key {
			case "Name":
				m.name = foreign.Text(l)
			case "OldValue":
				m.before = loose(l)
			case "NewValue":
				m.after = loose(l)
			default:
				l.SkipRecursive()
			}
		})
		if m.name != "" && len(list) < maxModifications {
			list = append(list, m)
		}
	})
	return list
}
