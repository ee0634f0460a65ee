package stepup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
	"unique"
)

// The event types that open and close requirements. All carry the same members.
const (
	// EventStepUpRequired asks for a fresh and stronger proof of identity.
	EventStepUpRequired = "https://schemas.countersign.io/secevent/event-type/step-up-required"
	// EventSessionRevoked ends a session. It is the standard CAEP type; countersign adds its own members to it.
	EventSessionRevoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	// EventAssuranceLevelChange and EventRiskLevelChange are standard CAEP types too. With countersign's members they are
	// what a stream gets that did not ask for step-up-required; without them they open no requirement by themselves.
	EventAssuranceLevelChange = "https://schemas.openid.net/secevent/caep/event-type/assurance-level-change"
	EventRiskLevelChange      = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change"
)

// Limits of a claims set. A larger one is refused whole, so that a hostile record costs little.
const (
	// MaxClaims is the most bytes of one claims set.
	MaxClaims = 64 << 10

	maxTenant    = 64
	maxIdentity  = 256
	maxACRValues = 16
	maxReason    = 1024
)

// DefaultLifetime is how long a session-revoked event without an `expires` member counts. A plain CAEP transmitter sends
// none; countersign always does.
const DefaultLifetime = 24 * time.Hour

// ErrEventType is returned by [ParseClaims] for a well-formed claims set with an event that opens and closes no
// requirement. A subscriber skips it.
var ErrEventType = errors.New("event opens and closes no requirement")

// Claims is the claims set of a Security Event Token (RFC 8417) that opens or closes one requirement.
type Claims struct {
	Issuer   string
	IssuedAt time.Time
	// JTI names this decision; the same decision has the same JTI on every transport and in every repeat.
	JTI string
	// Status is what became of the requirement. It only ever goes from open to satisfied or expired.
	Status Status
	// ClosedAt is when it was satisfied or expired; zero while it is open.
	ClosedAt    time.Time
	Requirement Requirement
}

type wireSET struct {
	Issuer  string                     `json:"iss"`
	Issued  *numericDate               `json:"iat"`
	JTI     string                     `json:"jti"`
	Txn     string                     `json:"txn"`
	Sub     json.RawMessage            `json:"sub"`
	Exp     json.RawMessage            `json:"exp"`
	Subject json.RawMessage            `json:"sub_id"`
	Events  map[string]json.RawMessage `json:"events"`
}

type wireSubject struct {
	Format  string      `json:"format"`
	Tenant  *wireOpaque `json:"tenant"`
	User    *wireOpaque `json:"user"`
	Session *wireOpaque `json:"session"`
}

type wireOpaque struct {
	Format string `json:"format"`
	ID     string `json:"id"`
}

type wireEvent struct {
	Timestamp   *numericDate      `json:"event_timestamp"`
	Status      string            `json:"status"`
	Requirement string            `json:"requirement"`
	Action      string            `json:"action"`
	ACRValues   []string          `json:"acr_values"`
	MaxAge      int               `json:"max_age"`
	NotBefore   *numericDate      `json:"not_before"`
	Expires     *numericDate      `json:"expires"`
	ClosedAt    *numericDate      `json:"closed_at"`
	Credential  bool              `json:"credential_change"`
	Severity    string            `json:"severity"`
	Scope       string            `json:"scope"`
	ReasonUser  map[string]string `json:"reason_user"`
	Policy      struct {
		Name string `json:"name"`
	} `json:"policy"`
}

// ParseClaims reads one claims set: the value of a record of the revocations topic, or the payload of a verified SET. It
// does not check a signature. Members it does not know are ignored; what it does know must have the right type and size,
// and must make sense together. Numeric dates may be in seconds or, above 10^11, in milliseconds.
//
// A session-revoked event without countersign's members, as other transmitters send it, is a requirement of its own, open
// from its time of issue for [DefaultLifetime]. The same token always makes the same requirement.
//
// The error says what is wrong and where. Nothing of b is kept.
func ParseClaims(b []byte) (Claims, error) { return parseClaims(b, nil) }

// ParseClaimsOf is ParseClaims for a claims set whose subject identifier means who. The identifier itself may be of any
// form and is not looked at; Session of who may be empty, and is not used when the event says that it is about the user.
func ParseClaimsOf(b []byte, who Subject) (Claims, error) { return parseClaims(b, &who) }

