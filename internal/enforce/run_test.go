package enforce

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/countersign-io/countersign/stepup"
)

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T) (certFile, keyFile string, pair tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, text := range map[string][]byte{certFile: certPEM, keyFile: keyPEM} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, pair
}

// As a process does: over TLS, for proxies with a certificate of their own, with the keys read ahead.
func TestRun(t *testing.T) {
	t.Parallel()
	cert, key, pair := certificate(t)
	b := newBench(t, nil)
	cfg := b.server.cfg
	cfg.TLS = TLSConfig{CertFile: cert, KeyFile: key, ClientCAFile: cert}
	server, err := New(cfg, Deps{Index: b.index})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	addr, err := server.Addr(ctx)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	get := func(certificates []tls.Certificate) (int, int, error) {
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certificates}, ForceAttemptHTTP2: true,
		}}
		defer client.CloseIdleConnections()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+addr+pathEnvoy+"/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+b.sign(t, "k1", "JWT", b.claims(0, nil)))
		resp, err := client.Do(req)
		if err != nil {
			return 0, 0, err
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.ProtoMajor, nil
	}
	if status, version, err := get([]tls.Certificate{pair}); err != nil || status != 200 || version != 2 {
		t.Errorf("%d over HTTP/%d, %v", status, version, err)
	}
	if status, _, err := get(nil); err == nil {
		t.Errorf("a proxy without a certificate: %d", status)
	}
	if err := server.Ready(ctx); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	if _, err := New(b.server.cfg, Deps{}); err == nil {
		t.Error("no index: no error")
	}
	cfg := b.server.cfg
	cfg.TLS = TLSConfig{CertFile: "/nowhere", KeyFile: "/nowhere"}
	if _, err := New(cfg, Deps{Index: b.index}); err == nil {
		t.Error("no certificate: no error")
	}
	cfg.App = ""
	if _, err := New(cfg, Deps{Index: b.index}); err == nil {
		t.Error("no app: no error")
	}
}

func TestKeysInAFile(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	resp, err := http.Get(b.URL + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	file := filepath.Join(t.TempDir(), "keys.json")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := b.server.cfg
	cfg.Issuers[0].JWKSFile = file
	server, err := New(cfg, Deps{Index: b.index})
	if err != nil {
		t.Fatal(err)
	}
	asked := b.asked
	token, err := server.verify(t.Context(), b.sign(t, "k1", "JWT", b.claims(0, map[string]any{"amr": "pwd", "acrs": []string{"c1"}})))
	want := stepup.Subject{Tenant: "acme", User: "u1", Session: "s1"}
	if err != nil || token.Subject != want || token.AMR[0] != "pwd" || token.ACRS[0] != "c1" || b.asked != asked {
		t.Errorf("%+v, %v", token, err)
	}
}

func TestKeySetsThatAreNone(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no JSON": "<html>", "empty": `{"keys":[]}`, "shared secret": `{"keys":[{"kty":"oct","k":"AAAA"}]}`, "unknown": `{"keys":[{"kty":"x"}]}`,
		"private": `{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}]}`,
	} {
		if keys, err := parseKeys([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, keys)
		}
	}
}

func TestLoggerWritesToZap(t *testing.T) {
	t.Parallel()
	core, seen := observer.New(zap.InfoLevel)
	log := Logger(zap.New(core))
	log.Debug("not seen")
	log.With("app", "bank").WithGroup("g").Warn("text", "n", 1, slog.Duration("d", time.Second))
	log.Error("error")
	all := seen.All()
	if len(all) != 2 || all[0].Message != "text" || all[0].Level != zap.WarnLevel || all[0].ContextMap()["app"] != "bank" || all[1].Level != zap.ErrorLevel {
		t.Errorf("%+v", all)
	}
}
