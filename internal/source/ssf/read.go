package ssf

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// claims is a claims set as it came (RFC 8417, section 2.2); "", 0 and nil are absent. Verification and decoding read it
// with the same code, so that what was verified is what is understood.
type claims struct {
	issuer, jti, sub, sid string
	audience              []string
	issued, occurred      float64 // iat and toe, in seconds since 1970
	expires               bool
	subject               *subject // sub_id
	events                []payload
	problem               string // with the shape of events
}

// payload is one member of events: its URI and what is known of its members.
type payload struct {
	uri     string
	subject *subject // older transmitters name it here
	at      float64  // event_timestamp, in seconds or milliseconds since 1970

	initiator, reason, reasonUser, cause       string // cause is RISC's and risk-level-change's own word
	claims, claimNames                         string // of token-claims-change, as JSON, and the names alone
	credential, change, friendly, authority    string
	serial, model                              string
	namespace, level, previousLevel, direction string
	status, previousStatus                     string
	agent, acr, external, session              string
	methods, addresses                         []string
	principal, newValue, state                 string
}

// bounds of what is kept of lists.
const (
	maxTokenEvents = 16
	maxList        = 32
)

var errNoObject = errors.New("is no JSON object")

// readClaims reads a claims set. Types that are not as the specifications say count as absent.
func readClaims(raw []byte) (*claims, error) {
	switch {
	case !utf8.Valid(raw):
		return nil, events.ErrNotUTF8
	case !json.Valid(raw):
		return nil, errors.New("is no JSON")
	}
	c := &claims{}
	l := &jlexer.Lexer{Data: raw}
	if !members(l, func(key string) { c.member(l, key) }) {
		return nil, errNoObject
	}
	if l.Consumed(); l.Error() != nil {
		return nil, foreign.Broken(l)
	}
	// Their order in the token may differ from copy to copy; ids are given by place.
	slices.SortStableFunc(c.events, func(a, b payload) int { return cmp.Compare(a.uri, b.uri) })
	for i := 1; i < len(c.events); i++ {
		if c.events[i].uri == c.events[i-1].uri && c.problem == "" {
			c.problem = fmt.Sprintf("events: names %.200q twice", c.events[i].uri)
		}
	}
	return c, nil
}

func (c *claims) member(l *jlexer.Lexer, key string) {
	switch key {
	case "iss":
		c.issuer = text(l)
	case "jti":
		c.jti = text(l)
	case "sub":
		c.sub = text(l)
	case "sid":
		c.sid = text(l)
	case "aud":
		c.audience = texts(l)
	case "iat":
		c.issued = number(l)
	case "toe":
		c.occurred = number(l)
	case "exp":
		c.expires = !l.IsNull()
		l.SkipRecursive()
	case "sub_id":
		c.subject = readSubject(l, 0)
	case "events":
		c.events, c.problem = nil, "events: is no object"
		if members(l, func(uri string) { c.event(l, uri) }) && c.problem == "events: is no object" {
			c.problem = ""
		}
	default:
		l.SkipRecursive()
	}
}

func (c *claims) event(l *jlexer.Lexer, uri string) {
	if len(c.events) >= maxTokenEvents {
		c.problem = fmt.Sprintf("events: has more than %d members", maxTokenEvents)
		l.SkipRecursive()
		return
	}
	p := payload{uri: strings.Clone(uri)}
	if !members(l, func(key string) { p.member(l, key) }) {
		c.problem = fmt.Sprintf("events: the member %.200q is no object", p.uri)
	}
	c.events = append(c.events, p)
}

// member reads one member of an event. The names of CAEP, RISC, SSF and Okta do not clash.
func (p *payload) member(l *jlexer.Lexer, key string) {
	if to := p.text(key); to != nil {
		*to = foreign.Text(l)
		return
	}
	switch key {
	case "subject":
		p.subject = readSubject(l, 0)
	case "event_timestamp":
		p.at = number(l)
	case "reason_admin":
		p.reason = readReason(l)
	case "reason_user":
		p.reasonUser = readReason(l)
	case "claims":
		p.readClaimChange(l)
	case "amr":
		p.methods = texts(l)
	case "ips":
		p.addresses = texts(l)
	default:
		l.SkipRecursive()
	}
}

