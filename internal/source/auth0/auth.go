package auth0

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/source/upstream"
)

// application gets access tokens to the Management API with a client secret.
type application struct {
	client               *upstream.Client
	base, id, secretFile string
	now                  func() time.Time

	token   string
	expires time.Time
}

// accessToken is the token at hand, or a new one when that is about to expire.
func (a *application) accessToken(ctx context.Context) (string, error) {
	if a.token == "" || !a.now().Before(a.expires) {
		if err := a.ask(ctx); err != nil {
			return "", fmt.Errorf("asking for an access token: %w", err)
		}
	}
	return a.token, nil
}

// forget drops a token that Auth0 no longer takes.
func (a *application) forget() { a.token = "" }

func (a *application) ask(ctx context.Context) error {
	secret, err := a.secret()
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{
		"grant_type": "client_credentials", "client_id": a.id, "client_secret": secret, "audience": a.base + "/api/v2/",
	})
	if err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	answer, err := a.client.Post(ctx, a.base+"/oauth/token", http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}, body)
	if err != nil {
		return err
	}
	var granted struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if json.Unmarshal(answer.Body, &granted) != nil || granted.AccessToken == "" {
		return errors.New("the answer holds no access token")
	}
	life := time.Duration(granted.ExpiresIn) * time.Second
	a.token, a.expires = granted.AccessToken, a.now().Add(life-min(time.Minute, life/2))
	return nil
}

// secret reads the client secret. The file is read for every new token, so that the secret may be changed.
func (a *application) secret() (string, error) {
	const most = 4 << 10
	f, err := os.Open(a.secretFile)
	if err != nil {
		return "", fmt.Errorf("client_secret_file: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	text := strings.TrimSpace(string(raw))
	switch {
	case err != nil:
		return "", fmt.Errorf("client_secret_file: %w", err)
	case text == "" || len(raw) > most:
		return "", fmt.Errorf("client_secret_file: %s is empty or larger than %d bytes", a.secretFile, most)
	}
	return text, nil
}

// resets returns an HTTP client by whose answers it is known when Auth0 wants to be asked again: it tells the second in
// which it takes requests again, and often no Retry-After.
func resets(c *http.Client, now func() time.Time) *http.Client {
	inner := c.Transport
	if inner == nil {
		inner = http.DefaultTransport
	}
	changed := *c
	changed.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		res, err := inner.RoundTrip(r)
		if err != nil || res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "" {
			return res, err
		}
		if reset, err := strconv.ParseInt(res.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			clock := now()
			if theirs, err := http.ParseTime(res.Header.Get("Date")); err == nil {
				clock = theirs
			}
			wait := time.Unix(reset, 0).Sub(clock).Seconds()
			res.Header.Set("Retry-After", strconv.Itoa(int(min(max(math.Ceil(wait), 1), 3600))))
		}
		return res, nil
	})
	return &changed
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
