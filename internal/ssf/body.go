package ssf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// tooLargeError is for a body that is longer than it may be.
type tooLargeError struct{ most int }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the body must have at most %d bytes", e.most)
}

func invalid(format string, args ...any) error {
	return &InvalidError{Problem: fmt.Sprintf(format, args...)}
}

func readBody(w http.ResponseWriter, r *http.Request, most int) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(most)))
	switch err.(type) { //nolint:errorlint // it comes as it is
	case nil:
		return body, nil
	case *http.MaxBytesError:
		return nil, &tooLargeError{most}
	default:
		return nil, invalid("the body did not come whole")
	}
}

// members are those of a JSON object. Names count as they are written, unknown ones are not looked at, and null is as good
// as absent.
type members map[string]json.RawMessage

func parseObject(raw []byte) (members, error) {
	var m members
	if !utf8.Valid(raw) {
		return nil, invalid("the body is not UTF-8")
	}
	if err := json.Unmarshal(raw, &m); err != nil || m == nil {
		return nil, invalid("the body is no JSON object")
	}
	for name, value := range m {
		if bytes.Equal(value, []byte("null")) {
			delete(m, name)
		}
	}
	return m, nil
}

func (m members) has(name string) bool { return m[name] != nil }

// only refuses members of other names.
func (m members) only(names ...string) error {
	for name := range m {
		if !slices.Contains(names, name) {
			return invalid("%.80q: is not known here", name)
		}
	}
	return nil
}

// read decodes a member into v and reports whether it is there.
func (m members) read(name, kind string, v any) (bool, error) {
	raw, ok := m[name]
	if !ok {
		return false, nil
	}
	if json.Unmarshal(raw, v) != nil {
		return false, invalid("%s: is not %s", name, kind)
	}
	return true, nil
}

func (m members) text(name string) (text string, there bool, err error) {
	there, err = m.read(name, "a string", &text)
	return text, there, err
}

func (m members) texts(name string, most int) (texts []string, there bool, err error) {
	if there, err = m.read(name, "an array of strings", &texts); err != nil {
		return nil, false, err
	}
	if len(texts) > most {
		return nil, false, invalid("%s: has %d entries, at most %d are allowed", name, len(texts), most)
	}
	return texts, there, nil
}

// audience reads a member that is a string or an array of strings.
func (m members) audience(name string) (texts []string, there bool, err error) {
	if one, there, err := m.text(name); err == nil && there {
		return []string{one}, true, nil
	}
	return m.texts(name, maxAudience)
}

// id reads the stream_id; only apple-sse may leave it out.
func (m members) id() (string, error) {
	id, _, err := m.text("stream_id")
	return id, err
}

const (
	maxAudience = 100
	maxHeader   = 4096 // authorization_header, in bytes
	maxURI      = 1024 // an event type, in bytes
)

// configurationRequest is a stream's configuration as a receiver writes it. Members that are absent are nil.
type configurationRequest struct {
	id          string
	delivery    *deliveryRequest
	requested   *[]string
	description *string
	audience    []string
	format      string
	// supplied are members that are the transmitter's to write.
	supplied suppliedMembers
}

type suppliedMembers struct {
	issuer               *string
	supported, delivered *[]string
	minVerification      *float64
	inactivity           *float64
}

type deliveryRequest struct {
	method, url   string
	authorization *string
}

// parseConfiguration reads the body of a create, an update or a replacement.
func parseConfiguration(raw []byte, l Limits) (configurationRequest, error) {
	var q configurationRequest
	m, err := parseObject(raw)
	if err != nil {
		return q, err
	}
	if q.id, err = m.id(); err != nil {
		return q, err
	}
	if requested, there, err := m.texts("events_requested", l.EventsRequested); err != nil {
		return q, err
	} else if there {
		for _, uri := range requested {
			if len(uri) > maxURI {
				return q, invalid("events_requested: has an entry of %d bytes, at most %d are allowed", len(uri), maxURI)
			}
		}
		q.requested = &requested
	}
	if description, there, err := m.text("description"); err != nil {
		return q, err
	} else if there {
		description = cut(description, l.Description)
		q.description = &description
	}
	if q.audience, _, err = m.audience("aud"); err != nil {
		return q, err
	}
	if q.format, _, err = m.text("format"); err != nil {
		return q, err
	}
	if err := q.supplied.parse(m); err != nil {
		return q, err
	}
	if m.has("delivery") {
		inner, err := parseObject(m["delivery"])
		if err != nil {
			return q, invalid("delivery: is no object")
		}
		if q.delivery, err = parseDelivery(inner); err != nil {
			return q, err
		}
	}
	return q, nil
}

func (s *suppliedMembers) parse(m members) error {
	if text, there, err := m.text("iss"); err != nil {
		return err
	} else if there {
		s.issuer = &text
	}
	for name, to := range map[string]**[]string{"events_supported": &s.supported, "events_delivered": &s.delivered} {
		if texts, there, err := m.texts(name, 10_000); err != nil {
			return err
		} else if there {
			*to = &texts
		}
	}
	for name, to := range map[string]**float64{"min_verification_interval": &s.minVerification, "inactivity_timeout": &s.inactivity} {
		var number float64
		if there, err := m.read(name, "a number", &number); err != nil {
			return err
		} else if there {
			*to = &number
		}
	}
	return nil
}

