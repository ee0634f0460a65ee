package set

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Subject is a subject identifier (RFC 9493, Shared Signals 1.0 §3) as JSON, checked by ParseSubject.
type Subject = json.RawMessage

// The formats of subject identifiers: RFC 9493 §3.2, and from `jwt_id` on Shared Signals 1.0 §3.
const (
	FormatAccount     = "account"
	FormatAliases     = "aliases"
	FormatDID         = "did"
	FormatEmail       = "email"
	FormatIssSub      = "iss_sub"
	FormatOpaque      = "opaque"
	FormatPhone       = "phone_number"
	FormatURI         = "uri"
	FormatJWTID       = "jwt_id"
	FormatSAML        = "saml_assertion_id"
	FormatIPAddresses = "ip-addresses"
	FormatComplex     = "complex"
)

// The bounds of a subject: bytes of it all, of a member's name, and how many members or list elements it may have.
const (
	MaxSubject     = 4 << 10
	maxMemberName  = 64
	maxSubjectList = 32
)

// members are those of each simple format, all of them required, but for `aliases`, which is a list of others.
var members = map[string][]string{
	FormatAccount: {"uri"}, FormatDID: {"url"}, FormatEmail: {"email"}, FormatIssSub: {"iss", "sub"}, FormatOpaque: {"id"},
	FormatPhone: {"phone_number"}, FormatURI: {"uri"}, FormatJWTID: {"iss", "jti"}, FormatSAML: {"issuer", "assertion_id"},
	FormatIPAddresses: {"ip-addresses"}, FormatAliases: {"identifiers"},
}

var (
	validMember = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)
	validPhone  = regexp.MustCompile(`^\+[1-9][0-9]{1,14}$`)
)

// Identifier is a subject identifier that was read.
type Identifier struct {
	// canonical is the one way of writing it: members sorted by name, lists sorted, no space.
	canonical string
	// parts are the members of a complex one, canonical; nil for a simple one.
	parts map[string]string
}

// Canonical is the identifier as JSON. Identifiers are identical when and only when these bytes are.
func (i *Identifier) Canonical() Subject { return Subject(i.canonical) }

// Complex reports whether the identifier has several parts, all of one principal.
func (i *Identifier) Complex() bool { return i.parts != nil }

// Matches reports whether both name the same subject (SSF 1.0 §8.1.3.1): simple ones must be identical. In complex ones
// each part must be identical or undefined on either side. A simple one never matches a complex one.
func (i *Identifier) Matches(other *Identifier) bool {
	if i.parts == nil || other.parts == nil {
		return i.canonical == other.canonical
	}
	for name, part := range i.parts {
		if theirs, both := other.parts[name]; both && theirs != part {
			return false
		}
	}
	return true
}

// Within reports whether other has every part of a complex identifier, each identical; a simple one must be identical.
func (i *Identifier) Within(other *Identifier) bool {
	if i.parts == nil || other.parts == nil {
		return i.canonical == other.canonical
	}
	for name, part := range i.parts {
		if other.parts[name] != part {
			return false
		}
	}
	return true
}

// Part is a member of a complex identifier in its canonical form; "" when it has none of that name.
func (i *Identifier) Part(name string) string { return i.parts[name] }

// Match is [Identifier.Matches] of two subjects; one that cannot be read matches nothing.
func Match(a, b Subject) bool {
	x, err := ParseIdentifier(a)
	if err != nil {
		return false
	}
	y, err := ParseIdentifier(b)
	return err == nil && x.Matches(&y)
}

// ParseSubject checks a subject identifier of any format and returns its canonical form. The error says what is wrong, and
// where.
func ParseSubject(b []byte) (Subject, error) {
	i, err := ParseIdentifier(b)
	if err != nil {
		return nil, err
	}
	return i.Canonical(), nil
}

// ParseIdentifier reads a subject identifier of any format, at most [MaxSubject] bytes. Members that its format does not
// have are refused (RFC 9493 §3). "phone", as an example of SSF has it, is read as phone_number.
func ParseIdentifier(b []byte) (Identifier, error) {
	i, err := parse(b)
	if longest := max(len(b), len(i.canonical)); longest > MaxSubject { // what was escaped may be longer
		return Identifier{}, fmt.Errorf("subject has %d bytes, at most %d are allowed", longest, MaxSubject)
	}
	return i, err
}

func parse(b []byte) (Identifier, error) {
	if len(b) > MaxSubject {
		return Identifier{}, nil
	}
	if !utf8.Valid(b) {
		return Identifier{}, errors.New("subject is not valid UTF-8")
	}
	format, raw, err := fields(b)
	if err != nil {
		return Identifier{}, fmt.Errorf("subject: %w", err)
	}
	if format != FormatComplex {
		canonical, err := simple(format, raw, true)
		if err != nil {
			return Identifier{}, fmt.Errorf("subject: %w", err)
		}
		return Identifier{canonical: canonical}, nil
	}
	if len(raw) == 0 || len(raw) > maxSubjectList {
		return Identifier{}, fmt.Errorf("subject: has %d members, a complex one must have 1 to %d", len(raw), maxSubjectList)
	}
	parts := make(map[string]string, len(raw))
	for name, value := range raw {
		if len(name) > maxMemberName || !validMember.MatchString(name) {
			return Identifier{}, fmt.Errorf("subject: %.80q is no name of a member", name)
		}
		format, inner, err := fields(value)
		if err == nil {
			parts[name], err = simple(format, inner, true)
		}
		if err != nil {
			return Identifier{}, fmt.Errorf("subject.%s: %w", name, err)
		}
	}
	all := map[string]json.RawMessage{"format": text(FormatComplex)}
	for name, part := range parts {
		all[name] = json.RawMessage(part)
	}
	return Identifier{canonical: written(all), parts: parts}, nil
}

