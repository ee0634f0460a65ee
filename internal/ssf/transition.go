package ssf

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/set"
)

// The delivery methods as they were named before SSF 1.0; apple-sse still has them.
const (
	legacyPush = "https://schemas.openid.net/secevent/risc/delivery-method/push"
	legacyPoll = "https://schemas.openid.net/secevent/risc/delivery-method/poll"
)

// terms are what the transmitter says about a stream, besides what the stream itself holds.
type terms struct {
	pollURL                     string // "" while the stream has no id
	supported, delivered        []string
	minVerification, inactivity int64 // seconds; inactivity 0 is never
	checkURL                    func(string) error
}

// newStream is the stream that a receiver asks for. What the registry gives, it has not yet.
func newStream(r Receiver, issuer, defaultSubjects string, q configurationRequest, t terms) (Stream, error) {
	s := Stream{
		Tenant: r.Tenant, Receiver: r.ID, Issuer: issuer, Dialect: r.Dialect, Interop: r.Interop, RevokeForStepUp: r.RevokeForStepUp,
		SubjectFormat: r.SubjectFormat, SubjectIssuer: r.SubjectIssuer, Status: Enabled, DefaultSubjects: defaultSubjects,
	}
	var err error
	if s.Audience, err = audienceOf(r, q.audience); err != nil {
		return s, err
	}
	if only := r.Dialect.SubjectFormat(); r.Dialect == DialectAppleSSE && q.format != "" && q.format != only {
		return s, invalid("format: is %.40q, must be %s", q.format, only)
	}
	return s, s.replace(q, t)
}

// Conform gives the stream what the configuration of its receiver says now, and reports whether that is something else. What
// the receiver chose by itself stays where it still may: with apple-sse the audience.
func (s *Stream) Conform(r Receiver) bool {
	before := *s
	s.Dialect, s.Interop, s.RevokeForStepUp = r.Dialect, r.Interop, r.RevokeForStepUp
	s.SubjectFormat, s.SubjectIssuer = r.SubjectFormat, r.SubjectIssuer
	audience, err := audienceOf(r, s.Audience)
	if err != nil { // it may not have that audience any more
		audience, err = audienceOf(r, nil)
	}
	if err == nil {
		s.Audience = audience
	}
	return s.Dialect != before.Dialect || s.Interop != before.Interop || s.RevokeForStepUp != before.RevokeForStepUp ||
		s.SubjectIssuer != before.SubjectIssuer || s.SubjectFormat != before.SubjectFormat || !slices.Equal(s.Audience, before.Audience)
}

// audienceOf is the aud of a new stream: the client's, or with apple-sse what the receiver chose of what it may.
func audienceOf(r Receiver, asked []string) ([]string, error) {
	if r.Dialect != DialectAppleSSE {
		return r.Audience, nil
	}
	if len(asked) == 0 {
		asked = slices.DeleteFunc(slices.Clone(r.Audience), func(a string) bool { return strings.HasSuffix(a, "*") })
		if len(asked) == 0 {
			return nil, invalid("aud: is missing")
		}
		return asked, nil
	}
	for _, a := range asked {
		if !slices.ContainsFunc(r.Audience, func(allowed string) bool {
			prefix, open := strings.CutSuffix(allowed, "*")
			return a == allowed || open && strings.HasPrefix(a, prefix)
		}) || len(a) > maxURI {
			return nil, invalid("aud: %.200q is none that the client may have", a)
		}
	}
	return asked, nil
}

// update changes what a request has and leaves the rest (SSF 1.0 §8.1.1.3). An error leaves the stream half changed: it
// must be thrown away then.
func (s *Stream) update(q configurationRequest, t terms) error {
	if err := s.compare(q, t); err != nil {
		return err
	}
	if q.delivery != nil {
		if err := s.deliver(*q.delivery, t); err != nil {
			return err
		}
	}
	if q.requested != nil {
		s.request(*q.requested)
	}
	if q.description != nil {
		s.Description = *q.description
	}
	return nil
}

// replace puts a request in the place of all that is the receiver's to write (SSF 1.0 §8.1.1.4): what is absent is
// deleted. Without a delivery that is poll, as in a create.
func (s *Stream) replace(q configurationRequest, t terms) error {
	if s.ID == "" { // in a create, members of the transmitter are not looked at: the receiver cannot know them
		if q.delivery != nil && s.method(q.delivery.method) == MethodPoll {
			q.delivery.url = ""
		}
	} else if err := s.compare(q, t); err != nil {
		return err
	}
	if q.delivery == nil {
		q.delivery = &deliveryRequest{method: MethodPoll}
	}
	if err := s.deliver(*q.delivery, t); err != nil {
		return err
	}
	s.Requested, s.Description = nil, ""
	if q.requested != nil {
		s.request(*q.requested)
	}
	if q.description != nil {
		s.Description = *q.description
	}
	return nil
}

