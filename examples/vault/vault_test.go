package vault

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

func TestRootSaysWhatThisIs(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	secret := t.TempDir() + "/authorization"
	if err := os.WriteFile(secret, []byte("Bearer 0123456789abcdef0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := stepupssf.OpenStore(t.TempDir()+"/signals", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	v, err := New(Config{
		Listener: listener, Issuer: "https://idp.example.com", JWKSURL: "https://idp.example.com/jwks", Audience: "bank",
		Signals: stepupssf.Config{
			Issuer: "https://courier.example.com/acme", Tenant: "acme", AuthorizationFile: secret, Store: store,
			ClientCredentials: &stepupssf.ClientCredentials{TokenURL: "https://courier.example.com/token", ClientID: "vault", ClientSecretFile: secret},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		v.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
		return w
	}
	if w := get("/"); w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") || !strings.Contains(w.Body.String(), "/api/documents") {
		t.Errorf("/: %d %v %q", w.Code, w.Header(), w.Body)
	}
	if w := get("/api/documents"); w.Code == http.StatusOK {
		t.Errorf("/api/documents without a token: %d %q", w.Code, w.Body)
	}
}
