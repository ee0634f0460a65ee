package graphsdk

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/countersign-io/countersign/internal/source/entra/graph"
)

const (
	tenant = "0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80"
	app    = "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00"
	secret = "s3cret~value"
)

// authority plays the token endpoint of Entra and the metadata service of a machine. It keeps what it was asked.
type authority struct {
	refuse bool

	mu    sync.Mutex
	forms []url.Values
	hosts []string
}

func (a *authority) Do(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := func(status int, body string) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Status: http.StatusText(status), Request: r, Body: io.NopCloser(strings.NewReader(body)),
			Header: http.Header{"Content-Type": {"application/json"}},
		}, nil
	}
	base := "https://" + r.URL.Host + "/" + tenant
	switch {
	case strings.Contains(r.URL.Path, "/discovery/instance"):
		return answer(http.StatusOK, `{"tenant_discovery_endpoint":"`+base+`/v2.0/.well-known/openid-configuration","metadata":[]}`)
	case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
		return answer(http.StatusOK, `{"authorization_endpoint":"`+base+`/authorize","token_endpoint":"`+base+`/token","issuer":"`+base+`/v2.0"}`)
	}
	form := r.URL.Query()
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if form, err = url.ParseQuery(string(body)); err != nil || len(form) == 0 {
			form = r.URL.Query()
		}
	}
	a.forms, a.hosts = append(a.forms, form), append(a.hosts, r.URL.Host)
	if a.refuse {
		return answer(http.StatusUnauthorized, `{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys for app are expired.\r\nTrace ID: 1","error_codes":[7000222]}`)
	}
	return answer(http.StatusOK, `{"token_type":"Bearer","access_token":"good","expires_in":"3600","ext_expires_in":3600,"resource":"x"}`)
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// keyPair is a certificate with its key, as PEM.
func keyPair(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return encoded(t, &key.PublicKey, key)
}

func encoded(t *testing.T, public, private any) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "countersign"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
}

func config(c graph.Credential) graph.Config {
	return graph.Config{Name: "contoso", Tenant: tenant, Credential: c}
}

// Every kind of credential presents what it should, and to the right authority.
func TestCredentialsGiveTokens(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		credential graph.Credential
		base, host string
		want       map[string]string // the value, or "*" for any
	}{
		"client secret": {
			graph.Credential{Kind: graph.ClientSecret, ClientID: app, SecretFile: write(t, "secret", secret+"\n")},
			"", "login.microsoftonline.com",
			map[string]string{"client_id": app, "client_secret": secret, "grant_type": "client_credentials"},
		},
		"client secret in a national cloud": {
			graph.Credential{Kind: graph.ClientSecret, ClientID: app, SecretFile: write(t, "secret", secret)},
			"https://dod-graph.microsoft.us", "login.microsoftonline.us",
			map[string]string{"client_id": app, "client_secret": secret, "scope": "*"},
		},
		"certificate": {
			graph.Credential{Kind: graph.Certificate, ClientID: app, CertificateFile: write(t, "pem", keyPair(t))},
			"", "login.microsoftonline.com",
			map[string]string{"client_id": app, "client_assertion": "*", "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		},
		"workload identity": {
			graph.Credential{Kind: graph.WorkloadIdentity, ClientID: app, TokenFile: write(t, "token", "federated")},
			"", "login.microsoftonline.com",
			map[string]string{"client_id": app, "client_assertion": "federated"},
		},
		"managed identity": {
			graph.Credential{Kind: graph.ManagedIdentity, ClientID: app},
			"", "169.254.169.254",
			map[string]string{"client_id": app, "resource": "https://graph.microsoft.com"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &authority{}
			cfg := config(c.credential)
			cfg.BaseURL = c.base
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			made, err := newCredential(cfg, a)
			if err != nil {
				t.Fatal(err)
			}
			token, err := made.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://graph.microsoft.com/.default"}})
			if err != nil || token.Token != "good" {
				t.Fatalf("token %q, %v", token.Token, err)
			}
			form, host := a.forms[len(a.forms)-1], a.hosts[len(a.hosts)-1]
			if host != c.host {
				t.Errorf("asked %s, want %s", host, c.host)
			}
			for field, want := range c.want {
				if got := form.Get(field); got != want && (want != "*" || got == "") {
					t.Errorf("%s is %q, want %q", field, got, want)
				}
			}
		})
	}
}

// What is wrong with a credential's files is told at the start, without what they hold.
func TestBrokenCredentialsAreErrors(t *testing.T) {
	t.Parallel()
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]graph.Credential{
		"no file":          {Kind: graph.ClientSecret, ClientID: app, SecretFile: filepath.Join(t.TempDir(), "none")},
		"empty":            {Kind: graph.ClientSecret, ClientID: app, SecretFile: write(t, "secret", "\n")},
		"huge":             {Kind: graph.ClientSecret, ClientID: app, SecretFile: write(t, "secret", strings.Repeat(secret, maxSecret))},
		"no certificate":   {Kind: graph.Certificate, ClientID: app, CertificateFile: write(t, "pem", secret)},
		"no password":      {Kind: graph.Certificate, ClientID: app, CertificateFile: write(t, "pem", keyPair(t)), CertificatePasswordFile: filepath.Join(t.TempDir(), "none")},
		"another kind":     {Kind: graph.Certificate, ClientID: app, CertificateFile: write(t, "pem", encoded(t, &elliptical.PublicKey, elliptical))},
		"no configuration": {},
	} {
		_, err := New(config(c))
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
}

// A secret that was replaced is taken up after the old one was refused, and the error says why in a line.
func TestAReplacedSecretIsTakenUp(t *testing.T) {
	t.Parallel()
	file := write(t, "secret", "old")
	a := &authority{refuse: true}
	cfg := config(graph.Credential{Kind: graph.ClientSecret, ClientID: app, SecretFile: file})
	renewing, err := newRenewable(func() (credential, error) { return newCredential(cfg, a) })
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	c, err := newClient("https://graph.microsoft.com", renewing, roundTrip(func(r *http.Request) (*http.Response, error) {
		asked++
		if got := r.Header.Get("Authorization"); got != "Bearer good" {
			t.Errorf("Authorization is %q", got)
		}
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"value":[]}`)), Request: r}, nil
	}), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(t.Context(), "https://graph.microsoft.com"+address, nil)
	if err == nil || err.Error() != "getting a token: AADSTS7000222: The provided client secret keys for app are expired." {
		t.Errorf("error %v", err)
	}
	if len(a.forms) != 1 {
		t.Errorf("the authority was asked %d times, want once", len(a.forms))
	}
	if asked != 0 {
		t.Errorf("Graph was asked %d times without a token", asked)
	}
	if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.refuse = false
	if _, err := c.Get(t.Context(), "https://graph.microsoft.com"+address, nil); err != nil {
		t.Error(err)
	}
	if got := a.forms[len(a.forms)-1].Get("client_secret"); got != "new" {
		t.Errorf("the secret is %q", got)
	}
	if asked != 1 {
		t.Errorf("Graph was asked %d times, want once", asked)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