// request keeps what a receiver wants, also what is not known here: a stream that asks for unknown types alone must not
// get all of them, as one does that asks for nothing.
func (s *Stream) request(types []string) {
	s.Requested = nil
	for _, uri := range types {
		if !slices.Contains(s.Requested, uri) {
			s.Requested = append(s.Requested, uri)
		}
	}
}

// compare checks that what the transmitter supplies, and a receiver sends along, is what it is now (SSF 1.0 §8.1.1.3).
func (s *Stream) compare(q configurationRequest, t terms) error {
	differs := func(name string) error {
		return invalid("%s: is not the current value, and the transmitter's to write; leave it out", name)
	}
	sent := q.supplied
	switch {
	case sent.issuer != nil && *sent.issuer != s.Issuer:
		return differs("iss")
	case q.audience != nil && !sameSet(q.audience, s.Audience):
		return differs("aud")
	case sent.supported != nil && !sameSet(*sent.supported, t.supported):
		return differs("events_supported")
	case sent.delivered != nil && !sameSet(*sent.delivered, t.delivered):
		return differs("events_delivered")
	case sent.minVerification != nil && *sent.minVerification != float64(t.minVerification):
		return differs("min_verification_interval")
	case sent.inactivity != nil && *sent.inactivity != float64(t.inactivity):
		return differs("inactivity_timeout")
	}
	return nil
}

func sameSet(a, b []string) bool {
	norm := func(texts []string) []string { return slices.Compact(slices.Sorted(slices.Values(texts))) }
	return slices.Equal(norm(a), norm(b))
}

// method is a delivery method by its name of today.
func (s *Stream) method(name string) string {
	if s.Dialect == DialectAppleSSE {
		switch name {
		case legacyPush:
			return MethodPush
		case legacyPoll:
			return MethodPoll
		}
	}
	return name
}

// deliver changes the delivery. The secret of a push stays while its endpoint has the same origin, unless a request has
// another; "" clears it. Without that rule a receiver that cannot read the secret could not update anything else, and with
// a weaker one whoever can write could have it sent elsewhere.
func (s *Stream) deliver(d deliveryRequest, t terms) error {
	switch s.method(d.method) {
	case MethodPoll:
		if d.url != "" && d.url != t.pollURL {
			return invalid("delivery.endpoint_url: is not the current value, and the transmitter's to write; leave it out")
		}
		s.Delivery = Delivery{Method: MethodPoll}
	case MethodPush:
		if d.url == "" {
			return invalid("delivery.endpoint_url: is missing")
		}
		if err := t.checkURL(d.url); err != nil {
			return invalid("delivery.endpoint_url: %s", err.Error())
		}
		next := Delivery{Method: MethodPush, URL: d.url}
		switch {
		case d.authorization != nil:
			next.Authorization = *d.authorization
		case s.Delivery.Method == MethodPush && origin(s.Delivery.URL) == origin(d.url):
			next.Authorization = s.Delivery.Authorization
		}
		s.Delivery = next
	default:
		return invalid("delivery.method: is %.100q, must be %s or %s", d.method, MethodPush, MethodPoll)
	}
	return nil
}

// origin is the scheme, host and port of an address (RFC 6454 §4).
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// setStatus changes whether the stream transmits, as its receiver asks. What an operator has paused it may still disable;
// that the operator has stopped it stays so, or two changes would go round the one that is refused.
func (s *Stream) setStatus(q statusRequest) error {
	if s.StatusBy != ByOperator || s.Status == Enabled {
		s.Status, s.Reason, s.StatusBy = q.status, q.reason, ByReceiver
		return nil
	}
	switch q.status {
	case s.Status: // as it is, with the operator's reason
	case Disabled:
		s.Status, s.Reason = q.status, q.reason
	default:
		return errHeld
	}
	return nil
}

