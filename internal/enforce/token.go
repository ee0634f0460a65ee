package enforce

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/stepup"
)

const (
	maxToken = 16 << 10
	// skew is how much the clock of an issuer may differ.
	skew = time.Minute
	// maxList bounds the elements of a claim.
	maxList = 64
)

// errToken is what is wrong with a token. It is for the log and holds nothing of the token but its issuer.
var errToken = errors.New("token refused")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errToken}, args...)...)
}

// issuer judges the tokens of one issuer.
type issuer struct {
	cfg        IssuerConfig
	algorithms []jose.SignatureAlgorithm
	keys       *keySet
}

func newIssuer(cfg IssuerConfig, keys *keySet) *issuer {
	i := &issuer{cfg: cfg, keys: keys}
	if len(cfg.Algorithms) == 0 {
		i.cfg.Algorithms = []string{"RS256", "PS256", "ES256"}
	}
	for _, a := range i.cfg.Algorithms {
		i.algorithms = append(i.algorithms, jose.SignatureAlgorithm(a))
	}
	user := "sub"
	if cfg.Entra {
		user = "oid"
	}
	i.cfg.UserClaim = cmp.Or(cfg.UserClaim, user)
	i.cfg.SessionClaim = cmp.Or(cfg.SessionClaim, "sid")
	return i
}

// identify finds the caller of a request: by a token, else by the proxy's headers. It is the Identify of the guard.
func (s *Server) identify(r *http.Request) (stepup.Token, error) {
	values := r.Header.Values("Authorization")
	if len(values) > 1 {
		return stepup.Token{}, refused("there are %d Authorization headers", len(values))
	}
	if len(values) == 1 {
		scheme, rest, _ := strings.Cut(values[0], " ")
		switch {
		case strings.EqualFold(scheme, "Bearer") && len(s.issuers) > 0:
			return s.verify(r.Context(), strings.TrimSpace(rest))
		case strings.EqualFold(scheme, "DPoP"):
			return stepup.Token{}, refused("DPoP is not supported: its proof would go unchecked")
		}
	}
	return s.fromProxy(r.Header)
}

// fromProxy is the caller that the proxy tells.
func (s *Server) fromProxy(h http.Header) (stepup.Token, error) {
	c := s.cfg.Header
	read := func(name string) (string, error) {
		if name == "" || len(h.Values(name)) == 0 {
			return "", nil
		}
		return single(h, name)
	}
	user, err := read(c.User)
	session, err2 := read(c.Session)
	at, err3 := read(c.AuthTime)
	acr, err4 := read(c.ACR)
	if err := errors.Join(err, err2, err3, err4); err != nil {
		return stepup.Token{}, refused("%v", err)
	}
	if user == "" {
		return stepup.Token{}, stepup.ErrNoToken
	}
	t := stepup.Token{
		Subject: stepup.Subject{Tenant: events.Canonical(c.Tenant), User: events.Canonical(user), Session: session},
		Kind:    stepup.Cookie, ACR: acr,
	}
	if at != "" {
		if seconds, err := strconv.ParseInt(at, 10, 64); err == nil && seconds > 0 && seconds < math.MaxInt32*2 {
			t.AuthTime = time.Unix(seconds, 0)
		} else if t.AuthTime, err = time.Parse(time.RFC3339, at); err != nil {
			return stepup.Token{}, refused("the time of the proxy's header is none")
		}
	}
	// Each sign-in counts as one token: a page asks many times with the same, which is no loop. Without a time there is
	// but one.
	if t.IssuedAt = t.AuthTime; t.IssuedAt.IsZero() {
		t.IssuedAt = time.Unix(0, 0)
	}
	return t, checkNames(&t)
}

// checkNames refuses names that no requirement can have.
func checkNames(t *stepup.Token) error {
	if !events.ValidTenant(t.Tenant) {
		return refused("its tenant is none")
	}
	if t.User == "" || len(t.User) > events.MaxID || len(t.Session) > events.MaxID || strings.ContainsFunc(t.User+t.Session, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xFFFD }) {
		return refused("its user or session is missing, too long or not printable")
	}
	return nil
}

// verify judges a JWT access token (RFC 7519, RFC 9068) and says who its caller is. An error that is errKeys says nothing
// of the token.
func (s *Server) verify(ctx context.Context, text string) (stepup.Token, error) {
	if text == "" || len(text) > maxToken {
		return stepup.Token{}, refused("it has %d bytes", len(text))
	}
	// The issuer is needed to know which signature to expect; nothing else is read before that is checked.
	jws, err := jose.ParseSignedCompact(text, s.algorithms)
	if err != nil {
		return stepup.Token{}, refused("it is no JWT with an algorithm that is accepted")
	}
	var named struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &named); err != nil {
		return stepup.Token{}, refused("its payload is no JSON")
	}
	i := s.issuers[named.Issuer]
	if i == nil {
		return stepup.Token{}, refused("its issuer is %.200q, which is none of the configured", named.Issuer)
	}
	return i.verify(ctx, jws, s.now())
}

