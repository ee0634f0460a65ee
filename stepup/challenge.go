package stepup

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error codes of a challenge.
const (
	// ErrorInsufficientAuthentication asks for a fresher or stronger proof (RFC 9470).
	ErrorInsufficientAuthentication = "insufficient_user_authentication"
	// ErrorInsufficientClaims asks for a token with certain claims (Microsoft Entra ID).
	ErrorInsufficientClaims = "insufficient_claims"
	// ErrorInvalidToken says that the token will not do and no step-up of its session will help (RFC 6750).
	ErrorInvalidToken = "invalid_token"
)

// NoMaxAge is a [Challenge]'s MaxAge when it names none.
const NoMaxAge = -1

// Challenge is one challenge of a WWW-Authenticate header.
type Challenge struct {
	// Scheme is "Bearer" or "DPoP"; "Bearer" when empty.
	Scheme string
	// Error is one of the error codes; empty when the request had no token at all.
	Error, Description string
	// ACRValues are acceptable authentication contexts, best first.
	ACRValues []string
	// MaxAge is the greatest age of the proof in seconds; [NoMaxAge] when the challenge does not say.
	MaxAge int
	// Scope is what the token has to be good for, as the authorization server names it; empty when the challenge does not say.
	Scope string
	// Claims is the JSON of an Entra claims request, to be passed on as the `claims` parameter.
	Claims string
	// AuthorizationURI and Realm stand in Entra's form.
	AuthorizationURI, Realm string
}

// String is the header's value. Whatever the fields hold, it is one line and one challenge: what a quoted string cannot
// hold is left out.
func (c Challenge) String() string {
	var b strings.Builder
	b.WriteString("Bearer")
	if c.Scheme == "DPoP" {
		b.Reset()
		b.WriteString("DPoP")
	}
	separator := " "
	param := func(name, value string) {
		b.WriteString(separator)
		separator = ", "
		b.WriteString(name)
		b.WriteString(`="`)
		for _, ch := range []byte(value) {
			switch {
			case ch < ' ' || ch >= 0x7f:
				continue
			case ch == '"' || ch == '\\':
				b.WriteByte('\\')
			}
			b.WriteByte(ch)
		}
		b.WriteByte('"')
	}
	entra := c.Error == ErrorInsufficientClaims
	if entra || c.Realm != "" {
		param("realm", c.Realm)
	}
	if entra || c.AuthorizationURI != "" {
		param("authorization_uri", c.AuthorizationURI)
	}
	if c.Error != "" {
		param("error", c.Error)
	}
	if c.Description != "" {
		param("error_description", c.Description)
	}
	if acr := c.acr(); acr != "" {
		param("acr_values", acr)
	}
	if c.MaxAge >= 0 {
		param("max_age", strconv.Itoa(c.MaxAge))
	}
	if c.Scope != "" {
		param("scope", c.Scope)
	}
	if c.Claims != "" {
		param("claims", base64.StdEncoding.EncodeToString([]byte(c.Claims)))
	}
	return b.String()
}

// acr joins the contexts that can stand in a space-separated list.
func (c Challenge) acr() string {
	var values []string
	for _, v := range c.ACRValues {
		if validACR(v) {
			values = append(values, v)
		}
	}
	return strings.Join(values, " ")
}

// AuthorizationParams returns the challenge as parameters of an OpenID Connect authorization request: acr_values, max_age,
// scope and claims, those of them that the challenge names.
func (c Challenge) AuthorizationParams() map[string]string {
	params := map[string]string{}
	if acr := c.acr(); acr != "" {
		params["acr_values"] = acr
	}
	if c.MaxAge >= 0 {
		params["max_age"] = strconv.Itoa(c.MaxAge)
	}
	if c.Scope != "" {
		params["scope"] = c.Scope
	}
	if c.Claims != "" {
		params["claims"] = c.Claims
	}
	return params
}

// Limits of what ParseChallenges reads.
const (
	maxHeader     = 16 << 10
	maxChallenges = 16
	maxParams     = 32
)

