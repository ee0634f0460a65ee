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
// what it likes. It escapes quotes in values and no backslashes, so a value that seems to go on behind \", may have ended
// there with a backslash. What follows such a value may be details, but nothing of Keycloak's own.
func readLine(text string) (*raw, error) {
	head, pairs, err := splitLine(text)
	if err != nil {
		return nil, err
	}
	r := &raw{time: timeOf(head), line: text}
	own := map[string]*string{
		"type": &r.kind, "operationType": &r.operation, "resourceType": &r.resource, "resourcePath": &r.path, "representation": &r.representation,
		"realmId": &r.realm, "clientId": &r.client, "userId": &r.userID, "sessionId": &r.session, "ipAddress": &r.address, "error": &r.failure,
	}
	doubtful := false
	var unclosed quotes
	for pairs != "" {
		p, ok := pairOf(pairs, &unclosed)
		if !ok {
			break // what follows are no pairs, such as a stack trace
		}
		pairs = p.rest
		value := foreign.Known(p.value)
		if field, is := own[p.key]; !is {
			r.detail(p.key, value)
		} else if field != nil && !doubtful {
			*field = value
			own[p.key] = nil
		}
		doubtful = doubtful || p.doubtful
	}
	return r, nil
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

// pair is one of the pairs, and the rest of them. A doubtful one may have ended earlier.
type pair struct {
	key, value, rest string
	doubtful         bool
}

// quotes are the kinds of quotes that close nowhere in what is left. To know spares looking for them at every pair.
type quotes struct{ single, double bool }

// pairOf reads the first of some pairs.
func pairOf(s string, unclosed *quotes) (p pair, ok bool) {
	end := 0
	for end < len(s) && isKey(s[end]) {
		end++
	}
	if end == 0 || end == len(s) || s[end] != '=' {
		return pair{}, false
	}
	p.key, s = s[:end], s[end+1:]
	switch {
	case s == "":
	case s[0] == '"' && !unclosed.double:
		ok = p.quoted(s)
		unclosed.double = !ok
	case s[0] == '\'' && !unclosed.single:
		ok = p.quoted(s)
		unclosed.single = !ok
	}
	if !ok {
		end = border(s)
		p.value, p.rest = strings.TrimSpace(s[:end]), next(s[end:])
	}
	return p, true
}

// quoted reads a value in quotes. It ends where another pair, or nothing, follows its closing quote.
func (p *pair) quoted(s string) bool {
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == quote:
			i++
			b.WriteByte(quote)
			p.doubtful = p.doubtful || ends(s, i+1)
		case s[i] == quote && ends(s, i+1):
			p.value, p.rest = b.String(), next(s[i+1:])
			return true
		default:
			b.WriteByte(s[i])
		}
	}
	p.doubtful = false
	return false
}

// ends reports whether a value can end before s[i]: another pair or nothing follows.
func ends(s string, i int) bool { return strings.TrimLeft(s[i:], " ") == "" || isBorder(s, i) }

// border is where the next pair's comma is, or the end.
func border(s string) int {
	for i := range len(s) {
		if isBorder(s, i) {
			return i
		}
	}
	return len(s)
}

// isBorder reports whether s[i] is a comma before another pair.
func isBorder(s string, i int) bool {
	if i >= len(s) || s[i] != ',' {
		return false
	}
	for i++; i < len(s) && s[i] == ' '; i++ {
	}
	begin := i
	for i < len(s) && isKey(s[i]) {
		i++
	}
	return i > begin && i < len(s) && s[i] == '='
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
