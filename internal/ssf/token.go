package ssf

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// The types of access tokens (RFC 9068 §2.1). A SET is secevent+jwt, and RS256 where the own tokens are HS256: neither is
// ever taken for the other.
const tokenType = "at+jwt"

// accessClaims are those of an access token (RFC 9068 §2.2) as the own endpoint writes it.
type accessClaims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// skew is how far the clocks of couriers and issuers may differ.
const skew = 30 * time.Second

// asymmetric are the algorithms of external issuers.
var asymmetric = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// parseToken reads an access token, without any proof; own says that it claims to be of the own endpoint.
func parseToken(token string) (parsed *jwt.JSONWebToken, own bool, err error) {
	parsed, err = jwt.ParseSigned(token, append([]jose.SignatureAlgorithm{jose.HS256}, asymmetric...))
	if err != nil {
		return nil, false, err
	}
	own = parsed.Headers[0].Algorithm == string(jose.HS256)
	if typ := headerType(parsed); typ != tokenType && (own || typ != "" && typ != "jwt") {
		return nil, false, errors.New("another type of token")
	}
	return parsed, own, nil
}

// headerType is the typ of a token in lower case, without the prefix that may be left out (RFC 7515 §4.1.9).
func headerType(t *jwt.JSONWebToken) string {
	typ, _ := t.Headers[0].ExtraHeaders[jose.HeaderType].(string)
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

func (g *guard) verifyOwn(parsed *jwt.JSONWebToken, tenant string) (*client, []string, error) {
	var claims accessClaims
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		return nil, nil, invalidToken("the token is no access token")
	}
	c := g.clients[claims.ClientID]
	if c == nil || len(c.secrets) == 0 || c.receiver.Tenant != tenant {
		return nil, nil, invalidToken("the token is of a client that is not known here")
	}
	proven := slices.ContainsFunc(c.secrets, func(s secret) bool { return parsed.Claims(s.key) == nil })
	now := g.now()
	switch {
	case !proven:
		return nil, nil, invalidToken("the token's signature is not valid")
	case claims.Expiry == nil || !now.Before(claims.Expiry.Time()):
		return nil, nil, invalidToken("the token has expired")
	case claims.IssuedAt == nil || claims.IssuedAt.Time().After(now.Add(skew)) || claims.Issuer != g.cfg.BaseURL ||
		!claims.Audience.Contains(g.cfg.Issuer(tenant)):
		return nil, nil, invalidToken("the token is not for this")
	}
	return c, strings.Fields(claims.Scope), nil
}

// grant writes a token.
func (g *guard) grant(c *client, used secret, scopes []string) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: used.key}, (&jose.SignerOptions{}).WithType(tokenType))
	if err != nil {
		return "", err
	}
	now := g.now()
	return jwt.Signed(signer).Claims(accessClaims{
		Claims: jwt.Claims{
			Issuer: g.cfg.BaseURL, Subject: c.receiver.ID, Audience: jwt.Audience{g.cfg.Issuer(c.receiver.Tenant)},
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(g.cfg.TokenTTL)), ID: rand.Text(),
		},
		ClientID: c.receiver.ID, Scope: strings.Join(scopes, " "),
	}).Serialize()
}

// grantError is an error of the token endpoint (RFC 6749 §5.2).
type grantError struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description"`
	after       time.Duration
}

func badGrant(code, description string) *grantError {
	return &grantError{status: http.StatusBadRequest, Code: code, Description: description}
}

// serveToken grants client credentials (RFC 6749 §4.4), the only grant there is: the authorization-code grant, which
// apple-sse prefers, needs an external issuer.
func (h *Handler) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	var answer any
	granted, refused := h.guard.token(r)
	if answer = granted; refused != nil {
		answer = refused
		if refused.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="ssf"`)
		}
		if refused.after > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(seconds(refused.after)))
		}
		w.WriteHeader(refused.status)
	}
	_ = json.NewEncoder(w).Encode(answer) // the reader has gone
}

type granted struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope"`
}

// maxTokenBody bounds the body of a request for a token, in bytes.
const maxTokenBody = 16 << 10

