package o365

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
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
		TokenURL: t.cfg.AuthorityURL + "/" + t.cfg.Tenant + "/oauth2/v2.0/token", Scopes: []string{t.cfg.BaseURL + "/.default"},
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
		return &upstream.Error{Status: refused.Response.StatusCode, Detail: detail, Wait: seconds(refused.Response.Header.Get("Retry-After"))}
	}
	if hidden, ok := errors.AsType[*url.Error](err); ok {
		return hidden.Err
	}
	return err
}

// seconds reads a Retry-After in seconds, at most an hour; 0 is none.
func seconds(text string) time.Duration {
	wait, err := time.ParseDuration(text + "s")
	if err != nil {
		return 0
	}
	return min(max(wait, 0), time.Hour)
}

// ask asks the API, with a new token when the one at hand is refused, once.
func (p *Poller) ask(ctx context.Context, method, address string) (*upstream.Answer, error) {
	if err := p.ours(address); err != nil {
		return nil, err
	}
	for again := false; ; again = true {
		token, err := p.tokens.get(ctx)
		if err != nil {
			return nil, err
		}
		header := http.Header{"Authorization": {"Bearer " + token}, "Accept": {"application/json"}}
		var answer *upstream.Answer
		if method == http.MethodPost {
			header.Set("Content-Type", "application/json")
			answer, err = p.client.Post(ctx, address, header, nil)
		} else {
			answer, err = p.client.Get(ctx, address, header)
		}
		failed, ok := errors.AsType[*upstream.Error](err)
		switch {
		case ok && failed.Status == http.StatusUnauthorized && !again:
			p.tokens.drop()
		case ok && failed.Wait == 0 && codeOf(err) == "AF429":
			failed.Wait = time.Minute // the quota is one of a minute
			return nil, failed
		default:
			return answer, err
		}
	}
}

// ours refuses an address that would send the token elsewhere, or in the clear. The client pins the host, this the scheme.
func (p *Poller) ours(address string) error {
	u, err := url.Parse(address)
	base, _ := url.Parse(p.cfg.BaseURL) // New has parsed it
	if err != nil || u.Scheme != base.Scheme {
		return fmt.Errorf("the address to ask does not begin with %s://", base.Scheme)
	}
	return nil
}

var code = regexp.MustCompile(`"AF[0-9]{3,6}"`)

// codeOf is the API's own code of an error, "" when it gave none.
func codeOf(err error) string {
	failed, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return ""
	}
	found := code.FindString(failed.Detail)
	if found == "" {
		return ""
	}
	return found[1 : len(found)-1]
}
