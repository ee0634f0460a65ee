package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Tokens gets access tokens by client credentials (RFC 6749, section 4.4), and keeps one until it expires or is dropped.
// It is safe for concurrent use.
type Tokens struct {
	// HTTP carries the requests; nil is [NewHTTP].
	HTTP *http.Client
	// URL is the token endpoint.
	URL      string
	ClientID string
	// SecretFile holds the client's secret. It is read for every new token, so that it can be replaced while running.
	SecretFile string
	Scopes     []string
	// Assertion, where set, makes the signed statement that proves who the client is, for each new token, and there is no
	// secret.
	Assertion func() (string, error)
	// Params are further ones of the request.
	Params url.Values
	// Style says where the id and the secret go; 0 finds out.
	Style oauth2.AuthStyle

	mu   sync.Mutex
	kept *oauth2.Token
}

// TokenError is an answer of the token endpoint that is no token. It is no [Error], for it says nothing of what was asked.
type TokenError struct {
	Status int
	// Code is that of RFC 6749, section 5.2; "" when there is none. The rest of the answer may quote secrets.
	Code string
	Wait time.Duration
}

func (e *TokenError) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("the token endpoint answered %d, without an OAuth error code", e.Status)
	}
	return fmt.Sprintf("the token endpoint answered %d %.60q", e.Status, e.Code)
}

// RetryAfter is how long the endpoint asked to be left alone; 0 when it did not say.
func (e *TokenError) RetryAfter() time.Duration { return e.Wait }

// Get returns the token at hand, or a new one. Its errors hold no secrets.
func (t *Tokens) Get(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept.Valid() {
		return t.kept.AccessToken, nil
	}
	secret, params, style, err := t.proof()
	if err != nil {
		return "", err
	}
	client := t.HTTP
	if client == nil {
		client = NewHTTP(time.Minute)
	}
	credentials := clientcredentials.Config{
		ClientID: t.ClientID, ClientSecret: secret, TokenURL: t.URL, Scopes: t.Scopes, EndpointParams: params, AuthStyle: style,
	}
	kept, err := credentials.Token(context.WithValue(ctx, oauth2.HTTPClient, client))
	if err != nil {
		return "", fmt.Errorf("getting an access token: %w", withoutSecrets(err))
	}
	t.kept = kept
	return kept.AccessToken, nil
}

// proof is what proves who the client is: a secret, or further parameters.
func (t *Tokens) proof() (secret string, params url.Values, style oauth2.AuthStyle, err error) {
	if t.Assertion == nil {
		if secret, err = ReadSecret(t.SecretFile); err != nil {
			return "", nil, 0, fmt.Errorf("reading the client's secret: %w", err)
		}
		return secret, t.Params, t.Style, nil
	}
	assertion, err := t.Assertion()
	if err != nil {
		return "", nil, 0, fmt.Errorf("proving who the client is: %w", err)
	}
	params = url.Values{"client_assertion_type": {AssertionType}, "client_assertion": {assertion}}
	maps.Copy(params, t.Params)
	return "", params, oauth2.AuthStyleInParams, nil
}

// Authorization is the value of the header.
func (t *Tokens) Authorization(ctx context.Context) (string, error) {
	token, err := t.Get(ctx)
	if err != nil {
		return "", err
	}
	return "Bearer " + token, nil
}

// Forget drops the token at hand, which was refused.
func (t *Tokens) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = nil
}

// withoutSecrets words an error of the token endpoint without what it answered and without its address.
func withoutSecrets(err error) error {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response != nil {
		res := refused.Response
		return &TokenError{Status: res.StatusCode, Code: refused.ErrorCode, Wait: retryAfter(res.Header.Get("Retry-After"), time.Now())}
	}
	if hidden, ok := errors.AsType[*url.Error](err); ok {
		return hidden.Err
	}
	return errors.New("the token endpoint answered no token")
}

// ReadSecret reads a file that holds a secret, or a key, of at most 64 KiB, and trims the space around it.
func ReadSecret(path string) (string, error) {
	const most = 64 << 10
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	secret := strings.TrimSpace(string(raw))
	switch {
	case err != nil:
		return "", err
	case secret == "" || len(raw) > most:
		return "", fmt.Errorf("%s is empty or larger than %d bytes", path, most)
	}
	return secret, nil
}
