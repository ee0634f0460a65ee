package stepupssf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign-io/countersign/stepup"
)

// SubjectIdentifier names whom an event is about (RFC 9493, SSF 1.0 §3).
type SubjectIdentifier struct {
	// Format is such as opaque, iss_sub, email, aliases or complex.
	Format string `json:"format"`
	// ID is that of format opaque.
	ID string `json:"id,omitempty"`
	// Issuer and Sub are those of iss_sub.
	Issuer string `json:"iss,omitempty"`
	Sub    string `json:"sub,omitempty"`
	Email  string `json:"email,omitempty"`
	// Phone is a number by E.164, URI an address of format account or uri, URL one of format did.
	Phone string `json:"phone_number,omitempty"`
	URI   string `json:"uri,omitempty"`
	URL   string `json:"url,omitempty"`
	// Identifiers are other names of one subject, in format aliases.
	Identifiers []SubjectIdentifier `json:"identifiers,omitempty"`
	// Members are those of format complex: tenant, user, session, device and so on. All of them together name the subject.
	Members map[string]SubjectIdentifier `json:"-"`

	// Raw is the identifier as it came, with members of other formats.
	Raw json.RawMessage `json:"-"`
}

// Errors that Config.Subject may return.
var (
	// ErrUnknownSubject: nobody here is meant. The event is accepted and has no effect, which is how SSF wants a subject
	// treated that the transmitter was told to leave out.
	ErrUnknownSubject = errors.New("the subject is nobody known here")
	// ErrForeignSubject: the transmitter may not speak of that subject. The event is refused with access_denied.
	ErrForeignSubject = errors.New("the transmitter may not speak of this subject")
)

// Bounds of a subject identifier.
const (
	maxMembers = 16
	complexSub = "complex"
	aliases    = "aliases"
)

type plainIdentifier SubjectIdentifier

// UnmarshalJSON reads an identifier of any format. Members of a complex one that are no objects are left out.
func (s *SubjectIdentifier) UnmarshalJSON(b []byte) error {
	if err := s.read(b); err != nil {
		return err
	}
	for i := range s.Identifiers {
		if alias := &s.Identifiers[i]; alias.Format == aliases || alias.Format == complexSub {
			return fmt.Errorf("identifiers[%d]: is %s, must be simple", i, alias.Format)
		}
	}
	if s.Format != complexSub {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return err
	}
	s.Members = map[string]SubjectIdentifier{}
	for name, raw := range members {
		if len(raw) == 0 || raw[0] != '{' {
			continue
		}
		if len(s.Members) == maxMembers {
			return fmt.Errorf("it has more than %d members", maxMembers)
		}
		var member SubjectIdentifier
		if err := member.read(raw); err != nil {
			return fmt.Errorf("%.40s: %w", name, err)
		}
		if member.Format == complexSub {
			return fmt.Errorf("%.40s: is complex, must be simple", name)
		}
		s.Members[name] = member
	}
	return nil
}

// read reads what is not a member of a complex one.
func (s *SubjectIdentifier) read(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '{' {
		return errors.New("it is no object")
	}
	var wire struct {
		plainIdentifier
		Phone       string            `json:"phone"` // a misspelling that an example of SSF has
		Identifiers []json.RawMessage `json:"identifiers"`
	}
	if err := json.Unmarshal(b, &wire); err != nil {
		return err
	}
	*s = SubjectIdentifier(wire.plainIdentifier)
	s.Raw = bytes.Clone(b)
	if s.Phone == "" {
		s.Phone = wire.Phone
	}
	if len(wire.Identifiers) > maxMembers {
		return fmt.Errorf("identifiers: has %d elements, at most %d are allowed", len(wire.Identifiers), maxMembers)
	}
	s.Identifiers = nil
	for _, raw := range wire.Identifiers {
		var alias struct {
			plainIdentifier
			Identifiers json.RawMessage `json:"identifiers"` // may not be there, and is not looked into
		}
		if err := json.Unmarshal(raw, &alias); err != nil {
			return fmt.Errorf("identifiers: %w", err)
		}
		alias.Raw = bytes.Clone(raw)
		s.Identifiers = append(s.Identifiers, SubjectIdentifier(alias.plainIdentifier))
	}
	return nil
}

// MarshalJSON writes the identifier as it came.
func (s SubjectIdentifier) MarshalJSON() ([]byte, error) {
	if s.Raw != nil {
		return s.Raw, nil
	}
	return json.Marshal(plainIdentifier(s))
}

// understood are the members of complex subjects that the default mapping takes into account.
var understood = []string{"tenant", "user", "session"}

// critical says which critical member of a subject is not understood; "" for none.
func (r *Receiver) critical(s *set) string {
	p := r.client.party.cached.Load()
	if p == nil || s.subject == nil {
		return ""
	}
	for name := range s.subject.Members {
		if slices.Contains(p.metadata.CriticalSubjectMembers, name) && !slices.Contains(understood, name) && !slices.Contains(r.cfg.SubjectMembers, name) {
			return name
		}
	}
	return ""
}

// who says whom an event is about.
func (r *Receiver) who(ctx context.Context, id *SubjectIdentifier) (stepup.Subject, error) {
	if r.cfg.Subject != nil {
		return r.cfg.Subject(ctx, *id)
	}
	who := stepup.Subject{Tenant: r.cfg.Tenant}
	user := *id
	if id.Format == complexSub {
		user = id.Members["user"]
		if tenant, ok := id.Members["tenant"]; ok {
			if r.cfg.Tenant != "" && tenant.ID != r.cfg.Tenant {
				return who, fmt.Errorf("%w: tenant is %.80q", ErrForeignSubject, tenant.ID)
			}
			who.Tenant = tenant.ID
		}
		if session, ok := id.Members["session"]; ok {
			if session.Format != "opaque" || session.ID == "" {
				return who, fmt.Errorf("%w: session is of format %.40q", ErrUnknownSubject, session.Format)
			}
			who.Session = session.ID
		}
	}
	switch {
	case user.Format == "opaque":
		who.User = user.ID
	case user.Format == "iss_sub" && (user.Issuer == r.cfg.Issuer || slices.Contains(r.cfg.SubjectIssuers, user.Issuer)):
		who.User = user.Sub
	}
	if who.User == "" || who.Tenant == "" {
		return who, fmt.Errorf("%w: user is of format %.40q, iss %.200q", ErrUnknownSubject, user.Format, user.Issuer)
	}
	return who, nil
}
