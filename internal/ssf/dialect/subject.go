package dialect

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
)

// about is how a token names its subject.
type about struct {
	subject set.Subject
	// inside is the subject that the event repeats, nil when it does not.
	inside json.RawMessage
	// session tells whether the subject names a session.
	session bool
}

type simple struct {
	Format string `json:"format"`
	Issuer string `json:"iss,omitempty"`
	Sub    string `json:"sub,omitempty"`
	Email  string `json:"email,omitempty"`
	ID     string `json:"id,omitempty"`
}

type complexSubject struct {
	Format  string  `json:"format,omitempty"`
	Tenant  *simple `json:"tenant,omitempty"`
	User    *simple `json:"user"`
	Session *simple `json:"session,omitempty"`
	Device  *simple `json:"device,omitempty"`
}

func opaque(id string) *simple {
	if id == "" {
		return nil
	}
	return &simple{Format: set.FormatOpaque, ID: id}
}

// subjectOf names the subject as the stream wants it.
func subjectOf(s *ssf.Stream, c *revocation.Claims, kind string) (about, error) {
	dialect := of(s)
	if _, known := standard[dialect]; !known {
		return about{}, fmt.Errorf("%.40q is no dialect", dialect)
	}
	format := s.SubjectFormat
	if only := dialect.SubjectFormat(); only != "" {
		format = only
	} else if dialect == ssf.DialectOkta && format == "" {
		format = ssf.FormatEmail
	}
	user, err := userAs(format, s, c)
	if err != nil {
		return about{}, err
	}
	full := complexSubject{Format: set.FormatComplex, User: user}
	if kind == DeviceComplianceChange {
		full.Device = opaque(c.Device)
	}
	switch {
	case dialect == ssf.DialectGoogle:
		subject := encode(user)
		return about{subject: subject, inside: subject}, nil
	case dialect == ssf.DialectOkta:
		inside := full
		inside.Format = "" // its members are what it reads
		a := about{subject: encode(user), inside: encode(inside)}
		if full.Device != nil {
			a.subject = encode(full)
		}
		return a, nil
	case dialect == ssf.DialectSSF1 && (!s.Interop || format == ""):
		full.Session = opaque(c.Session)
		if format == "" {
			full.Tenant = opaque(c.Tenant)
		}
	}
	a := about{subject: encode(user), session: full.Session != nil}
	if full.Tenant != nil || full.Session != nil || full.Device != nil {
		a.subject = encode(full)
	}
	return a, nil
}

// userAs names the user in one of the formats of [ssf.Config].
func userAs(format string, s *ssf.Stream, c *revocation.Claims) (*simple, error) {
	if c.User == "" {
		return nil, errors.New("the decision names no user")
	}
	switch format {
	case "", ssf.FormatOpaque:
		return opaque(c.User), nil
	case ssf.FormatEmail:
		if !set.ValidEmail(c.UserName) {
			return nil, errors.New("the stream names users by email address, and the user's login name is unknown or is none")
		}
		return &simple{Format: set.FormatEmail, Email: c.UserName}, nil
	case ssf.FormatIssSub:
		if s.SubjectIssuer == "" {
			return nil, errors.New("the stream names users by iss_sub, and its configuration has no subject_issuer")
		}
		return &simple{Format: set.FormatIssSub, Issuer: s.SubjectIssuer, Sub: c.User}, nil
	}
	return nil, fmt.Errorf("%.40q is no way of naming users", format)
}

// Identifiers are all the ways in which the stream's receiver can name the subject of the decision: the user by our id, by
// email address and by iss_sub where they are known, alone and with tenant and session. A subject that was added to the
// stream or removed from it is meant when one of them matches.
func Identifiers(s ssf.Stream, c *revocation.Claims) []set.Identifier {
	var out []set.Identifier
	add := func(v any) {
		if i, err := set.ParseIdentifier(encode(v)); err == nil {
			out = append(out, i)
		}
	}
	for _, format := range []string{ssf.FormatOpaque, ssf.FormatEmail, ssf.FormatIssSub} {
		user, err := userAs(format, &s, c)
		if err != nil {
			continue
		}
		add(user)
		add(complexSubject{Format: set.FormatComplex, Tenant: opaque(c.Tenant), User: user, Session: opaque(c.Session)})
	}
	return out
}
