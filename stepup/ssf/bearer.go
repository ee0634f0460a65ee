package stepupssf

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// bearer returns the token at hand, or a new one when renew says that it was refused; "" when none is configured.
type bearer func(ctx context.Context, renew bool) (string, error)

func newBearer(cfg *Config) (bearer, error) {
	switch {
	case cfg.Token != nil:
		return func(ctx context.Context, renew bool) (string, error) {
			token, err := cfg.Token(ctx, renew)
			if err != nil {
				return "", fmt.Errorf("getting a token: %w", err)
			}
			return token, nil
		}, nil
	case cfg.ClientCredentials != nil:
		if _, err := readSecret(cfg.ClientCredentials.ClientSecretFile); err != nil {
			return nil, fmt.Errorf("stepupssf: ClientCredentials.ClientSecretFile: %w", err)
		}
		g := &grant{cfg: cfg}
		return g.token, nil
	}
	return func(context.Context, bool) (string, error) { return "", nil }, nil
}

// grant gets tokens by client credentials and keeps the last one while it is good.
type grant struct {
	cfg *Config

	mu   sync.Mutex
	held *oauth2.Token
}

// soon is how long before its end a token is no longer used.
const soon = 10 * time.Second

func (g *grant) token(ctx context.Context, renew bool) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.held; t != nil && !renew && (t.Expiry.IsZero() || time.Until(t.Expiry) > soon) {
		return t.AccessToken, nil
	}
	cc := g.cfg.ClientCredentials
	secret, err := readSecret(cc.ClientSecretFile)
	if err != nil {
		return "", fmt.Errorf("reading the client's secret: %w", err)
	}
	scopes := cc.Scopes
	if scopes == nil {
		scopes = []string{"ssf.manage", "ssf.read"}
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, g.cfg.HTTP), askTimeout)
	defer cancel()
	grant := clientcredentials.Config{ClientID: cc.ClientID, ClientSecret: secret, TokenURL: cc.TokenURL, Scopes: scopes}
	t, err := grant.Token(ctx)
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		// Its text has the whole answer, which may repeat what was sent.
		return "", fmt.Errorf("getting a token: the authorization server answered %d, error %.60q", refused.Response.StatusCode, refused.ErrorCode)
	}
	if err != nil {
		return "", fmt.Errorf("getting a token: %w", err)
	}
	g.held = t
	return t.AccessToken, nil
}
