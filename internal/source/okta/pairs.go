package okta

import "strings"

// pair is one of a text such as {level=HIGH, reasons=Anomalous Location, Anomalous Device}, which looks like JSON and is
// not: names hold blanks, and values hold commas.
type pair struct{ name, value string }

// maxPairs bounds the pairs that are read; a record has about ten.
const maxPairs = 64

// pairs reads such a text. A name is what stands between the last comma and an equals sign; an equals sign without a
// comma before it belongs to the value.
func pairs(s string) (found []pair) {
	s = strings.TrimSpace(s)
	inner, opened := strings.CutPrefix(s, "{")
	inner, closed := strings.CutSuffix(inner, "}")
	if !opened || !closed {
		return nil
	}
	name, rest, ok := strings.Cut(inner, "=")
	for ok && len(found) < maxPairs {
		value, next, more := rest, "", ""
		if at := nextName(rest); at >= 0 {
			comma := strings.LastIndexByte(rest[:at], ',')
			value, next, more = rest[:comma], rest[comma+1:at], rest[at+1:]
		}
		found = append(found, pair{strings.TrimSpace(name), strings.TrimSpace(value)})
		name, rest, ok = next, more, next != ""
	}
	return found
}

// nextName is the index of the first equals sign after a comma, -1 when there is none.
func nextName(s string) int {
	comma := strings.IndexByte(s, ',')
	if comma < 0 {
		return -1
	}
	if equals := strings.IndexByte(s[comma:], '='); equals >= 0 {
		return comma + equals
	}
	return -1
}

// valueOf is the value of a name, "" when there is none.
func valueOf(found []pair, name string) string {
	for _, p := range found {
		if strings.EqualFold(p.name, name) {
			return p.value
		}
	}
	return ""
}
