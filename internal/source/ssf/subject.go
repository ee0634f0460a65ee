package ssf

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// subject is a subject identifier (RFC 9493) or a complex subject of SSF; "" and nil are absent.
type subject struct {
	format              string
	issuer, sub         string
	id                  string
	name                string // an address of e-mail, telephone number, account or URI
	token               string // of jwt_id or saml_assertion_id
	addresses           []string
	aliases             []*subject
	user, session       *subject
	device, application *subject
	members             []string // of a complex subject
}

// maxAliases bounds the identifiers of an aliases subject; maxDepth is a complex subject of aliases.
const (
	maxAliases = 16
	maxDepth   = 2
)

// complexMembers are the members of complex subjects in SSF.
var complexMembers = []string{"user", "device", "session", "application", "tenant", "org_unit", "group"}

// readSubject reads a subject; nil for what is none. Formats are told by their members, since older transmitters name
// them otherwise (subject_type, dashes) or not at all.
func readSubject(l *jlexer.Lexer, depth int) *subject {
	s := &subject{}
	object := members(l, func(key string) {
		switch key {
		case "format", "subject_type":
			s.format = strings.ReplaceAll(strings.ToLower(text(l)), "-", "_")
		case "iss", "issuer":
			s.issuer = text(l)
		case "sub":
			s.sub = text(l)
		case "id":
			s.id = text(l)
		case "email", "phone_number", "phone", "uri", "url":
			s.name = text(l)
		case "jti", "assertion_id":
			s.token = text(l)
		case "ip-addresses":
			s.addresses = texts(l)
		case "identifiers":
			s.readAliases(l, depth)
		default:
			s.readMember(l, key, depth)
		}
	})
	if !object {
		return nil
	}
	return s
}

func (s *subject) readAliases(l *jlexer.Lexer, depth int) {
	if depth >= maxDepth {
		l.SkipRecursive()
		return
	}
	s.aliases = nil
	foreign.Array(l, func(l *jlexer.Lexer) {
		if len(s.aliases) >= maxAliases {
			l.SkipRecursive()
			return
		}
		// Aliases must not be nested.
		if alias := readSubject(l, maxDepth); alias != nil {
			s.aliases = append(s.aliases, alias)
		}
	})
}

// readMember reads what may be a member of a complex subject: those have simple subjects as values.
func (s *subject) readMember(l *jlexer.Lexer, key string, depth int) {
	if depth > 0 {
		l.SkipRecursive()
		return
	}
	known := slices.Index(complexMembers, key)
	member := readSubject(l, depth+1)
	if member == nil || len(s.members) >= maxList {
		return
	}
	if known < 0 {
		s.members = append(s.members, strings.Clone(key))
		return
	}
	s.members = append(s.members, complexMembers[known])
	switch key {
	case "user":
		s.user = member
	case "device":
		s.device = member
	case "session":
		s.session = member
	case "application":
		s.application = member
	}
}

// complex reports whether the subject is made of others.
func (s *subject) complex() bool {
	return s.format == "complex" || s.format == "" && len(s.members) > 0 && s.sub == "" && s.id == "" && s.name == ""
}

// identity is the id in a subject that names a thing, not a user.
func (s *subject) identity() string {
	if s == nil {
		return ""
	}
	for _, id := range []string{s.id, s.sub, s.name} {
		if id != "" {
			return bounded(id)
		}
	}
	for _, alias := range s.aliases {
		if id := alias.identity(); id != "" {
			return id
		}
	}
	return ""
}

// address is the first IP address among the subject's.
func (s *subject) address() string {
	for _, part := range append([]*subject{s, s.user, s.session, s.device}, s.aliases...) {
		if part == nil {
			continue
		}
		for _, text := range part.addresses {
			if ip, _ := foreign.Address(text); ip != "" {
				return ip
			}
		}
	}
	return ""
}

// whom writes the subject's user, session, device and application into the event.
func (m *mapping) whom(s *subject, e *events.Event) error {
	user := s
	if s.complex() {
		user = s.user
		e.Session.ID = s.session.identity()
		if s.session != nil {
			e.Session.Token = bounded(s.session.token)
		}
		e.Device.ID, e.App.ID = s.device.identity(), s.application.identity()
	}
	e.IP = s.address()
	if user == nil {
		return fmt.Errorf("sub_id: names no user, only %.100q", s.members)
	}
	var err error
	e.User, err = m.user(user)
	return err
}

// user says whom a simple subject names.
func (m *mapping) user(s *subject) (events.User, error) {
	if len(s.aliases) > 0 {
		return m.alias(s.aliases)
	}
	switch {
	case s.issuer != "" && s.sub != "":
		if m.issuers != nil && !slices.Contains(m.issuers, s.issuer) {
			return events.User{}, refuse(AccessDenied, "sub_id.iss: is %.200q, of whose users this transmitter does not speak", s.issuer)
		}
		return events.User{ID: stable(s.sub)}, nil
	case s.id != "":
		if !m.opaque {
			return events.User{}, fmt.Errorf("sub_id: is opaque; set subjects.opaque: %s when such ids are those of users", opaqueUser)
		}
		return events.User{ID: stable(s.id)}, nil
	case s.name != "":
		if !m.names {
			return events.User{}, &foreign.Skipped{Reason: "subject", Category: s.format}
		}
		name := strings.TrimPrefix(s.name, "acct:")
		return events.User{ID: bounded("name:" + strings.ToLower(name)), Type: events.Unresolved, Name: name}, nil
	}
	return events.User{}, fmt.Errorf("sub_id: of format %.40q names no user that could be known here", s.format)
}

// alias takes the best of several names for one user: a stable id before a name.
func (m *mapping) alias(aliases []*subject) (best events.User, err error) {
	for _, a := range aliases {
		user, problem := m.user(a)
		switch {
		case problem != nil:
			if err == nil {
				err = problem
			}
		case best.ID == "" || best.Type == events.Unresolved && user.Type == "":
			best = user
		}
	}
	if best.ID != "" {
		return best, nil
	}
	return best, err
}

// stable is a user's id as other sources write it: GUIDs in lower case.
func stable(id string) string {
	return events.Canonical(bounded(id))
}

// bounded is a text as an id of this family.
func bounded(id string) string { return foreign.Identity(Family, id) }