func parseClaims(b []byte, who *Subject) (Claims, error) {
	switch {
	case len(b) > MaxClaims:
		return Claims{}, fmt.Errorf("claims set has %d bytes, at most %d are allowed", len(b), MaxClaims)
	case !utf8.Valid(b):
		return Claims{}, errors.New("claims set is not valid UTF-8")
	}
	var set wireSET
	if err := json.Unmarshal(b, &set); err != nil {
		return Claims{}, fmt.Errorf("reading claims set: %w", err)
	}
	if err := set.check(); err != nil {
		return Claims{}, err
	}
	if who == nil {
		var err error
		if who, err = readSubject(set.Subject); err != nil {
			return Claims{}, err
		}
	}
	if err := who.check(); err != nil {
		return Claims{}, err
	}
	var kind string
	var raw json.RawMessage
	for kind, raw = range set.Events { // exactly one, as checked
	}
	if !slices.Contains([]string{EventStepUpRequired, EventSessionRevoked, EventAssuranceLevelChange, EventRiskLevelChange}, kind) {
		return Claims{}, fmt.Errorf("%w: %.120q", ErrEventType, kind)
	}
	if len(raw) == 0 || raw[0] != '{' {
		return Claims{}, errors.New("events: the event must be an object")
	}
	var event wireEvent
	if err := json.Unmarshal(raw, &event); err != nil {
		return Claims{}, fmt.Errorf("reading event: %w", err)
	}
	if event.Status == "" && (kind == EventAssuranceLevelChange || kind == EventRiskLevelChange) {
		return Claims{}, fmt.Errorf("%w: %.120q without a status", ErrEventType, kind)
	}
	return set.claims(kind, &event, who)
}

// check reports what makes a claims set none of ours, whatever its event says.
func (s *wireSET) check() error {
	switch {
	case s.Issuer == "" || len(s.Issuer) > maxIdentity:
		return fmt.Errorf("iss: must have 1 to %d bytes", maxIdentity)
	case s.Issued == nil:
		return errors.New("iat: is missing")
	case s.Sub != nil || s.Exp != nil:
		return errors.New("sub, exp: must not be in a security event token")
	case len(s.Events) != 1:
		return fmt.Errorf("events: has %d members, must have exactly one", len(s.Events))
	}
	return errors.Join(identity("jti", s.JTI, maxIdentity), optional("txn", s.Txn))
}

// readSubject reads the subject identifier that countersign writes: a complex one of opaque ids.
func readSubject(raw json.RawMessage) (*Subject, error) {
	if raw == nil {
		return nil, errors.New("sub_id: is missing")
	}
	var s wireSubject
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("reading sub_id: %w", err)
	}
	if s.Format != "complex" {
		return nil, fmt.Errorf("sub_id.format: is %.40q, must be complex", s.Format)
	}
	who := &Subject{}
	problems := []error{s.Tenant.read("sub_id.tenant", &who.Tenant), s.User.read("sub_id.user", &who.User)}
	if s.Session != nil {
		problems = append(problems, s.Session.read("sub_id.session", &who.Session))
	}
	return who, errors.Join(problems...)
}

func (o *wireOpaque) read(path string, to *string) error {
	if o == nil {
		return fmt.Errorf("%s: is missing", path)
	}
	if o.Format != "opaque" {
		return fmt.Errorf("%s.format: is %.40q, must be opaque", path, o.Format)
	}
	*to = o.ID
	return identity(path+".id", o.ID, maxIdentity)
}

// check tells whether the names are present, of bounded size, and without control characters.
func (s *Subject) check() error {
	problems := []error{identity("tenant", s.Tenant, maxTenant), identity("user", s.User, maxIdentity)}
	if s.Session != "" {
		problems = append(problems, identity("session", s.Session, maxIdentity))
	}
	return errors.Join(problems...)
}

// identity checks text that names something: present, bounded, without control characters.
func identity(path, v string, limit int) error {
	switch {
	case v == "":
		return fmt.Errorf("%s: is missing", path)
	case len(v) > limit:
		return fmt.Errorf("%s: has %d bytes, at most %d are allowed", path, len(v), limit)
	}
	for _, r := range v {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return fmt.Errorf("%s: has control characters", path)
		}
	}
	return nil
}

func optional(path, v string) error {
	if v == "" {
		return nil
	}
	return identity(path, v, maxIdentity)
}

