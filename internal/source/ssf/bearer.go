package ssf

import (
	"context"
	"fmt"
	"sync"

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
		if _, err := upstream.ReadSecret(c.ClientSecretFile); err != nil {
			return nil, fmt.Errorf("client_credentials.client_secret_file: %w", err)
		}
		client := upstream.NewHTTP(askTimeout)
		client.Transport = deps.Transport
		return granted{&upstream.Tokens{
			HTTP: client, URL: c.TokenURL, ClientID: c.ClientID, SecretFile: c.ClientSecretFile, Scopes: c.Scopes,
		}}, nil
	}
	token, err := upstream.ReadSecret(cfg.TokenFile)
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
		token, err := upstream.ReadSecret(f.path)
		if err != nil {
			return "", fmt.Errorf("reading the token again: %w", err)
		}
		f.at = token
	}
	return f.at, nil
}

// granted is a token from an authorization server.
type granted struct{ *upstream.Tokens }

func (g granted) token(ctx context.Context, renew bool) (string, error) {
	if renew {
		g.Forget()
	}
	return g.Get(ctx)
}