// addSubject adds a subject in its canonical form. Where all subjects are in anyhow, only what was removed needs to be
// kept: a receiver may add as many as it likes.
func (s *Stream) addSubject(subject set.Subject, most int) error {
	if i := s.findSubject(subject); i >= 0 {
		s.setSubject(i, SubjectEntry{Subject: subject})
		return nil
	}
	removed := func(e SubjectEntry) bool { return e.Removed != 0 && set.Match(e.Subject, subject) }
	if s.DefaultSubjects == SubjectsAll && !slices.ContainsFunc(s.Subjects, removed) {
		return nil
	}
	return s.keepSubject(SubjectEntry{Subject: subject}, most)
}

// removeSubject removes a subject in its canonical form at a time, in seconds since the epoch. For some while events of it
// may still be sent (SSF 1.0 §9.3): the entry stays, with the time.
func (s *Stream) removeSubject(subject set.Subject, now int64, most int) error {
	if i := s.findSubject(subject); i >= 0 {
		if e := s.Subjects[i]; e.Removed == 0 {
			e.Removed = now
			s.setSubject(i, e)
		}
		return nil
	}
	if s.DefaultSubjects == SubjectsNone {
		return nil // it is not in
	}
	return s.keepSubject(SubjectEntry{Subject: subject, Removed: now}, most)
}

func (s *Stream) findSubject(subject set.Subject) int {
	return slices.IndexFunc(s.Subjects, func(e SubjectEntry) bool { return bytes.Equal(e.Subject, subject) })
}

// setSubject leaves the old array alone: the version before this change may still be read.
func (s *Stream) setSubject(i int, e SubjectEntry) {
	s.Subjects = slices.Clone(s.Subjects)
	s.Subjects[i] = e
}

// keepSubject makes room, if need be, by forgetting the earliest of those that were removed from a stream that has none
// but those that were added: they are out anyhow.
func (s *Stream) keepSubject(e SubjectEntry, most int) error {
	if len(s.Subjects) >= most {
		earliest := -1
		for i, have := range s.Subjects {
			if have.Removed != 0 && (earliest < 0 || have.Removed < s.Subjects[earliest].Removed) {
				earliest = i
			}
		}
		if s.DefaultSubjects != SubjectsNone || earliest < 0 {
			return invalid("subject: the stream has %d already, and may have no more", len(s.Subjects))
		}
		s.Subjects = slices.Delete(slices.Clone(s.Subjects), earliest, earliest+1)
	}
	s.Subjects = append(slices.Clip(s.Subjects), e)
	return nil
}

// configuration is a stream as its receiver reads it (SSF 1.0 §8.1.1). The secret of a push has no place in it.
type configuration struct {
	ID                      string        `json:"stream_id"`
	Issuer                  string        `json:"iss"`
	Audience                any           `json:"aud"`
	Supported               []string      `json:"events_supported"`
	Requested               []string      `json:"events_requested,omitempty"`
	Delivered               []string      `json:"events_delivered"`
	Delivery                deliveryShown `json:"delivery"`
	MinVerificationInterval int64         `json:"min_verification_interval,omitempty"`
	InactivityTimeout       int64         `json:"inactivity_timeout,omitempty"`
	Description             string        `json:"description,omitempty"`
}

type deliveryShown struct {
	Method string `json:"method"`
	URL    string `json:"endpoint_url"`
}

func (s *Stream) show(t terms) configuration {
	c := configuration{
		ID: s.ID, Issuer: s.Issuer, Audience: s.Audience, Supported: t.supported, Requested: s.Requested, Delivered: t.delivered,
		Delivery:                deliveryShown{Method: s.Delivery.Method, URL: s.Delivery.URL},
		MinVerificationInterval: t.minVerification, InactivityTimeout: t.inactivity, Description: s.Description,
	}
	if len(s.Audience) == 1 {
		c.Audience = s.Audience[0]
	}
	if s.Delivery.Method == MethodPoll {
		c.Delivery.URL = t.pollURL
	}
	if s.Dialect == DialectAppleSSE {
		c.Delivery.Method = map[string]string{MethodPush: legacyPush, MethodPoll: legacyPoll}[s.Delivery.Method]
	}
	if c.Supported == nil {
		c.Supported = []string{}
	}
	if c.Delivered == nil {
		c.Delivered = []string{}
	}
	return c
}

// statusShown is the status as its receiver reads it.
type statusShown struct {
	ID     string `json:"stream_id"`
	Status Status `json:"status"`
	Reason string `json:"reason,omitempty"`
}

func (s *Stream) showStatus() statusShown { return statusShown{s.ID, s.Status, s.Reason} }