func (i *issuer) verify(ctx context.Context, jws *jose.JSONWebSignature, now time.Time) (stepup.Token, error) {
	header := jws.Signatures[0].Protected
	if !slices.Contains(i.algorithms, jose.SignatureAlgorithm(header.Algorithm)) {
		return stepup.Token{}, refused("issuer %s signs with %s, which is not accepted", i.cfg.Issuer, header.Algorithm)
	}
	if typ, ok := header.ExtraHeaders[jose.HeaderType].(string); ok {
		switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
		case "at+jwt", "jwt":
		default: // a Security Event Token or a logout token is signed by the same keys
			return stepup.Token{}, refused("it is of type %.40q, which is no access token", typ)
		}
	}
	keys, err := i.keys.of(ctx, header.KeyID, header.Algorithm)
	if err != nil {
		return stepup.Token{}, err
	}
	var payload []byte
	for _, key := range keys {
		if payload, err = jws.Verify(key); err == nil {
			break
		}
	}
	if payload == nil {
		return stepup.Token{}, refused("its signature is none by issuer %s", i.cfg.Issuer)
	}
	c, err := readClaims(payload)
	if err != nil {
		return stepup.Token{}, refused("issuer %s: %v", i.cfg.Issuer, err)
	}
	if err := i.check(c, now); err != nil {
		return stepup.Token{}, err
	}
	return i.token(c)
}

// claims are those of an access token.
type claims struct {
	issuer                                 string
	audience, acrs, amr, xmsCC             list
	expires, notBefore, issuedAt, authTime *moment
	all                                    map[string]json.RawMessage
}

// readClaims reads a verified payload. Names are taken as they are written: encoding/json alone would take ACR for acr.
func readClaims(payload []byte) (*claims, error) {
	var c claims
	if err := json.Unmarshal(payload, &c.all); err != nil {
		return nil, errors.New("its claims are no object")
	}
	for name, into := range map[string]any{
		"iss": &c.issuer, "aud": &c.audience, "exp": &c.expires, "nbf": &c.notBefore, "iat": &c.issuedAt, "auth_time": &c.authTime,
		"acrs": &c.acrs, "amr": &c.amr, "xms_cc": &c.xmsCC,
	} {
		raw, ok := c.all[name]
		if !ok || string(raw) == "null" {
			continue
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return nil, fmt.Errorf("its claim %s cannot be read", name)
		}
	}
	return &c, nil
}

// text is a claim that holds a text; another type is as good as none, for example the numbers of acr in old tokens.
func (c *claims) text(name string) (s string) {
	if json.Unmarshal(c.all[name], &s) != nil {
		return ""
	}
	return s
}

func (i *issuer) check(c *claims, now time.Time) error {
	refuse := func(what string) error { return refused("issuer %s: %s", i.cfg.Issuer, what) }
	switch {
	case c.issuer != i.cfg.Issuer:
		return refuse("another issuer in the verified payload")
	case !slices.ContainsFunc(c.audience, func(a string) bool { return slices.Contains(i.cfg.Audiences, a) }):
		return refuse("it is for another audience")
	case c.expires == nil:
		return refuse("it never expires")
	case !now.Before(c.expires.time().Add(skew)):
		return refuse("it has expired")
	case c.notBefore != nil && now.Add(skew).Before(c.notBefore.time()):
		return refuse("it is not valid yet")
	case c.issuedAt != nil && now.Add(skew).Before(c.issuedAt.time()):
		return refuse("it was issued in the future")
	case len(c.all["cnf"]) > 0 && string(c.all["cnf"]) != "null":
		return refuse("it is bound to a key (cnf), whose proof would go unchecked")
	}
	return nil
}

// token maps the claims.
func (i *issuer) token(c *claims) (stepup.Token, error) {
	tenant := i.cfg.Tenant
	if i.cfg.TenantClaim != "" {
		tenant = c.text(i.cfg.TenantClaim)
	}
	t := stepup.Token{
		Subject: stepup.Subject{
			Tenant: events.Canonical(tenant), User: events.Canonical(c.text(i.cfg.UserClaim)), Session: c.text(i.cfg.SessionClaim),
		},
		AuthTime: c.authTime.time(), IssuedAt: c.issuedAt.time(), ACR: c.text("acr"), ACRS: c.acrs, AMR: c.amr,
		Entra: i.cfg.Entra, XMSCC: c.xmsCC,
	}
	return t, checkNames(&t)
}

// list is a claim that holds one text or several.
type list []string

// UnmarshalJSON reads a text or an array of texts.
func (l *list) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = list{one}
		return nil
	}
	var several []string
	if err := json.Unmarshal(b, &several); err != nil {
		return err
	}
	if len(several) > maxList {
		return fmt.Errorf("the claim has %d elements, at most %d are allowed", len(several), maxList)
	}
	*l = several
	return nil
}

// moment is a NumericDate (RFC 7519 §2).
type moment time.Time

// UnmarshalJSON reads a number of seconds.
func (m *moment) UnmarshalJSON(b []byte) error {
	var n float64
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	const lastSecond = 253402300799
	if math.IsNaN(n) || n < 0 || n > lastSecond {
		return errors.New("the claim is no date between 1970 and 9999")
	}
	*m = moment(time.UnixMilli(int64(n * 1000)).UTC())
	return nil
}

// time is zero for a claim that is not there.
func (m *moment) time() time.Time {
	if m == nil {
		return time.Time{}
	}
	return time.Time(*m)
}