func (g *guard) token(r *http.Request) (*granted, *grantError) {
	if r.Method != http.MethodPost {
		return nil, &grantError{status: http.StatusMethodNotAllowed, Code: "invalid_request", Description: "use POST"}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, badGrant("invalid_request", "the Content-Type must be application/x-www-form-urlencoded")
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxTokenBody+1))
	if err != nil || len(raw) > maxTokenBody {
		return nil, badGrant("invalid_request", "the body is too large, or did not come whole")
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, badGrant("invalid_request", "the body is no form")
	}
	for _, values := range form {
		if len(values) > 1 {
			return nil, badGrant("invalid_request", "a parameter is there twice")
		}
	}
	c, used, refused := g.prove(r, form)
	if refused != nil {
		return nil, refused
	}
	switch form.Get("grant_type") {
	case "":
		return nil, badGrant("invalid_request", "grant_type is missing")
	case "client_credentials":
	default:
		return nil, badGrant("unsupported_grant_type", "use grant_type=client_credentials")
	}
	scopes := c.receiver.Scopes
	if asked := strings.Fields(form.Get("scope")); len(asked) > 0 {
		for _, s := range asked {
			if !slices.Contains(scopes, s) {
				return nil, badGrant("invalid_scope", "the client may have "+strings.Join(scopes, " "))
			}
		}
		scopes = slices.Compact(slices.Sorted(slices.Values(asked)))
	}
	token, err := g.grant(c, used, scopes)
	if err != nil {
		return nil, &grantError{status: http.StatusInternalServerError, Code: "server_error", Description: "the token could not be signed"}
	}
	return &granted{AccessToken: token, TokenType: "Bearer", ExpiresIn: int64(g.cfg.TokenTTL / time.Second), Scope: strings.Join(scopes, " ")}, nil
}

// prove authenticates a client by Basic or by the form (RFC 6749 §2.3.1), not by both.
func (g *guard) prove(r *http.Request, form url.Values) (*client, secret, *grantError) {
	id, basic, inHeader := r.BasicAuth()
	texts := []string{basic}
	switch {
	case inHeader && (form.Has("client_secret") || form.Has("client_id") && form.Get("client_id") != id):
		return nil, secret{}, badGrant("invalid_request", "the client authenticates in two ways")
	case inHeader:
		// Both parts are form-encoded by the RFC; many clients do not know, so the plain text is good too.
		if plain, err := url.QueryUnescape(basic); err == nil && plain != basic {
			texts = append(texts, plain)
		}
		if plain, err := url.QueryUnescape(id); err == nil {
			id = plain
		}
	default:
		id, texts = form.Get("client_id"), []string{form.Get("client_secret")}
	}
	c, known := g.clients[id]
	key := remoteAddress(r)
	if known {
		key += " " + id
	} else {
		c = &client{} // it costs the same time
	}
	// A right secret is good whatever was tried before, or whoever knows a client's name could lock it out. A secret is too
	// long (minSecret) to be found by trying.
	for _, text := range texts {
		if used, ok := c.find(text); ok {
			return c, used, nil
		}
	}
	now := g.now()
	if wait := g.failed.wait(key, now); wait > 0 {
		return nil, secret{}, &grantError{
			status: http.StatusTooManyRequests, Code: "temporarily_unavailable", Description: "too many attempts failed", after: wait,
		}
	}
	g.failed.count(key, now)
	return nil, secret{}, &grantError{status: http.StatusUnauthorized, Code: "invalid_client", Description: "the client is not known, or its secret is another"}
}

func remoteAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// failures tells who guesses secrets to come later: ten attempts at once, then one in three seconds, for each address and
// client.
type failures struct {
	of *lru.Cache[string, *rate.Limiter]
}

const (
	failuresKept  = 10_000
	failuresBurst = 10
	failureEvery  = 3 * time.Second
)

func newFailures() *failures {
	of, err := lru.New[string, *rate.Limiter](failuresKept)
	if err != nil { // the size is positive
		panic(err)
	}
	return &failures{of}
}

// wait is how long key has to wait before it may try.
func (f *failures) wait(key string, now time.Time) time.Duration {
	l, ok := f.of.Get(key)
	if !ok {
		return 0
	}
	if have := l.TokensAt(now); have < 1 {
		return time.Duration((1 - have) * float64(failureEvery))
	}
	return 0
}

func (f *failures) count(key string, now time.Time) {
	fresh := rate.NewLimiter(rate.Every(failureEvery), failuresBurst)
	l, ok, _ := f.of.PeekOrAdd(key, fresh)
	if !ok {
		l = fresh
	}
	l.AllowN(now, 1)
}
