package act

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/okta/credential"
	"github.com/countersign-io/countersign/internal/source/upstream"
	"github.com/countersign-io/countersign/internal/webhook"
)

const (
	directory = "aaaaaaaa-0000-4000-8000-00000000000a"
	app       = "bbbbbbbb-0000-4000-8000-00000000000b"
	person    = "cccccccc-0000-4000-8000-00000000000c"
	whsec     = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// api is an HTTPS server that gives tokens and takes actions, and misbehaves to a script.
type api struct {
	*httptest.Server
	ca string

	mu     sync.Mutex
	asked  []string
	tokens int
	forms  []url.Values
	script []func(w http.ResponseWriter)
	roles  []string // in the tokens; nil makes tokens that cannot be read
	reply  func(w http.ResponseWriter, r *http.Request)
	heads  []http.Header
}

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{roles: []string{"User.RevokeSessions.All", "IdentityRiskyUser.ReadWrite.All"}}
	a.Server = httptest.NewTLSServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	a.ca = write(t, "ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})))
	return a
}

func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if strings.HasSuffix(r.URL.Path, "/token") {
		form, _ := url.ParseQuery(string(body))
		a.forms = append(a.forms, form)
		a.tokens++
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, a.token())
		return
	}
	a.asked, a.heads = append(a.asked, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+string(body))), append(a.heads, r.Header.Clone())
	if len(a.script) > 0 {
		next := a.script[0]
		if a.script = a.script[1:]; next != nil {
			next(w)
			return
		}
	}
	if got := r.Header.Get("Authorization"); a.reply == nil && got != "Bearer "+a.token() && got != "SSWS okta-token" {
		http.Error(w, "no such token", http.StatusUnauthorized)
		return
	}
	if a.reply != nil {
		a.reply(w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// token is the newest token.
func (a *api) token() string {
	if a.roles == nil {
		return fmt.Sprint("opaque-", a.tokens)
	}
	payload, _ := json.Marshal(map[string]any{"roles": a.roles, "n": a.tokens})
	return "e30." + base64.RawURLEncoding.EncodeToString(payload) + ".c2ln"
}

func status(code int, header ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		http.Error(w, "because", code)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// configOf has one account of each kind at the server, and the action.
func configOf(t *testing.T, a *api, action ActionConfig) Config {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Outbound.AllowNetworks, cfg.Outbound.CAFile = []string{"127.0.0.0/8"}, a.ca
	cfg.Graph = []GraphAccount{{
		Name: "entra", Directory: directory, ClientID: app, SecretFile: write(t, "secret", "hunter2\n"), BaseURL: a.URL, AuthorityURL: a.URL,
	}}
	cfg.Okta = []OktaAccount{{Name: "org", OrgURL: a.URL, TokenFile: write(t, "token", "okta-token")}}
	if action.Name == "" {
		action.Name = "end"
	}
	if action.Mode == "" {
		action.Mode = On
	}
	switch action.Kind {
	case HTTPRequest:
		action.URL, action.SecretsFile = a.URL+"/hook", write(t, "secrets", whsec)
	case OktaRevoke:
		action.Account = "org"
	default:
		action.Account = "entra"
	}
	if len(action.Match.Actions) == 0 {
		action.Match.Actions = []events.Action{events.RevokeAll}
	}
	action.Match.Tenants = []string{"acme"}
	cfg.Actions = []ActionConfig{action}
	return cfg
}

// sourceOf is the source of the only action.
func sourceOf(t *testing.T, cfg Config) source {
	t.Helper()
	log := &memoryLog{}
	r, err := New(cfg, Deps{Log: log, Publisher: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.CloseIdleConnections)
	return r.actions[0].source
}

func perform(t *testing.T, s source, user string) error {
	t.Helper()
	req, err := s.request(required(user, 1))
	if err != nil {
		t.Fatal(err)
	}
	return s.send(t.Context(), req)
}

func TestGoldenRequests(t *testing.T) {
	t.Parallel()
	for kind, c := range map[string]struct{ user, want string }{
		GraphRevoke:      {person, "POST /v1.0/users/" + person + "/revokeSignInSessions"},
		GraphCompromised: {person, `POST /v1.0/identityProtection/riskyUsers/confirmCompromised {"userIds":["` + person + `"]}`},
		GraphDismiss:     {person, `POST /v1.0/identityProtection/riskyUsers/dismiss {"userIds":["` + person + `"]}`},
		OktaRevoke:       {"00u1AbC/..?x", "DELETE /api/v1/users/00u1AbC%2F..%3Fx/sessions?oauthTokens=true"},
	} {
		a := newAPI(t)
		s := sourceOf(t, configOf(t, a, ActionConfig{Kind: kind}))
		for range 2 {
			if err := perform(t, s, c.user); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		if diff := cmp.Diff([]string{c.want, c.want}, a.asked); diff != "" {
			t.Errorf("%s (-want, +got):\n%s", kind, diff)
		}
		if kind == OktaRevoke {
			continue
		}
		want := url.Values{"grant_type": {"client_credentials"}, "client_id": {app}, "client_secret": {"hunter2"}, "scope": {a.URL + "/.default"}}
		if diff := cmp.Diff([]url.Values{want}, a.forms); diff != "" {
			t.Errorf("%s: token requests (-want, +got):\n%s", kind, diff)
		}
		if body := strings.Contains(c.want, "{"); body != (a.heads[0].Get("Content-Type") == "application/json") {
			t.Errorf("%s: headers %v", kind, a.heads[0])
		}
	}
}

func TestUsersThatAreNone(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, kind := range []string{GraphRevoke, GraphCompromised, GraphDismiss} {
		s := sourceOf(t, configOf(t, a, ActionConfig{Kind: kind}))
		for _, user := range []string{"kim@example.com", "../groups", person + "/x"} {
			if r, err := s.request(required(user, 1)); err == nil {
				t.Errorf("%s %s: %+v", kind, user, r)
			}
		}
	}
	s := sourceOf(t, configOf(t, a, ActionConfig{Kind: OktaRevoke}))
	if r, err := s.request(required("..", 1)); err == nil {
		t.Errorf("%+v", r)
	}
}

func TestFaultsOfSources(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{GraphRevoke, OktaRevoke, HTTPRequest} {
		a := newAPI(t)
		if kind == HTTPRequest {
			a.reply = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }
		}
		s := sourceOf(t, configOf(t, a, ActionConfig{Kind: kind}))
		missing := refused
		if kind == HTTPRequest {
			missing = denied
		}
		for _, c := range []struct {
			answer func(http.ResponseWriter)
			want   fault
			after  time.Duration
		}{
			{status(429, "Retry-After", "7"), down, 7 * time.Second},
			{status(503, "Retry-After", "999999"), down, time.Hour},
			{status(500), down, 0},
			{status(403), denied, 0},
			{status(302, "Location", "https://evil.example/"), denied, 0},
			{status(404), missing, 0},
			{status(400), refused, 0},
			{func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, down, 0},
		} {
			a.script = append(a.script, c.answer)
			if err := perform(t, s, person); err == nil || faultOf(err, missing) != c.want || retryAfter(err) != c.after {
				t.Errorf("%s: %v is %s after %v, want %s after %v", kind, err, faultOf(err, missing), retryAfter(err), c.want, c.after)
			}
		}
		if kind == HTTPRequest {
			continue
		}
		// A token that expired is asked for once more, and the action is done.
		a.script = append(a.script, status(401))
		if err := perform(t, s, person); err != nil {
			t.Errorf("%s after an expired token: %v", kind, err)
		}
		a.script = append(a.script, status(401), status(401))
		if err := perform(t, s, person); faultOf(err, refused) != denied || answered(err) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestGraphThatSaysNo(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	s := sourceOf(t, configOf(t, a, ActionConfig{Kind: GraphRevoke}))
	for said, done := range map[string]bool{`{"value":true}`: true, `{"value":false}`: false, `{}`: true} {
		a.reply = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, said) }
		if err := perform(t, s, person); (err == nil) != done || !done && faultOf(err, refused) != down {
			t.Errorf("%s: %v", said, err)
		}
	}
}

func TestTokenEndpointThatRefusesIsNoRefusedRequest(t *testing.T) {
	t.Parallel()
	for _, code := range []int{400, 401, 404, 429, 503} {
		a := newAPI(t)
		refusing := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"error":"invalid_scope","error_description":"hunter2"}`)
		}))
		refusing.TLS = a.TLS
		refusing.StartTLS()
		t.Cleanup(refusing.Close)
		ca := write(t, "ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: refusing.Certificate().Raw})))
		key, _ := keyPair(t)
		for _, kind := range []string{GraphRevoke, OktaRevoke} {
			cfg := configOf(t, a, ActionConfig{Kind: kind})
			cfg.Outbound.CAFile = ca
			cfg.Graph[0].AuthorityURL = refusing.URL
			cfg.Okta[0].OrgURL, cfg.Okta[0].TokenFile, cfg.Okta[0].OAuth = refusing.URL, "", credential.OAuth{ClientID: "0oa", KeyFile: key}
			err := perform(t, sourceOf(t, cfg), person)
			want := denied
			if code == 429 || code == 503 {
				want = down
			}
			if err == nil || faultOf(err, refused) != want || answered(err) || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "invalid_scope") {
				t.Errorf("%s %d: %v is %s", kind, code, err, faultOf(err, refused))
			}
		}
	}
}

// keyPair is a file with a certificate and its key, and the certificate.
func keyPair(t *testing.T) (file string, certificate *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "countersign"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	return write(t, "pair.pem", string(text)), certificate
}

func TestGraphByCertificateAndByFederatedToken(t *testing.T) {
	t.Parallel()
	file, certificate := keyPair(t)
	a := newAPI(t)
	cfg := configOf(t, a, ActionConfig{Kind: GraphRevoke})
	cfg.Graph[0].SecretFile, cfg.Graph[0].CertificateFile = "", file
	if err := perform(t, sourceOf(t, cfg), person); err != nil {
		t.Fatal(err)
	}
	form := a.forms[0]
	token, err := jwt.ParseSigned(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.PS256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := token.Claims(certificate.PublicKey, &claims); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(certificate.Raw)
	if err := claims.Validate(jwt.Expected{Issuer: app, Subject: app, AnyAudience: jwt.Audience{a.URL + "/" + directory + "/oauth2/v2.0/token"}, Time: time.Now()}); err != nil {
		t.Error(err)
	}
	if token.Headers[0].ExtraHeaders["x5t#S256"] != base64.RawURLEncoding.EncodeToString(digest[:]) || form.Get("client_assertion_type") != upstream.AssertionType || form.Has("client_secret") {
		t.Errorf("%v, %v", token.Headers[0], form)
	}

	cfg.Graph[0].CertificateFile, cfg.Graph[0].TokenFile = "", write(t, "federated", "projected-token\n")
	if err := perform(t, sourceOf(t, cfg), person); err != nil {
		t.Fatal(err)
	}
	if got := a.forms[1]; got.Get("client_assertion") != "projected-token" || got.Get("client_id") != app || got.Has("client_secret") {
		t.Errorf("%v", got)
	}

	other, _ := keyPair(t)
	text, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	_, foreign, _ := strings.Cut(string(text), "-----END CERTIFICATE-----\n")
	for name, content := range map[string]string{
		"no certificate": foreign, "not the certificate's": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})) + foreign,
		"no private key": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})),
	} {
		cfg.Graph[0].TokenFile, cfg.Graph[0].CertificateFile = "", write(t, "bad.pem", content)
		if _, err := New(cfg, Deps{Log: &memoryLog{}, Publisher: &memoryLog{}}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignedRequest(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	secret, err := webhook.ParseSecret(whsec)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	a.reply = func(w http.ResponseWriter, r *http.Request) {
		_, body, _ := strings.Cut(a.asked[len(a.asked)-1], "/hook ")
		if err := (webhook.Secrets{secret}).Verify(r.Header, []byte(body), time.Now()); err != nil {
			t.Error(err)
		}
		ids = append(ids, r.Header.Get("Webhook-Id"))
		w.WriteHeader(http.StatusOK)
	}
	cfg := configOf(t, a, ActionConfig{Kind: HTTPRequest})
	s := sourceOf(t, cfg)
	for range 2 {
		if err := perform(t, s, "<kim>\n"); err != nil {
			t.Fatal(err)
		}
	}
	if len(ids) != 2 || ids[0] != ids[1] || !strings.HasPrefix(ids[0], "act_") {
		t.Errorf("ids %q", ids)
	}
	_, body, _ := strings.Cut(a.asked[0], "/hook ")
	c := required("<kim>\n", 1)
	var got struct {
		Type      string
		Timestamp time.Time
		Data      struct {
			Txn     string                                            `json:"txn"`
			Subject struct{ User struct{ ID string } }                `json:"sub_id"`
			Events  map[string]struct{ Status, Action, Scope string } `json:"events"`
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got.Type != "countersign.requirement.open" || got.Timestamp.Unix() < c.IssuedAt-5 || got.Data.Txn != "r1" || got.Data.Subject.User.ID != "<kim>\n" || got.Data.Events[c.EventType()].Action != "revoke_all" {
		t.Errorf("%s", body)
	}
	// A secret that is replaced is taken up at once.
	if err := os.WriteFile(cfg.Actions[0].SecretsFile, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := perform(t, s, "kim"); err == nil || faultOf(err, denied) != denied || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

func TestPrivateAddressesAreNotCalled(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	cfg := configOf(t, a, ActionConfig{Kind: GraphRevoke})
	cfg.Outbound.AllowNetworks = nil
	err := perform(t, sourceOf(t, cfg), person)
	if err == nil || faultOf(err, refused) != denied || len(a.asked)+len(a.forms) != 0 {
		t.Errorf("%v, asked %q", err, a.asked)
	}
}

func TestCheckSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind      string
		prepare   func(a *api)
		note, err string
		asked     []string
	}{
		"revoke":           {kind: GraphRevoke},
		"revoke, missing":  {kind: GraphRevoke, prepare: func(a *api) { a.roles = []string{"User.Read.All"} }, err: "User.RevokeSessions.All is missing"},
		"revoke, opaque":   {kind: GraphRevoke, prepare: func(a *api) { a.roles = nil }, note: "does not show", asked: []string{"GET /v1.0/users?$top=1&$select=id"}},
		"compromised":      {kind: GraphCompromised, asked: []string{"GET /v1.0/identityProtection/riskyUsers?$top=1&$select=id"}},
		"dismiss, missing": {kind: GraphDismiss, prepare: func(a *api) { a.roles = []string{} }, err: "IdentityRiskyUser.ReadWrite.All is missing"},
		"dismiss, unlicensed": {
			kind: GraphDismiss, prepare: func(a *api) { a.script = append(a.script, status(403)) }, err: "answered 403",
			asked: []string{"GET /v1.0/identityProtection/riskyUsers?$top=1&$select=id"},
		},
		"okta":         {kind: OktaRevoke, note: "shows only", asked: []string{"GET /api/v1/users?limit=1"}},
		"okta, denied": {kind: OktaRevoke, prepare: func(a *api) { a.script = append(a.script, status(403)) }, err: "okta.users.manage", asked: []string{"GET /api/v1/users?limit=1"}},
		"http":         {kind: HTTPRequest, note: "is not called"},
	} {
		a := newAPI(t)
		if c.prepare != nil {
			c.prepare(a)
		}
		cfg := configOf(t, a, ActionConfig{Kind: c.kind, Mode: Off})
		results, err := Check(t.Context(), cfg)
		if err != nil || len(results) != 1 {
			t.Fatalf("%s: %v, %v", name, results, err)
		}
		r := results[0]
		if (r.Err == nil) != (c.err == "") || r.Err != nil && !strings.Contains(r.Err.Error(), c.err) || !strings.Contains(r.Note, c.note) || (c.note == "") != (r.Note == "") {
			t.Errorf("%s: %+v", name, r)
		}
		if diff := cmp.Diff(c.asked, a.asked); diff != "" {
			t.Errorf("%s (-want, +got):\n%s", name, diff)
		}
	}
}