func parseDelivery(m members) (*deliveryRequest, error) {
	var d deliveryRequest
	var err error
	if d.method, _, err = m.text("method"); err != nil {
		return nil, invalid("delivery.%s", err.Error())
	}
	if d.method == "" {
		return nil, invalid("delivery.method: is missing")
	}
	if d.url, _, err = m.text("endpoint_url"); err != nil {
		return nil, invalid("delivery.%s", err.Error())
	}
	header, there, err := m.text("authorization_header")
	switch {
	case err != nil:
		return nil, invalid("delivery.%s", err.Error())
	case there && !validHeader(header):
		return nil, invalid("delivery.authorization_header: must be at most %d visible ASCII characters and spaces, with none around it", maxHeader)
	case there:
		d.authorization = &header
	}
	return &d, nil
}

// validHeader reports whether text can be sent verbatim as the value of a header.
func validHeader(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(text) <= maxHeader && strings.TrimSpace(text) == text
}

// cut returns at most n characters of text.
func cut(text string, n int) string {
	for i := range text {
		if n == 0 {
			return text[:i]
		}
		n--
	}
	return text
}

// statusRequest is the body of a change of status.
type statusRequest struct {
	id, reason string
	status     Status
}

func parseStatus(raw []byte, l Limits) (statusRequest, error) {
	var q statusRequest
	m, err := parseObject(raw)
	if err != nil {
		return q, err
	}
	if q.id, err = m.id(); err != nil {
		return q, err
	}
	status, _, err := m.text("status")
	if err != nil {
		return q, err
	}
	switch q.status = Status(status); q.status {
	case Enabled, Paused, Disabled:
	default:
		return q, invalid("status: is %.40q, must be %s, %s or %s", status, Enabled, Paused, Disabled)
	}
	q.reason, _, err = m.text("reason")
	q.reason = cut(q.reason, l.Description)
	return q, err
}

// verifyRequest is the body of a request for verification. State is nil when there is none.
type verifyRequest struct {
	id    string
	state *string
}

// MaxState bounds the state of a verification, in bytes.
const MaxState = 1024

func parseVerify(raw []byte) (verifyRequest, error) {
	var q verifyRequest
	m, err := parseObject(raw)
	if err != nil {
		return q, err
	}
	if q.id, err = m.id(); err != nil {
		return q, err
	}
	state, there, err := m.text("state")
	switch {
	case err != nil:
		return q, err
	case len(state) > MaxState:
		return q, invalid("state: has %d bytes, at most %d are allowed", len(state), MaxState)
	case there:
		q.state = &state
	}
	return q, nil
}

// maxJTI bounds the id of a SET, in bytes.
const maxJTI = 256

// parsePoll reads the body of a poll (RFC 8936 §2.2). A SET that is both acknowledged and refused counts as refused.
// Content-Language, which the RFC wants beside setErrs, may be missing: the descriptions are for people, and many
// receivers do not know.
func parsePoll(raw []byte, l Limits) (PollRequest, error) {
	var q PollRequest
	m, err := parseObject(raw)
	if err != nil {
		return q, err
	}
	var most int
	switch there, err := m.read("maxEvents", "an integer", &most); {
	case err != nil:
		return q, err
	case there && most < 0:
		return q, invalid("maxEvents: is %d, must not be negative", most)
	case there:
		most = min(most, l.PollSets)
		q.MaxEvents = &most
	default:
		q.MaxEvents = &l.PollSets
	}
	if _, err := m.read("returnImmediately", "true or false", &q.ReturnImmediately); err != nil {
		return q, err
	}
	if *q.MaxEvents == 0 { // there is nothing to wait for
		q.ReturnImmediately = true
	}
	if q.Ack, _, err = m.texts("ack", l.PollAcks); err != nil {
		return q, err
	}
	if _, err := m.read("setErrs", "an object of objects with err and description", &q.SetErrs); err != nil {
		return q, err
	}
	if len(q.SetErrs) > l.PollAcks {
		return q, invalid("setErrs: has %d entries, at most %d are allowed", len(q.SetErrs), l.PollAcks)
	}
	for jti, e := range q.SetErrs {
		if e.Err == "" || len(e.Err) > maxJTI || len(jti) > maxJTI {
			return q, invalid("setErrs: has an entry without err, or with an err or a name of more than %d bytes", maxJTI)
		}
		e.Description = cut(e.Description, l.Description)
		q.SetErrs[jti] = e
	}
	kept := q.Ack[:0]
	for _, jti := range q.Ack {
		if len(jti) > maxJTI {
			return q, invalid("ack: has an entry of %d bytes, at most %d are allowed", len(jti), maxJTI)
		}
		if _, refused := q.SetErrs[jti]; !refused {
			kept = append(kept, jti)
		}
	}
	q.Ack = kept
	return q, nil
}

// subjectRequest is the body of an addition or a removal of a subject. Whether the receiver has verified that the subject is
// with it (SSF 1.0 §8.1.3.2) changes nothing here, and is not read.
type subjectRequest struct {
	id      string
	subject json.RawMessage
}

func parseSubjectRequest(raw []byte) (subjectRequest, error) {
	var q subjectRequest
	m, err := parseObject(raw)
	if err != nil {
		return q, err
	}
	if q.id, err = m.id(); err != nil {
		return q, err
	}
	if !m.has("subject") {
		return q, invalid("subject: is missing")
	}
	q.subject = m["subject"]
	return q, nil
}
