package google

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"

	"github.com/countersign-io/countersign/internal/source/upstream"
)

// scope is all that is asked for: to read audit reports.
const scope = "https://www.googleapis.com/auth/admin.reports.audit.readonly"

// loadKey reads the key file of a service account, as Google's console gives it out. Its errors tell nothing of the key.
func loadKey(path, admin string) (*jwt.Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	var file struct {
		Type  string `json:"type"`
		Email string `json:"client_email"`
		KeyID string `json:"private_key_id"`
		Key   string `json:"private_key"`
		URI   string `json:"token_uri"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("%s: is no JSON, want the key file of a service account", path)
	}
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(path+": "+format, args...)) }
	if file.Type != "service_account" {
		bad("type: is %.40q, must be service_account", file.Type)
	}
	if file.Email == "" {
		bad("client_email: is missing")
	}
	if !isRSA(file.Key) {
		bad("private_key: is no RSA key in PEM")
	}
	if err := upstream.CheckBase(file.URI); err != nil {
		bad("token_uri: %w", err)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &jwt.Config{
		Email: file.Email, PrivateKey: []byte(file.Key), PrivateKeyID: file.KeyID, Subject: admin,
		Scopes: []string{scope}, TokenURL: file.URI,
	}, nil
}

func isRSA(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		_, is := key.(*rsa.PrivateKey)
		return is
	}
	_, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	return err == nil
}

// access hands out access tokens for the service account, in the name of the administrator.
type access struct {
	file, admin string
	http        *http.Client

	mu      sync.Mutex
	current *oauth2.Token
}

// token returns a token that is good as far as anybody knows, and is not the one that was refused.
func (a *access) token(ctx context.Context, refused string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current.Valid() && a.current.AccessToken != refused {
		return a.current.AccessToken, nil
	}
	// The file is read again every time, so that a key may be changed while running.
	cfg, err := loadKey(a.file, a.admin)
	if err != nil {
		return "", err
	}
	fresh, err := cfg.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, a.http)).Token()
	if err != nil {
		return "", fmt.Errorf("asking for an access token: %w", tokenError(err))
	}
	a.current = fresh
	return fresh.AccessToken, nil
}

// tokenError words what the token endpoint answered: its error code and description, which hold no secrets.
func tokenError(err error) error {
	refusal, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || refusal.Response == nil {
		return err
	}
	var said struct {
		Code   string `json:"error"`
		Detail string `json:"error_description"`
	}
	_ = json.Unmarshal(refusal.Body, &said) // whatever it is, the status is told
	e := &upstream.Error{Status: refusal.Response.StatusCode}
	if said.Code != "" {
		e.Detail = said.Code + ": " + said.Detail
	}
	return e
}
