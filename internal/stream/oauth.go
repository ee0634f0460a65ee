package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// OAuthConfig says where the tokens come from that SASL OAUTHBEARER shows (RFC 7628): the client credentials grant of
// OAuth 2.0 (RFC 6749 §4.4).
type OAuthConfig struct {
	TokenURL string `yaml:"token_url"`
	ClientID string `yaml:"client_id"`
	// ClientSecretFile holds the client's secret; one trailing line break is ignored.
	ClientSecretFile string `yaml:"client_secret_file"`
	// Scope is what the token is for; empty asks for none.
	Scope string `yaml:"scope"`
}

func (o OAuthConfig) validate(add func(format string, args ...any)) {
	u, err := url.Parse(o.TokenURL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http"):
		add("sasl.oauth.token_url: is no address, write https://host/path")
	case u.Scheme == "http" && u.Hostname() != "127.0.0.1" && u.Hostname() != "localhost" && u.Hostname() != "::1":
		add("sasl.oauth.token_url: would send the secret unencrypted, use https")
	}
	if o.ClientID == "" {
		add("sasl.oauth.client_id: empty, name the client")
	}
	if o.ClientSecretFile == "" {
		add("sasl.oauth.client_secret_file: empty, name the file that holds the client's secret")
	}
}

const (
	// tokenTimeout bounds asking for a token. A connection's own timeout may be shorter.
	tokenTimeout = 10 * time.Second
	// tokenMargin is how long before its end a token is no longer shown to brokers.
	tokenMargin = 30 * time.Second
)

func (o OAuthConfig) load() (sasl.Mechanism, error) {
	secret, err := readSecret(o.ClientSecretFile)
	if err != nil {
		return nil, fmt.Errorf("sasl.oauth.client_secret_file: %w", err)
	}
	credentials := clientcredentials.Config{ClientID: o.ClientID, ClientSecret: secret, TokenURL: o.TokenURL}
	if o.Scope != "" {
		credentials.Scopes = []string{o.Scope}
	}
	client := &http.Client{Timeout: tokenTimeout}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, client)
	return &bearer{tokens: oauth2.ReuseTokenSourceWithExpiry(nil, credentialSource{ctx, &credentials}, tokenMargin)}, nil
}

// credentialSource asks for a new token each time; unlike the library's own it holds none, so that the margin is ours.
type credentialSource struct {
	ctx         context.Context //nolint:containedctx // it carries the HTTP client, which is how the library takes one
	credentials *clientcredentials.Config
}

func (s credentialSource) Token() (*oauth2.Token, error) { return s.credentials.Token(s.ctx) }

// bearer is SASL OAUTHBEARER. Every new connection shows a token that is good now; connections are not authenticated
// again while they last, and a broker that wants that closes them, whereupon they are opened anew.
type bearer struct {
	tokens oauth2.TokenSource
}

var _ sasl.Mechanism = (*bearer)(nil)

func (*bearer) Name() string { return "OAUTHBEARER" }

// Start returns the initial response of RFC 7628 §3.1, without an authorization id.
func (b *bearer) Start(context.Context) (sasl.StateMachine, []byte, error) {
	token, err := b.tokens.Token()
	if err != nil {
		return nil, nil, fmt.Errorf("asking for a token: %w", tokenError(err))
	}
	return bearerExchange{}, []byte("n,,\x01auth=Bearer " + token.AccessToken + "\x01\x01"), nil
}

// tokenError words an error of the token endpoint without its answer, which is not ours to show.
func tokenError(err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		if hidden, ok := errors.AsType[*url.Error](err); ok {
			return hidden.Err
		}
		return err
	}
	if refused.ErrorCode != "" {
		return fmt.Errorf("the token endpoint says %.80q", refused.ErrorCode)
	}
	return fmt.Errorf("the token endpoint answers %d", refused.Response.StatusCode)
}

// bearerExchange is one authentication.
type bearerExchange struct{}

// Next takes the broker's answer: nothing when the token is good, else what is wrong with it, as JSON (RFC 7628 §3.2.2).
// That ends the exchange, which a client may cancel instead of letting the server fail it; its own error would say less.
func (bearerExchange) Next(_ context.Context, challenge []byte) (done bool, response []byte, err error) {
	if len(challenge) == 0 {
		return true, nil, nil
	}
	var problem struct {
		Status string `json:"status"`
	}
	if json.Unmarshal(challenge, &problem) != nil || problem.Status == "" {
		problem.Status = "invalid_token"
	}
	return false, nil, fmt.Errorf("the broker refuses the token: %.80q", problem.Status)
}
