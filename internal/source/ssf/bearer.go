package ssf

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/countersign-io/countersign/internal/source/upstream"
)

// bearer knows the token to poll with.
type bearer interface {
	// token returns the token at hand, or a new one when renew says that it was refused. Its errors hold no secrets.
	token(ctx context.Context, renew bool) (string, error)
}

func newBearer(cfg PollConfig, deps Deps) (bearer, error) {
	if cfg.ClientCredentials.used() {
		c := cfg.ClientCredentials
		secret, err := readSecret(c.ClientSecretFile)
		if err != nil {
			return nil, fmt.Errorf("client_credentials.client_secret_file: %w", err)
		}
		client := upstream.NewHTTP(askTimeout)
		client.Transport = deps.Transport
		return &granted{
			client: client,
			grant:  clientcredentials.Config{ClientID: c.ClientID, ClientSecret: secret, TokenURL: c.TokenURL, Scopes: c.Scopes},
		}, nil
	}
	token, err := readSecret(cfg.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("token_file: %w", err)
	}
	return &filed{path: cfg.TokenFile, at: token}, nil
}

// filed is a token in a file, which may be replaced there at any time.
type filed struct {
	path string
	mu   sync.Mutex
	at   string
}

func (f *filed) token(_ context.Context, renew bool) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if renew {
		token, err := readSecret(f.path)
		if err != nil {
			return "", fmt.Errorf("reading the token again: %w", err)
		}
		f.at = token
	}
	return f.at, nil
}

// granted is a token from an authorization server.
type granted struct {
	grant  clientcredentials.Config
	client *http.Client
	mu     sync.Mutex
	at     *oauth2.Token
}

func (g *granted) token(ctx context.Context, renew bool) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if renew || !g.at.Valid() {
		fresh, err := g.grant.Token(context.WithValue(ctx, oauth2.HTTPClient, g.client))
		if err != nil {
			return "", fmt.Errorf("getting a token: %w", plain(err))
		}
		g.at = fresh
	}
	return g.at.AccessToken, nil
}

// plain words an error of the token endpoint without what it answered, and without its address: both may hold secrets.
func plain(err error) error {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		status := 0
		if refused.Response != nil {
			status = refused.Response.StatusCode
		}
		return fmt.Errorf("the token endpoint answered %d %.60q", status, refused.ErrorCode)
	}
	if hidden, ok := errors.AsType[*url.Error](err); ok {
		return hidden.Err
	}
	return errors.New("the token endpoint answered no token")
}
