package okta

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign-io/countersign/internal/source/upstream"
)

// credentials authenticate requests.
type credentials interface {
	// authorization is the value of the header.
	authorization(ctx context.Context) (string, error)
	// forget drops what Okta no longer takes.
	forget()
}

func newCredentials(cfg Config, org string, client *upstream.Client, now func() time.Time) (credentials, error) {
	if cfg.TokenFile != "" {
		c := &apiToken{path: cfg.TokenFile}
		return c, c.read()
	}
	signer, err := signerOf(cfg.OAuth)
	if err != nil {
		return nil, err
	}
	return &service{
		client: client, signer: signer, id: cfg.OAuth.ClientID, scope: cmp.Or(cfg.OAuth.Scope, "okta.logs.read"),
		endpoint: org + "/oauth2/v1/token", now: now,
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
type apiToken struct{ path, token string }

func (c *apiToken) authorization(context.Context) (string, error) {
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

func (c *apiToken) forget() { c.token = "" }

// service is a service application: it signs a statement about itself, and gets an access token for it (RFC 7523).
type service struct {
	client              *upstream.Client
	signer              jose.Signer
	id, scope, endpoint string
	now                 func() time.Time

	token   string
	expires time.Time
}

func (c *service) authorization(ctx context.Context) (string, error) {
	if c.token == "" || !c.now().Before(c.expires) {
		if err := c.ask(ctx); err != nil {
			return "", fmt.Errorf("asking for an access token: %w", err)
		}
	}
	return "Bearer " + c.token, nil
}

func (c *service) forget() { c.token = "" }

func (c *service) ask(ctx context.Context) error {
	now := c.now()
	assertion, err := jwt.Signed(c.signer).Claims(jwt.Claims{
		Issuer: c.id, Subject: c.id, Audience: jwt.Audience{c.endpoint}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(5 * time.Minute)),
	}).Serialize()
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "scope": {c.scope},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	}
	answer, err := c.client.Post(ctx, c.endpoint, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}, []byte(form.Encode()))
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
	} else if key.Key, err = parsePEM(text); err != nil {
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

func parsePEM(text string) (any, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("holds neither PEM nor a JSON Web Key")
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	return nil, errors.New("holds no private key that is not encrypted")
}