// fields splits an identifier into its format and its other members.
func fields(b []byte) (format string, raw map[string]json.RawMessage, err error) {
	if !object(b) {
		return "", nil, errors.New("must be an object")
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return "", nil, fmt.Errorf("reading JSON: %w", err)
	}
	if raw["format"] == nil {
		return "", nil, errors.New("format: is missing")
	}
	if err := json.Unmarshal(raw["format"], &format); err != nil {
		return "", nil, errors.New("format: must be text")
	}
	delete(raw, "format")
	return format, raw, nil
}

// simple reads the members of a simple identifier and writes it.
func simple(format string, raw map[string]json.RawMessage, aliases bool) (string, error) {
	if format == "phone" {
		format = FormatPhone
		if v, short := raw["phone"]; short && raw[FormatPhone] == nil {
			raw[FormatPhone] = v
			delete(raw, "phone")
		}
	}
	wanted, known := members[format]
	switch {
	case format == FormatComplex:
		return "", errors.New("format: is complex, must be a simple one in here")
	case format == FormatAliases && !aliases:
		return "", errors.New("format: is aliases, must not be nested")
	case !known:
		return "", fmt.Errorf("format: is %.40q, must be one of %s", format, strings.Join(slices.Sorted(maps.Keys(members)), ", "))
	}
	for name := range raw {
		if !slices.Contains(wanted, name) {
			return "", fmt.Errorf("%.80q: format %s has no such member", name, format)
		}
	}
	out := map[string]json.RawMessage{"format": text(format)}
	for _, name := range wanted {
		value, ok := raw[name]
		if !ok {
			return "", fmt.Errorf("%s: is missing", name)
		}
		var err error
		switch format {
		case FormatAliases:
			out[name], err = identifiers(value)
		case FormatIPAddresses:
			out[name], err = addresses(value)
		default:
			out[name], err = member(format, value)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return written(out), nil
}

// member checks the text of one member against its format.
func member(format string, raw json.RawMessage) (json.RawMessage, error) {
	var v string
	if err := json.Unmarshal(raw, &v); err != nil || bytes.Equal(raw, []byte("null")) {
		return nil, errors.New("must be text")
	}
	if v == "" || strings.ContainsFunc(v, unicode.IsControl) {
		return nil, errors.New("must not be empty nor hold control characters")
	}
	ok := true
	switch format {
	case FormatEmail:
		ok = ValidEmail(v)
	case FormatPhone:
		ok = validPhone.MatchString(v)
	case FormatAccount:
		ok = strings.HasPrefix(v, "acct:") && len(v) > len("acct:")
	case FormatDID:
		ok = strings.HasPrefix(v, "did:") && len(v) > len("did:")
	case FormatURI:
		u, err := url.Parse(v)
		ok = err == nil && u.Scheme != ""
	}
	if !ok {
		return nil, fmt.Errorf("is %.80q, which is no %s", v, format)
	}
	if format == FormatEmail {
		v = strings.ToLower(v) // no provider tells people apart by case (RFC 9493 §3.2.2.1 leaves it to the recipient)
	}
	return text(v), nil
}

// ValidEmail reports whether v can be an address of electronic mail: something on both sides of the last @, without space.
func ValidEmail(v string) bool {
	const longest = 320 // 64 bytes, @, 255 bytes (RFC 5321 §4.5.3.1)
	at := strings.LastIndexByte(v, '@')
	return at > 0 && at < len(v)-1 && len(v) <= longest && utf8.ValidString(v) &&
		!strings.ContainsFunc(v, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

// identifiers reads the list of an aliases identifier, which is not in any order.
func identifiers(raw json.RawMessage) (json.RawMessage, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, errors.New("must be a list of identifiers")
	}
	if len(list) == 0 || len(list) > maxSubjectList {
		return nil, fmt.Errorf("has %d elements, must have 1 to %d", len(list), maxSubjectList)
	}
	var all []string
	for n, b := range list {
		format, raw, err := fields(b)
		var one string
		if err == nil {
			one, err = simple(format, raw, false)
		}
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", n, err)
		}
		all = append(all, one)
	}
	slices.Sort(all)
	return json.RawMessage("[" + strings.Join(slices.Compact(all), ",") + "]"), nil
}

// addresses reads the list of an ip-addresses identifier, which is not in any order.
func addresses(raw json.RawMessage) (json.RawMessage, error) {
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, errors.New("must be a list of addresses")
	}
	if len(list) == 0 || len(list) > maxSubjectList {
		return nil, fmt.Errorf("has %d elements, must have 1 to %d", len(list), maxSubjectList)
	}
	var all []netip.Addr
	for n, v := range list {
		a, err := netip.ParseAddr(v)
		if err != nil {
			return nil, fmt.Errorf("[%d]: is %.60q, which is no address", n, v)
		}
		all = append(all, a)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	b, err := json.Marshal(slices.Compact(all))
	if err != nil {
		return nil, fmt.Errorf("writing addresses: %w", err)
	}
	return b, nil
}

// text is v as JSON.
func text(v string) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("set: encoding text: %v", err)) // text is always encoded
	}
	return b
}

// written is the object with its members in the order of their names.
func written(object map[string]json.RawMessage) string {
	b, err := json.Marshal(object)
	if err != nil {
		panic(fmt.Sprintf("set: encoding subject: %v", err)) // every member is JSON that was written here
	}
	return string(b)
}