// ParseChallenges reads the Bearer and DPoP challenges of a 401 answer. It is for clients. Other schemes, unknown
// parameters and what cannot be read are skipped; base64 is read in either alphabet, padded or not.
func ParseChallenges(h http.Header) []Challenge {
	var found []Challenge
	for _, line := range h.Values("WWW-Authenticate") {
		if len(line) > maxHeader {
			continue
		}
		p := parser{rest: line}
		for len(found) < maxChallenges {
			scheme, params, ok := p.challenge()
			if !ok {
				break
			}
			switch {
			case strings.EqualFold(scheme, "Bearer"):
				found = append(found, challengeOf("Bearer", params))
			case strings.EqualFold(scheme, "DPoP"):
				found = append(found, challengeOf("DPoP", params))
			}
		}
	}
	return found
}

func challengeOf(scheme string, params map[string]string) Challenge {
	c := Challenge{
		Scheme: scheme, Error: params["error"], Description: params["error_description"], MaxAge: NoMaxAge,
		Realm: params["realm"], Scope: params["scope"], AuthorizationURI: params["authorization_uri"], ACRValues: strings.Fields(params["acr_values"]),
	}
	if n, err := strconv.Atoi(params["max_age"]); err == nil && n >= 0 {
		c.MaxAge = n
	}
	claims := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(params["claims"]), "=")
	if text, err := base64.RawStdEncoding.DecodeString(claims); err == nil {
		if c.Claims, err = MergeClaims(string(text)); err != nil {
			c.Claims = "" // nothing that could be passed on
		}
	}
	return c
}

// parser reads the grammar of RFC 9110 §11.6.1: scheme, then token68 or parameters, all separated by commas.
type parser struct{ rest string }

// challenge reads the next challenge; ok is false when there is none. What follows something unreadable is lost.
func (p *parser) challenge() (scheme string, params map[string]string, ok bool) {
	p.separator()
	if scheme = p.token(); scheme == "" {
		return "", nil, false
	}
	params = map[string]string{}
	for len(params) < maxParams {
		before := p.rest
		comma := p.separator()
		name := p.token()
		p.space()
		switch after, isParam := strings.CutPrefix(p.rest, "="); {
		case name == "":
			p.rest = ""
			return scheme, params, true
		case isParam && after != "" && after[0] != '=' && after[0] != ',':
			p.rest = after
			p.space()
			value, fine := p.value()
			if !fine {
				p.rest = ""
				return scheme, params, true
			}
			params[strings.ToLower(name)] = value
		case comma: // the next scheme
			p.rest = before
			return scheme, params, true
		default: // a token68
			_, p.rest, _ = strings.Cut(p.rest, ",")
			return scheme, params, true
		}
	}
	p.rest = ""
	return scheme, params, true
}

// separator skips blanks and commas, and tells whether there was a comma.
func (p *parser) separator() bool {
	rest := strings.TrimLeft(p.rest, " \t,")
	skipped := p.rest[:len(p.rest)-len(rest)]
	p.rest = rest
	return strings.Contains(skipped, ",")
}

func (p *parser) space() { p.rest = strings.TrimLeft(p.rest, " \t") }

func (p *parser) token() string {
	n := 0
	for n < len(p.rest) && tokenChar(p.rest[n]) {
		n++
	}
	token := p.rest[:n]
	p.rest = p.rest[n:]
	return token
}

func tokenChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// value reads a token or a quoted string.
func (p *parser) value() (string, bool) {
	if !strings.HasPrefix(p.rest, `"`) {
		v := p.token()
		return v, v != ""
	}
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; c {
		case '"':
			p.rest = p.rest[i+1:]
			return b.String(), true
		case '\\':
			if i++; i < len(p.rest) {
				b.WriteByte(p.rest[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// claimsRequest is Entra's claims request for an access token.
type claimsRequest struct {
	NBF  *claimValue  `json:"nbf,omitempty"`
	ACRS *claimValue  `json:"acrs,omitempty"`
	AMR  *claimValues `json:"amr,omitempty"`
}

type claimValue struct {
	Essential bool   `json:"essential"`
	Value     string `json:"value"`
}

type claimValues struct {
	Values []string `json:"values"`
}

func (r claimsRequest) String() string {
	b, err := json.Marshal(map[string]claimsRequest{"access_token": r})
	if err != nil {
		panic("stepup: encoding strings: " + err.Error()) // cannot happen: the type holds nothing but strings
	}
	return string(b)
}

// notBefore asks for a token issued at or after t, which Entra takes in whole seconds.
func notBefore(t time.Time) *claimValue {
	return &claimValue{Essential: true, Value: strconv.FormatInt(t.Add(time.Second-1).Unix(), 10)}
}