func (s *wireSET) claims(kind string, e *wireEvent, who *Subject) (Claims, error) {
	c := Claims{Issuer: unique.Make(s.Issuer).Value(), IssuedAt: s.Issued.Time(), JTI: s.JTI, Status: Status(e.Status)}
	r := Requirement{
		ID:        e.Requirement,
		JTI:       s.JTI,
		Subject:   Subject{Tenant: unique.Make(who.Tenant).Value(), User: who.User},
		Action:    Action(e.Action),
		MaxAge:    e.MaxAge,
		NotBefore: e.NotBefore.Time(),
		Expires:   e.Expires.Time(),
		Severity:  unique.Make(e.Severity).Value(),
		Policy:    unique.Make(e.Policy.Name).Value(),
		Reason:    unique.Make(pick(e.ReasonUser)).Value(),

		CredentialChange: e.Credential,
	}
	if r.ID == "" && c.Status != "" {
		r.ID = s.Txn // countersign's transaction is the requirement
	}
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	want := ActionStepUp
	if kind == EventSessionRevoked {
		// A plain CAEP event has none of countersign's members; what it means without them is known.
		want = ActionRevokeSession
		if c.Status == "" {
			c.Status = StatusOpen
		}
		if r.ID == "" {
			// Not the txn, which all tokens of one cause share: several users and sessions may be revoked for it.
			sum := sha256.Sum256([]byte(s.Issuer + "\x00" + s.JTI))
			r.ID = hex.EncodeToString(sum[:16])
		}
		if r.NotBefore.IsZero() {
			r.NotBefore = c.IssuedAt
		}
		if r.Expires.IsZero() {
			r.Expires = r.NotBefore.Add(DefaultLifetime)
		}
	}
	if r.Action == "" {
		r.Action = want
	}
	all := r.Action == ActionRevokeAll && kind == EventSessionRevoked
	if r.Action != want && !all {
		bad("action: is %.40q, must be %s in this event type", r.Action, want)
	}
	if r.CredentialChange && !all {
		bad("credential_change: means nothing with action %.40q", r.Action)
	}
	if err := identity("requirement", r.ID, maxIdentity); err != nil {
		problems = append(problems, err)
	}
	switch c.Status {
	case StatusOpen:
	case StatusSatisfied, StatusExpired:
		c.ClosedAt = e.ClosedAt.Time()
		if c.ClosedAt.IsZero() {
			c.ClosedAt = c.IssuedAt
		}
	default:
		bad("status: is %.40q, must be open, satisfied or expired", c.Status)
	}
	if r.NotBefore.IsZero() {
		bad("not_before: is missing")
	}
	if !r.Expires.After(r.NotBefore) {
		bad("expires: must be after not_before")
	}
	if r.MaxAge < 0 {
		bad("max_age: is %d, must not be negative", r.MaxAge)
	}
	if len(e.Severity) > maxTenant || len(e.Policy.Name) > maxIdentity {
		bad("severity, policy.name: too long")
	}
	if len(e.ACRValues) > maxACRValues {
		bad("acr_values: has %d elements, at most %d are allowed", len(e.ACRValues), maxACRValues)
	} else {
		for i, v := range e.ACRValues {
			if !validACR(v) {
				bad("acr_values[%d]: must be 1 to %d printable ASCII characters without space, quote or backslash", i, maxIdentity)
				continue
			}
			r.ACRValues = append(r.ACRValues, unique.Make(v).Value())
		}
	}
	r.ACRValues = slices.Clip(r.ACRValues)
	switch {
	case e.Scope == "user", e.Scope == "" && who.Session == "":
	case e.Scope == "session", e.Scope == "":
		if r.Session = who.Session; r.Session == "" {
			bad("sub_id.session: is missing")
		}
		if all {
			bad("scope: must be user with action %s", ActionRevokeAll)
		}
	default:
		bad("scope: is %.40q, must be user or session", e.Scope)
	}
	if len(problems) > 0 {
		return Claims{}, errors.Join(problems...)
	}
	c.Requirement = r
	return c, nil
}

// validACR reports whether v may stand in a space-separated list inside a quoted string without any escape.
func validACR(v string) bool {
	if v == "" || len(v) > maxIdentity {
		return false
	}
	for _, c := range []byte(v) {
		if c <= ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return true
}

// pick chooses English, else the first language by name, and bounds the text.
func pick(texts map[string]string) string {
	text, ok := texts["en"]
	if !ok {
		first := ""
		for tag := range texts {
			if first == "" || tag < first {
				first = tag
			}
		}
		text = texts[first]
	}
	if len(text) <= maxReason {
		return text
	}
	cut := maxReason
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

// numericDate is a JSON number of seconds, or of milliseconds when it is above 10^11, since 1970. nil is "not given".
type numericDate time.Time

// Time is the moment, in UTC; zero for nil.
func (d *numericDate) Time() time.Time {
	if d == nil {
		return time.Time{}
	}
	return time.Time(*d)
}

// UnmarshalJSON reads a number that is a date between 1970 and 9999.
func (d *numericDate) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return fmt.Errorf("%.40q is not a numeric date", b)
	}
	const msThreshold, lastSecond = 1e11, 253402300799
	if n > msThreshold {
		n /= 1000
	}
	if math.IsNaN(n) || n <= 0 || n > lastSecond {
		return fmt.Errorf("%.40q is not a numeric date between 1970 and 9999", b)
	}
	*d = numericDate(time.UnixMilli(int64(math.Round(n * 1000))).UTC())
	return nil
}
