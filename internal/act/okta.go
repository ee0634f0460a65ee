package act

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/source/okta/credential"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// oktaAPI asks an Okta organisation.
type oktaAPI struct {
	org    string
	client *upstream.Client
	auth   upstream.Credentials
}

func newOkta(a *OktaAccount, client *http.Client) (source, error) {
	org, err := credential.CheckOrg(a.OrgURL)
	if err != nil {
		return nil, err
	}
	o := &oktaAPI{org: org, client: upstream.New(upstream.Config{HTTP: client, Base: org, MaxBody: maxAnswer, Reset: "X-Rate-Limit-Reset"})}
	if o.auth, err = credential.New(a.credentials(), org, o.client, nil); err != nil {
		return nil, fmt.Errorf("account %s: %w", a.Name, err)
	}
	return o, nil
}

func (o *oktaAPI) request(c *revocation.Claims) (request, error) {
	if c.User == "." || c.User == ".." {
		return request{}, errors.New("the user's id is no id of Okta") // it would be another address
	}
	return request{method: http.MethodDelete, address: o.org + "/api/v1/users/" + url.PathEscape(c.User) + "/sessions?oauthTokens=true"}, nil
}

func (o *oktaAPI) send(ctx context.Context, r request) error {
	_, err := o.client.Authorized(ctx, o.auth, r.method, r.address, r.body)
	return err
}

func (o *oktaAPI) receipt() (string, events.ReceiptStatus) { return "okta", events.Revoked }

func (o *oktaAPI) check(ctx context.Context) (string, error) {
	if _, err := o.client.Authorized(ctx, o.auth, http.MethodGet, o.org+"/api/v1/users?limit=1", nil); err != nil {
		return "", fmt.Errorf("reading users, which okta.users.manage or an administrator of users may: %w", err)
	}
	return "that sessions may be ended shows only when one is", nil
}