// text is where the text of a member goes; nil for members that are no plain text.
func (p *payload) text(key string) *string {
	switch key {
	case "initiating_entity":
		return &p.initiator
	case "reason", "risk_reason":
		return &p.cause
	case "credential_type":
		return &p.credential
	case "change_type":
		return &p.change
	case "friendly_name":
		return &p.friendly
	case "x509_issuer":
		return &p.authority
	case "x509_serial":
		return &p.serial
	case "fido2_aaguid":
		return &p.model
	case "namespace":
		return &p.namespace
	case "current_level":
		return &p.level
	case "previous_level":
		return &p.previousLevel
	case "change_direction":
		return &p.direction
	case "current_status", "status":
		return &p.status
	case "previous_status":
		return &p.previousStatus
	case "fp_ua":
		return &p.agent
	case "acr":
		return &p.acr
	case "ext_id":
		return &p.external
	case "sid":
		return &p.session
	case "principal":
		return &p.principal
	case "new-value":
		return &p.newValue
	case "state":
		return &p.state
	}
	return nil
}

// readClaimChange keeps the claims as they are, and their names in order.
func (p *payload) readClaimChange(l *jlexer.Lexer) {
	raw := l.Raw()
	var names []string
	if !members(&jlexer.Lexer{Data: raw}, nil) {
		return
	}
	inner := &jlexer.Lexer{Data: raw}
	members(inner, func(key string) {
		if len(names) < maxList {
			names = append(names, strings.Clone(key))
		}
		inner.SkipRecursive()
	})
	slices.Sort(names)
	p.claims, p.claimNames = string(raw), strings.Join(names, ",")
}

// members calls member for every member of an object, which must consume its value; the key is valid during the call
// only. It reports whether there was an object; everything else is skipped. Without member, so is the object.
func members(l *jlexer.Lexer, member func(key string)) bool {
	if l.CurrentToken() != jlexer.TokenDelim || !l.IsDelim('{') || member == nil {
		object := l.CurrentToken() == jlexer.TokenDelim && l.IsDelim('{')
		l.SkipRecursive()
		return object
	}
	l.Delim('{')
	for !l.IsDelim('}') {
		key := l.UnsafeFieldName(false)
		l.WantColon()
		member(key)
		l.WantComma()
	}
	l.Delim('}')
	return true
}

// text reads a string as it is: ids have no words for "unknown".
func text(l *jlexer.Lexer) string {
	if l.CurrentToken() == jlexer.TokenString {
		return l.String()
	}
	l.SkipRecursive()
	return ""
}

// texts reads a string or an array of strings.
func texts(l *jlexer.Lexer) (list []string) {
	if l.CurrentToken() != jlexer.TokenDelim || !l.IsDelim('[') {
		if one := text(l); one != "" {
			list = append(list, one)
		}
		return list
	}
	foreign.Array(l, func(l *jlexer.Lexer) {
		if one := text(l); one != "" && len(list) < maxList {
			list = append(list, one)
		}
	})
	return list
}

// number reads a positive JSON number; everything else is 0.
func number(l *jlexer.Lexer) float64 {
	if l.CurrentToken() != jlexer.TokenNumber {
		l.SkipRecursive()
		return 0
	}
	n, err := strconv.ParseFloat(string(l.Raw()), 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// readReason reads a text by language: the English one where there is one, else the first.
func readReason(l *jlexer.Lexer) (reason string) {
	if l.CurrentToken() == jlexer.TokenString {
		return foreign.Text(l) // drafts had no languages
	}
	english := false
	members(l, func(language string) {
		is := language == "en" || strings.HasPrefix(language, "en-")
		if said := foreign.Text(l); said != "" && (reason == "" || is && !english) {
			reason, english = said, is
		}
	})
	return reason
}

// latest is the end of the year 9999.
const latest = 253_402_300_799

// moment reads seconds since 1970, or milliseconds, as drafts and a conformance suite write them; 0 is none.
func moment(n float64) time.Time {
	const milliseconds = 1e11 // as seconds, the year 5138
	if n > milliseconds {
		n /= 1000
	}
	if n <= 0 || n > latest {
		return time.Time{}
	}
	return time.UnixMilli(int64(n * 1000)).UTC()
}
