package stepup_test

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/countersign-io/countersign/stepup"
)

// The two adapters below are what docs/apps.md shows: keep them alike.

// oauth2Source refreshes silently with golang.org/x/oauth2.
func oauth2Source(conf *oauth2.Config, refresh string) stepup.TokenSource {
	return func(ctx context.Context, req stepup.TokenRequest) (stepup.AccessToken, error) {
		tok, err := conf.Exchange(ctx, "", append(parameters(req),
			oauth2.SetAuthURLParam("grant_type", "refresh_token"), oauth2.SetAuthURLParam("refresh_token", refresh))...)
		if failed, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
			if needed := stepup.ParseTokenError(failed.Body); needed != nil {
				return stepup.AccessToken{}, needed
			}
		}
		if err != nil {
			return stepup.AccessToken{}, err
		}
		refresh = cmp.Or(tok.RefreshToken, refresh)
		return stepup.AccessToken{Value: tok.AccessToken, Expires: tok.Expiry}, nil
	}
}

// parameters are those of an authorization or token request.
func parameters(req stepup.TokenRequest) (options []oauth2.AuthCodeOption) {
	c := stepup.Challenge{ACRValues: req.ACRValues, MaxAge: req.MaxAge, Scope: req.Scope, Claims: req.Claims}
	for name, value := range c.AuthorizationParams() {
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	return options
}

// azureSource gets tokens from any credential of azidentity.
func azureSource(credential azcore.TokenCredential, scopes ...string) stepup.TokenSource {
	return func(ctx context.Context, req stepup.TokenRequest) (stepup.AccessToken, error) {
		tok, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: scopes, Claims: req.Claims, EnableCAE: true})
		if failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok && failed.RawResponse != nil {
			if body, err := runtime.Payload(failed.RawResponse); err == nil && stepup.ParseTokenError(body) != nil {
				return stepup.AccessToken{}, stepup.ParseTokenError(body)
			}
		}
		return stepup.AccessToken{Value: tok.Token, Expires: tok.ExpiresOn}, err
	}
}

// provider is an identity provider whose tokens say how they were got: each is a JSON document of its claims.
type provider struct {
	*httptest.Server
	asked []url.Values
}

