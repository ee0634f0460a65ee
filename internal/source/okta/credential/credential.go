// Package credential authenticates requests to Okta: with an API token of an administrator, or as a service application.
package credential

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-io/countersign/internal/source/upstream"
)

// Config says as whom Okta is asked: with an API token, or as a service application by OAuth 2.0 with a private key.
type Config struct {
	// TokenFile holds an API token. It is read again when Okta no longer takes the token.
	TokenFile string `yaml:"token_file"`
	OAuth     OAuth  `yaml:"oauth"`
}

// OAuth is a service application of the organisation.
type OAuth struct {
	ClientID string `yaml:"client_id"`
	// KeyFile holds the private key, RSA or ECDSA: PEM or a JSON Web Key. KeyID is the key's id at Okta, where the file
	// does not say.
	KeyFile string `yaml:"key_file"`
	KeyID   string `yaml:"key_id"`
	// Scope is what to ask for; "" is what its user needs.
	Scope string `yaml:"scope"`
}

// Validate reports what is missing. It reads no files.
func (c Config) Validate() error {
	switch oauth := c.OAuth; {
	case c.TokenFile == "" && oauth == OAuth{}:
		return errors.New("token_file: is empty, name the file that holds the API token, or configure oauth")
	case c.TokenFile != "" && oauth != OAuth{}:
		return errors.New("token_file: is set, and so is oauth; use one of the two")
	case c.TokenFile == "" && oauth.ClientID == "":
		return errors.New("oauth.client_id: is empty, use the client id of the service application")
	case c.TokenFile == "" && oauth.KeyFile == "":
		return errors.New("oauth.key_file: is empty, name the file that holds the application's private key")
	}
	return nil
}

// CheckOrg returns an organisation's address without a path. Credentials go there, so it must be https, or this machine.
func CheckOrg(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return "", fmt.Errorf("org_url: is %.80q, use an address such as https://example.okta.com", address)
	}
	if !upstream.Safe(u) {
		return "", fmt.Errorf("org_url: is %.80q, use https", address)
	}
	return u.Scheme + "://" + u.Host, nil
}

// New returns the credentials for an organisation. It reads the files that cfg names, and asks nobody. Its user knows the
// default of the scope. A nil now is time.Now.
func New(cfg Config, org string, client *upstream.Client, now func() time.Time) (upstream.Credentials, error) {
	if cfg.TokenFile != "" {
		c := &apiToken{path: cfg.TokenFile}
		return c, c.read()
	}
	signer, err := signerOf(cfg.OAuth)
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	return &service{
		client: client, signer: signer, id: cfg.OAuth.ClientID, scope: cfg.OAuth.Scope, endpoint: org + "/oauth2/v1/token", now: now,
	}, nil
}

// secret reads a file that holds one.
func secret(field, path string) (string, error) {
	text, err := upstream.ReadSecret(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", field, err)
	}
	return text, nil
}

// apiToken is an API token of an administrator.
type apiToken struct {
	path string

	mu    sync.Mutex
	token string
}

// Authorization is the value of the header.
func (c *apiToken) Authorization(context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == "" {
		if err := c.read(); err != nil {
			return "", err
		}
	}
	return "SSWS " + c.token, nil
}

func (c *apiToken) read() error {
	text, err := secret("token_file", c.path)
	if err != nil {
		return err
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("token_file: %s does not hold one token", c.path)
	}
	c.token = text
	return nil
}

// Forget drops the token: it is read again.
func (c *apiToken) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = ""
}

// service is a service application: it signs a statement about itself, and gets an access token for it (RFC 7523).
type service struct {
	client              *upstream.Client
	signer              jose.Signer
	id, scope, endpoint string
	now                 func() time.Time

	mu      sync.Mutex
	token   string
	expires time.Time
}

// Authorization is the value of the header.
func (c *service) Authorization(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == "" || !c.now().Before(c.expires) {
		if err := c.ask(ctx); err != nil {
			return "", fmt.Errorf("asking for an access token: %w", err)
		}
	}
	return "Bearer " + c.token, nil
}

// Forget drops the token: another one is asked for.
func (c *service) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = ""
}

func (c *service) ask(ctx context.Context) error {
	now := c.now()
	assertion, err := upstream.Assertion(c.signer, c.id, c.endpoint, now)
	if err != nil {
		return err
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "scope": {c.scope},
		"client_assertion_type": {upstream.AssertionType}, "client_assertion": {assertion},
	}
	answer, err := c.client.Post(ctx, c.endpoint, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}, []byte(form.Encode()))
	if e, ok := errors.AsType[*upstream.Error](err); ok && e.Status != 0 {
		// It says nothing of what was to be asked, and may quote the assertion but for its code.
		var refused struct {
			Code string `json:"error"`
		}
		_ = json.Unmarshal([]byte(e.Detail), &refused) // "" where there is none
		return &upstream.TokenError{Status: e.Status, Code: refused.Code, Wait: e.Wait}
	}
	if err != nil {
		return err
	}
	var granted struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if json.Unmarshal(answer.Body, &granted) != nil || granted.AccessToken == "" {
		return errors.New("the answer holds no access token")
	}
	if !strings.EqualFold(granted.TokenType, "Bearer") {
		return fmt.Errorf("the token is of type %.20q, must be Bearer; switch off DPoP for the application", granted.TokenType)
	}
	life := time.Duration(granted.ExpiresIn) * time.Second
	c.token, c.expires = granted.AccessToken, now.Add(life-min(time.Minute, life/2))
	return nil
}

// signerOf reads the private key.
func signerOf(cfg OAuth) (jose.Signer, error) {
	text, err := secret("oauth.key_file", cfg.KeyFile)
	if err != nil {
		return nil, err
	}
	key := jose.JSONWebKey{KeyID: cfg.KeyID}
	if strings.HasPrefix(text, "{") {
		if err := key.UnmarshalJSON([]byte(text)); err != nil {
			return nil, fmt.Errorf("oauth.key_file: %s holds no JSON Web Key", cfg.KeyFile)
		}
		key.KeyID = cmp.Or(key.KeyID, cfg.KeyID)
	} else if key.Key, err = upstream.ParsePrivateKey(text); err != nil {
		return nil, fmt.Errorf("oauth.key_file: %s: %w", cfg.KeyFile, err)
	}
	var algorithm jose.SignatureAlgorithm
	switch k := key.Key.(type) {
	case *rsa.PrivateKey:
		algorithm = jose.RS256
	case *ecdsa.PrivateKey:
		algorithm = map[string]jose.SignatureAlgorithm{"P-256": jose.ES256, "P-384": jose.ES384, "P-521": jose.ES512}[k.Params().Name]
	}
	key.Algorithm, key.Use, key.Certificates = string(algorithm), "", nil
	if algorithm == "" || key.IsPublic() || !key.Valid() {
		return nil, fmt.Errorf("oauth.key_file: %s holds no private RSA or ECDSA key", cfg.KeyFile)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("oauth.key_file: %w", err)
	}
	return signer, nil
}
