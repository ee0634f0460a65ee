package keycloak

import (
	"errors"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/source/foreign"
)

// logger writes events to the log.
const logger = "org.keycloak.events"

// readLine reads a line of the log: what the log puts before it, and key=value pairs with commas between. Values are in
// double quotes, or, by older versions, in none, and in single quotes when they have blanks. The order varies.
//
// Where a key comes twice the first counts: Keycloak writes its own fields before the details, in which a client may say
// what it likes.
func readLine(text string) (*raw, error) {
	head, pairs, err := splitLine(text)
	if err != nil {
		return nil, err
	}
	r := &raw{time: timeOf(head), line: text}
	seen := map[string]bool{}
	for pairs != "" && len(seen) < maxDetails {
		key, value, rest, ok := pair(pairs)
		if !ok {
			break // what follows are no pairs, such as a stack trace
		}
		pairs = rest
		if seen[key] {
			continue
		}
		seen[key] = true
		r.assign(key, foreign.Known(value))
	}
	return r, nil
}

func (r *raw) assign(key, value string) {
	switch key {
	case "type":
		r.kind = value
	case "operationType":
		r.operation = value
	case "resourceType":
		r.resource = value
	case "resourcePath":
		r.path = value
	case "realmId":
		r.realm = value
	case "clientId":
		r.client = value
	case "userId":
		r.userID = value
	case "sessionId":
		r.session = value
	case "ipAddress":
		r.address = value
	case "error":
		r.failure = value
	case "representation":
		r.representation = value
	default:
		r.detail(key, value)
	}
}

// splitLine finds where the pairs begin: at the first one behind the logger's name, before which no client can write, or,
// in a line without, at one of Keycloak's own.
func splitLine(text string) (head, pairs string, err error) {
	from, named := loggerEnd(text)
	begin := -1
	for _, key := range []string{"type", "operationType", "realmId"} {
		if at := keyAt(text, from, key); at >= 0 && (begin < 0 || at < begin) {
			begin = at
		}
	}
	switch {
	case begin < 0 && named:
		return "", "", errors.New(`is no event, must hold type="…" or operationType="…"`)
	case begin < 0:
		return "", "", &foreign.Skipped{Reason: "category", Category: "log line"}
	}
	if earlier := keyAt(text, from, ""); named || earlier == 0 {
		begin = earlier // the order varies
	}
	return text[:begin], strings.TrimSpace(text[begin:]), nil
}

// loggerEnd is behind the logger's name, which is not the beginning of another's.
func loggerEnd(text string) (end int, named bool) {
	for from := 0; ; from = end {
		at := strings.Index(text[from:], logger)
		if at < 0 {
			return 0, false
		}
		end = from + at + len(logger)
		if end == len(text) || !isKey(text[end]) {
			return end, true
		}
	}
}

// keyAt is where a pair with a key begins, at or behind from; -1 when there is none. An empty key is any.
func keyAt(text string, from int, key string) int {
	for i := from; i < len(text); i++ {
		if !isKey(text[i]) {
			continue
		}
		begin := i
		for i < len(text) && isKey(text[i]) {
			i++
		}
		if i < len(text) && text[i] == '=' && (key == "" || text[begin:i] == key) && (begin == 0 || text[begin-1] == ' ') {
			return begin
		}
	}
	return -1
}

// pair reads the first of some pairs.
func pair(s string) (key, value, rest string, ok bool) {
	end := 0
	for end < len(s) && isKey(s[end]) {
		end++
	}
	if end == 0 || end == len(s) || s[end] != '=' {
		return "", "", "", false
	}
	key, s = s[:end], s[end+1:]
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		if value, rest, ok = quoted(s); ok {
			return key, value, rest, true
		}
	}
	end = border(s)
	return key, strings.TrimSpace(s[:end]), next(s[end:]), true
}

// quoted reads a value in quotes. It ends where another pair, or nothing, follows its closing quote.
func quoted(s string) (value, rest string, ok bool) {
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == quote || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case s[i] == quote && (strings.TrimSpace(s[i+1:]) == "" || border(s[i+1:]) == 0):
			return b.String(), next(s[i+1:]), true
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

// border is where the next pair's comma is, or the end.
func border(s string) int {
	for i := 0; i < len(s); i++ {
		if s[i] != ',' {
			continue
		}
		end := i + 1
		for end < len(s) && s[end] == ' ' {
			end++
		}
		begin := end
		for end < len(s) && isKey(s[end]) {
			end++
		}
		if end > begin && end < len(s) && s[end] == '=' {
			return i
		}
	}
	return len(s)
}

// next drops the comma between two pairs.
func next(s string) string { return strings.TrimLeft(strings.TrimPrefix(s, ","), " \t") }

func isKey(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
}

// timeOf finds the time in what the log puts before an event: with a zone where there is one, for that is certain, else
// date and time, which are taken for UTC.
func timeOf(head string) string {
	fields := strings.Fields(head)
	local := ""
	for n, field := range fields {
		field = strings.Trim(field, "[]")
		if _, err := time.Parse(time.RFC3339Nano, strings.Replace(field, ",", ".", 1)); err == nil {
			return strings.Replace(field, ",", ".", 1)
		}
		if local != "" {
			continue
		}
		if at := strings.Replace(field, ",", ".", 1); isLocal("2006-01-02T15:04:05", at) {
			local = at
		} else if n > 0 {
			at = strings.Trim(fields[n-1], "[]") + " " + at
			if isLocal("2006-01-02 15:04:05", at) {
				local = at
			}
		}
	}
	return local
}

func isLocal(layout, text string) bool {
	_, err := time.Parse(layout, text)
	return err == nil
}