func newProvider(t *testing.T) *provider {
	p := &provider{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		p.asked = append(p.asked, r.PostForm)
		w.Header().Set("Content-Type", "application/json")
		strong := r.PostForm.Get("code") == "signed-in-with-a-key"
		if r.PostForm.Get("acr_values") != "" && !strong {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"interaction_required","error_description":"sign in with a key"}`)
			return
		}
		token := fmt.Sprintf(`{"auth_time":%d,"acr":"pwd"}`, time.Now().Add(-time.Hour).Unix())
		if strong {
			token = fmt.Sprintf(`{"auth_time":%d,"acr":"phr"}`, time.Now().Unix())
		}
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, base64.RawURLEncoding.EncodeToString([]byte(token)))
	}))
	t.Cleanup(p.Close)
	return p
}

// bank is an API behind a guard that believes the provider's tokens.
func bank(t *testing.T, entra bool) (*httptest.Server, *stepup.Index) {
	index, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		t.Fatal(err)
	}
	index.CaughtUp()
	guard, err := stepup.New(stepup.Config{
		Index: index, Stale: stepup.FailClosed, App: "bank", Entra: stepup.Entra{AuthContext: "c1"},
		Identify: func(r *http.Request) (stepup.Token, error) {
			text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			if err != nil {
				return stepup.Token{}, err
			}
			var claims struct {
				AuthTime int64    `json:"auth_time"`
				ACR      string   `json:"acr"`
				ACRS     []string `json:"acrs"`
			}
			if err := json.Unmarshal(text, &claims); err != nil {
				return stepup.Token{}, err
			}
			return stepup.Token{
				Subject: stepup.Subject{Tenant: "acme", User: "u1"}, AuthTime: time.Unix(claims.AuthTime, 0), IssuedAt: time.Unix(claims.AuthTime, 0),
				ACR: claims.ACR, ACRS: claims.ACRS, Entra: entra, XMSCC: []string{"cp1"},
			}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(guard.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})))
	t.Cleanup(server.Close)
	return server, index
}

func restrain(index *stepup.Index) {
	now := time.Now()
	index.Apply(stepup.Claims{JTI: "j1", Status: stepup.StatusOpen, IssuedAt: now, Requirement: stepup.Requirement{
		ID: "r1", JTI: "j1", Subject: stepup.Subject{Tenant: "acme", User: "u1"}, Action: stepup.ActionStepUp,
		ACRValues: []string{"phr"}, NotBefore: now.Add(-time.Minute), Expires: now.Add(time.Hour),
	}})
}

func post(t *testing.T, client *http.Client, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(resp.StatusCode) + " " + string(text)
}

// A user of an application that uses golang.org/x/oauth2 is challenged by a Guard, signs in with a key, and the same
// request goes through.
func TestTransportWithOAuth2(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	api, index := bank(t, false)
	conf := &oauth2.Config{ClientID: "shop", Endpoint: oauth2.Endpoint{TokenURL: p.URL + "/token", AuthURL: p.URL + "/authorize"}}
	var signIn string
	transport, err := stepup.NewTransport(stepup.TransportConfig{
		Hosts:  []string{strings.TrimPrefix(api.URL, "http://")},
		Source: oauth2Source(conf, "a-refresh-token"),
		Interact: func(ctx context.Context, req stepup.TokenRequest) (stepup.AccessToken, error) {
			// The browser goes to signIn, and comes back with a code.
			signIn = conf.AuthCodeURL("state", parameters(req)...)
			tok, err := conf.Exchange(ctx, "signed-in-with-a-key")
			if err != nil {
				return stepup.AccessToken{}, err
			}
			return stepup.AccessToken{Value: tok.AccessToken, Expires: tok.Expiry}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	if got := post(t, client, api.URL, "transfer 1"); got != "200 transfer 1" {
		t.Fatal(got)
	}
	restrain(index)
	if got := post(t, client, api.URL, "transfer 2"); got != "200 transfer 2" {
		t.Fatal(got)
	}
	asked := []string{}
	for _, q := range p.asked {
		asked = append(asked, q.Get("grant_type")+" "+q.Get("acr_values"))
	}
	if diff := gocmp.Diff([]string{"refresh_token ", "refresh_token phr", "authorization_code "}, asked); diff != "" {
		t.Errorf("(-want, +got):\n%s", diff)
	}
	if u, err := url.Parse(signIn); err != nil || u.Query().Get("acr_values") != "phr" || u.Query().Get("max_age") != "0" {
		t.Errorf("sign-in at %s", signIn)
	}
}

// entra plays the endpoints of Microsoft Entra ID for azidentity.
type entra struct {
	claims []string
	refuse bool
}

func (e *entra) Do(r *http.Request) (*http.Response, error) {
	reply := func(status int, body string) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Request: r, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	}
	if r.Method == http.MethodGet {
		const base = "https://login.microsoftonline.com/contoso"
		return reply(200, `{"issuer":"`+base+`/v2.0","authorization_endpoint":"`+base+`/authorize","token_endpoint":"`+base+`/token"}`)
	}
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	e.claims = append(e.claims, r.PostForm.Get("claims"))
	if e.refuse {
		return reply(400, `{"error":"invalid_grant","suberror":"basic_action","error_description":"AADSTS50076","claims":"{\"access_token\":{\"polids\":{\"values\":[\"p1\"]}}}"}`)
	}
	token := fmt.Sprintf(`{"auth_time":%d}`, time.Now().Add(-time.Hour).Unix())
	if strings.Contains(e.claims[len(e.claims)-1], "acrs") {
		token = fmt.Sprintf(`{"auth_time":%d,"acrs":["c1"]}`, time.Now().Add(time.Second).Unix())
	}
	return reply(200, `{"access_token":"`+base64.RawURLEncoding.EncodeToString([]byte(token))+`","token_type":"Bearer","expires_in":3600}`)
}

func credential(t *testing.T, e *entra) azcore.TokenCredential {
	t.Helper()
	c, err := azidentity.NewClientSecretCredential("contoso", "client", "secret", &azidentity.ClientSecretCredentialOptions{
		ClientOptions: azcore.ClientOptions{Transport: e}, DisableInstanceDiscovery: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A Guard's claims challenge reaches Microsoft Entra ID through azidentity, with the client's capabilities.
func TestTransportWithAzidentity(t *testing.T) {
	t.Parallel()
	e := &entra{}
	api, index := bank(t, true)
	transport, err := stepup.NewTransport(stepup.TransportConfig{
		Hosts: []string{strings.TrimPrefix(api.URL, "http://")}, Source: azureSource(credential(t, e), "api://bank/.default"),
	})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	if got := post(t, client, api.URL, "transfer 1"); got != "200 transfer 1" {
		t.Fatal(got)
	}
	restrain(index)
	if got := post(t, client, api.URL, "transfer 2"); got != "200 transfer 2" {
		t.Fatal(got)
	}
	last := e.claims[len(e.claims)-1]
	if len(e.claims) != 2 || !strings.Contains(last, `"acrs":{"essential":true,"value":"c1"}`) || !strings.Contains(last, `"nbf"`) || !strings.Contains(strings.ToLower(last), `"cp1"`) {
		t.Errorf("claims asked for: %q", e.claims)
	}
}

func TestAzidentityAsksForTheUser(t *testing.T) {
	t.Parallel()
	e := &entra{refuse: true}
	_, err := azureSource(credential(t, e), "api://bank/.default")(t.Context(), stepup.TokenRequest{MaxAge: stepup.NoMaxAge})
	got, ok := errors.AsType[*stepup.InteractionRequiredError](err)
	if !ok || got.Code != "invalid_grant" || got.Suberror != "basic_action" || got.Claims != `{"access_token":{"polids":{"values":["p1"]}}}` {
		t.Errorf("%v, %+v", err, got)
	}
	if !slices.ContainsFunc(e.claims, func(c string) bool { return strings.Contains(strings.ToLower(c), "cp1") }) {
		t.Errorf("claims asked for: %q", e.claims)
	}
}
