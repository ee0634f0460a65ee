package graphsdk

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/countersign-io/countersign/internal/source/entra/graph"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// maxSecret bounds the files of credentials, in bytes.
const maxSecret = 1 << 20

type credential = azcore.TokenCredential

// renewable is a credential that can be made anew from its files: that drops the tokens it keeps, and takes up a secret
// that was replaced.
type renewable struct {
	build func() (credential, error)

	mu      sync.Mutex
	current credential // nil when it is to be made anew
}

func newRenewable(build func() (credential, error)) (*renewable, error) {
	current, err := build()
	if err != nil {
		return nil, err
	}
	return &renewable{build: build, current: current}, nil
}

func (r *renewable) renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = nil
}

// GetToken returns a token, a kept one where that is still good.
func (r *renewable) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	current, err := r.get()
	if err != nil {
		return azcore.AccessToken{}, err
	}
	return current.GetToken(ctx, options)
}

func (r *renewable) get() (credential, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil {
		fresh, err := r.build()
		if err != nil {
			return nil, err
		}
		r.current = fresh
	}
	return r.current, nil
}

// newCredential makes the configured credential; transport is nil outside of tests.
func newCredential(cfg graph.Config, transport policy.Transporter) (credential, error) {
	options := azcore.ClientOptions{Transport: transport}
	if u, err := url.Parse(cfg.BaseURL); err == nil {
		if authority := graph.Authorities[strings.ToLower(u.Hostname())]; authority != "" {
			options.Cloud = cloud.Configuration{ActiveDirectoryAuthorityHost: authority}
		}
	}
	c := cfg.Credential
	var made credential
	var err error
	switch c.Kind {
	case graph.ClientSecret:
		made, err = withSecret(cfg, options)
	case graph.Certificate:
		made, err = withCertificate(cfg, options)
	case graph.WorkloadIdentity:
		made, err = azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: options, ClientID: c.ClientID, TenantID: cfg.Tenant, TokenFilePath: c.TokenFile,
		})
	case graph.ManagedIdentity:
		o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
		if c.ClientID != "" {
			o.ID = azidentity.ClientID(c.ClientID)
		}
		made, err = azidentity.NewManagedIdentityCredential(o)
	default:
		err = fmt.Errorf("kind %.40q is unknown", c.Kind)
	}
	if err != nil {
		return nil, fmt.Errorf("preparing the credential: %w", err)
	}
	return made, nil
}

func withSecret(cfg graph.Config, options azcore.ClientOptions) (credential, error) {
	secret, err := readSecret(cfg.Credential.SecretFile)
	if err != nil {
		return nil, err
	}
	return azidentity.NewClientSecretCredential(cfg.Tenant, cfg.Credential.ClientID, string(secret), &azidentity.ClientSecretCredentialOptions{ClientOptions: options})
}

func withCertificate(cfg graph.Config, options azcore.ClientOptions) (credential, error) {
	var password []byte
	if file := cfg.Credential.CertificatePasswordFile; file != "" {
		var err error
		if password, err = readSecret(file); err != nil {
			return nil, err
		}
	}
	data, err := readFile(cfg.Credential.CertificateFile)
	if err != nil {
		return nil, err
	}
	certificates, key, err := azidentity.ParseCertificates(data, password)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", cfg.Credential.CertificateFile, err)
	}
	return azidentity.NewClientCertificateCredential(cfg.Tenant, cfg.Credential.ClientID, certificates, key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: options})
}

// readSecret reads a file without the line break at its end.
func readSecret(name string) ([]byte, error) {
	data, err := readFile(name)
	if err != nil {
		return nil, err
	}
	if data = bytes.TrimRight(data, "\r\n"); len(data) == 0 {
		return nil, fmt.Errorf("reading %s: it is empty", name)
	}
	return data, nil
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSecret {
		return nil, fmt.Errorf("reading %s: it is larger than %d bytes", name, maxSecret)
	}
	return os.ReadFile(name)
}

// reason finds the line that matters in what the authority answered.
var reason = regexp.MustCompile(`AADSTS\d+: [^\r\n"\\]{1,300}`)

// refusedToken words that there is no token; the whole answer would fill pages.
func refusedToken(failed *azidentity.AuthenticationFailedError) error {
	text := reason.FindString(failed.Error())
	if text == "" {
		text = failed.Error()
		text, _, _ = strings.Cut(text, "\n")
	}
	out := &upstream.Error{Err: fmt.Errorf("getting a token: %.300s", text)}
	if failed.RawResponse != nil {
		out.Wait = retryAfter(failed.RawResponse.Header.Get("Retry-After"), time.Now()) // the status is not that of Graph
	}
	return out
}
