package ssf

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// guard knows the clients and what proves that a request is theirs.
type guard struct {
	cfg     Config
	now     func() time.Time
	clients map[string]*client
	issuers map[string]*issuer
	failed  *failures
}

// client is a receiver and its secrets.
type client struct {
	receiver Receiver
	issuer   string // the external one; "" with secrets
	secrets  []secret
	rate     *rate.Limiter
}

// secret is one of a client's: its digest, and the key of the tokens that were got with it. The tokens' key comes of the
// secret alone, so that every courier with the same secrets takes the tokens of the others, and a secret that is taken
// away ends its tokens.
type secret struct{ digest, key []byte }

func newGuard(cfg Config, deps Deps) (*guard, error) {
	g := &guard{cfg: cfg, now: deps.Now, clients: map[string]*client{}, issuers: map[string]*issuer{}, failed: newFailures()}
	var errs []error
	for i, c := range cfg.Clients {
		one := &client{
			receiver: c.receiver(cfg.Limits), issuer: c.Issuer,
			rate: rate.NewLimiter(rate.Limit(cfg.RequestsPerSecond), cfg.Burst),
		}
		if c.SecretFile != "" {
			var err error
			if one.secrets, err = readSecrets(c.SecretFile); err != nil {
				errs = append(errs, fmt.Errorf("clients[%d].secret_file: %w", i, err))
			}
		}
		g.clients[c.ID] = one
	}
	for _, e := range cfg.ExternalIssuers {
		g.issuers[e.Issuer] = newIssuer(e, deps.HTTP, deps.Now)
	}
	return g, errors.Join(errs...)
}

const (
	minSecret  = 32
	maxSecrets = 2
)

func readSecrets(path string) ([]secret, error) {
	const most = 4096
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	lines := strings.Fields(string(raw))
	if len(raw) > most || len(lines) == 0 || len(lines) > maxSecrets {
		return nil, fmt.Errorf("%s has %d lines, must have one secret, or two while it is being replaced", path, len(lines))
	}
	var secrets []secret
	for _, line := range lines {
		if len(line) < minSecret {
			return nil, fmt.Errorf("%s holds a secret of %d characters, must be at least %d", path, len(line), minSecret)
		}
		key, err := hkdf.Key(sha256.New, []byte(line), nil, "countersign ssf access token", sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("deriving the key of tokens: %w", err)
		}
		digest := sha256.Sum256([]byte(line))
		secrets = append(secrets, secret{digest[:], key})
	}
	return secrets, nil
}

// find returns the secret that text is. All of them are compared, in constant time.
func (c *client) find(text string) (found secret, ok bool) {
	digest := sha256.Sum256([]byte(text))
	for _, s := range c.secrets {
		if subtle.ConstantTimeCompare(s.digest, digest[:]) == 1 {
			found, ok = s, true
		}
	}
	return found, ok
}

// denied is a request without the authorization that it needs (RFC 6750 §3.1). code is "" when there was none at all.
type denied struct {
	status      int
	code, scope string
	description string
}

func (d *denied) Error() string { return d.description }

func (d *denied) challenge() string {
	header := `Bearer realm="ssf"`
	if d.code != "" {
		header += fmt.Sprintf(`, error="%s", error_description="%s"`, d.code, d.description)
	}
	if d.scope != "" {
		header += fmt.Sprintf(`, scope="%s"`, d.scope)
	}
	return header
}

func invalidToken(description string) error {
	return &denied{status: http.StatusUnauthorized, code: "invalid_token", description: description}
}

// maxToken bounds a bearer token, in bytes.
const maxToken = 16 << 10

// authenticate finds the client whose token a request has, for a tenant's endpoints. Every way of sending one but a single
// well-formed header is refused.
func (g *guard) authenticate(r *http.Request, tenant string) (*client, Receiver, error) {
	headers := r.Header.Values("Authorization")
	inQuery := r.URL.Query().Has("access_token")
	switch {
	case len(headers) == 0 && !inQuery:
		return nil, Receiver{}, &denied{status: http.StatusUnauthorized, description: "a bearer token is needed in the Authorization header"}
	case inQuery || len(headers) > 1:
		return nil, Receiver{}, &denied{
			status: http.StatusUnauthorized, code: "invalid_request", description: "the token must be in one Authorization header, and nowhere else",
		}
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	token = strings.Trim(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || !validBearer(token) {
		return nil, Receiver{}, invalidToken("the Authorization header holds no bearer token")
	}
	c, scopes, err := g.verify(r.Context(), token, tenant)
	if err != nil {
		return nil, Receiver{}, err
	}
	// What the client may have now counts, not what it might when it got its token.
	receiver := c.receiver
	receiver.Scopes = nil
	for _, s := range c.receiver.Scopes {
		if slices.Contains(scopes, s) {
			receiver.Scopes = append(receiver.Scopes, s)
		}
	}
	return c, receiver, nil
}

// validBearer reports whether text is a b64token (RFC 6750 §2.1) of reasonable length.
func validBearer(text string) bool {
	body := strings.TrimRight(text, "=")
	return body != "" && len(text) <= maxToken && strings.Trim(body, unreserved+"+/") == ""
}

// authorize checks that a token is for what is asked: one of the scopes will do.
func authorize(r Receiver, scopes []string) error {
	for _, s := range scopes {
		if slices.Contains(r.Scopes, s) {
			return nil
		}
	}
	return &denied{
		status: http.StatusForbidden, code: "insufficient_scope", scope: scopes[0], description: "the token is not for this: it needs " + scopes[0],
	}
}

// take counts a request against what the client may send.
func (c *client) take(now time.Time) error {
	reserved := c.rate.ReserveN(now, 1)
	if wait := reserved.DelayFrom(now); wait > 0 {
		reserved.CancelAt(now)
		return &TooManyError{After: wait}
	}
	return nil
}

// seconds is a duration for Retry-After: whole seconds, at least one.
func seconds(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }

// verify finds the client and the scopes of a token for a tenant.
func (g *guard) verify(ctx context.Context, token, tenant string) (*client, []string, error) {
	parsed, own, err := parseToken(token)
	if err != nil {
		return nil, nil, invalidToken("the token is no access token")
	}
	if own {
		return g.verifyOwn(parsed, tenant)
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		return nil, nil, invalidToken("the token is no access token")
	}
	i := g.issuers[claims.Issuer]
	if i == nil {
		return nil, nil, invalidToken("the token is of an issuer that is not known here")
	}
	id, scopes, err := i.verify(ctx, parsed)
	if err != nil {
		return nil, nil, err
	}
	c := g.clients[id]
	if c == nil || c.issuer != claims.Issuer || c.receiver.Tenant != tenant {
		return nil, nil, invalidToken("the token is of a client that is not known here")
	}
	return c, scopes, nil
}
