package keycloak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/countersign-io/countersign/internal/source/upstream"
)

// tokens gets access tokens by client credentials (RFC 6749 §4.4), and keeps one until it expires or is refused.
type tokens struct {
	cfg  Config
	http *http.Client
	kept *oauth2.Token
}

// get returns a token. The secret is read for every new one, so that it can be replaced while running.
func (t *tokens) get(ctx context.Context) (string, error) {
	if t.kept.Valid() {
		return t.kept.AccessToken, nil
	}
	secret, err := os.ReadFile(t.cfg.SecretFile)
	if err != nil {
		return "", fmt.Errorf("reading secret_file: %w", err)
	}
	credentials := clientcredentials.Config{
		ClientID: t.cfg.ClientID, ClientSecret: string(bytes.TrimSpace(secret)), AuthStyle: oauth2.AuthStyleInParams,
		TokenURL: t.cfg.BaseURL + "/realms/" + url.PathEscape(t.cfg.Realm) + "/protocol/openid-connect/token",
	}
	if t.kept, err = credentials.Token(context.WithValue(ctx, oauth2.HTTPClient, t.http)); err != nil {
		return "", fmt.Errorf("getting a token: %w", plain(err))
	}
	return t.kept.AccessToken, nil
}

// drop forgets the token that was refused.
func (t *tokens) drop() { t.kept = nil }

// plain is an error of the token's giver without what it quotes.
func plain(err error) error {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response != nil {
		detail := refused.ErrorCode
		if detail == "" {
			detail = http.StatusText(refused.Response.StatusCode)
		}
		wait, err := time.ParseDuration(refused.Response.Header.Get("Retry-After") + "s")
		if err != nil {
			wait = 0
		}
		return &upstream.Error{Status: refused.Response.StatusCode, Detail: detail, Wait: min(max(wait, 0), time.Hour)}
	}
	if hidden, ok := errors.AsType[*url.Error](err); ok {
		return hidden.Err
	}
	return err
}

// ask asks the API, with a new token when the one at hand is refused, once.
func (p *Poller) ask(ctx context.Context, address string) (*upstream.Answer, error) {
	for again := false; ; again = true {
		token, err := p.tokens.get(ctx)
		if err != nil {
			return nil, err
		}
		answer, err := p.client.Get(ctx, address, http.Header{"Authorization": {"Bearer " + token}, "Accept": {"application/json"}})
		failed, ok := errors.AsType[*upstream.Error](err)
		if !ok || failed.Status != http.StatusUnauthorized || again {
			return answer, err
		}
		p.tokens.drop()
	}
}
