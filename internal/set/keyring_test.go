package set

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func open(t *testing.T, dir string) (*Keyring, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	c := DefaultKeyringConfig()
	c.Directory = dir
	k, err := OpenKeyring(c, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	return k, logs
}

func kids(t *testing.T, k *Keyring) []string {
	t.Helper()
	document, etag := k.JWKS()
	var doc jose.JSONWebKeySet
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	if len(etag) < 10 || etag[0] != '"' {
		t.Errorf("etag %s", etag)
	}
	var out []string
	for _, key := range doc.Keys {
		if !key.IsPublic() || key.Algorithm != Algorithm || key.Use != "sig" {
			t.Errorf("%+v", key)
		}
		out = append(out, key.KeyID)
	}
	return out
}

func TestKeyringFollowsItsDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	now := time.Now()
	_, first, err := NewKeyFile(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	k, logs := open(t, dir)
	k.now = func() time.Time { return now }
	if got := kids(t, k); len(got) != 1 || k.Signer().KeyID() != first.KeyID() {
		t.Fatalf("%v", got)
	}
	_, before := k.JWKS()

	path, second, err := NewKeyFile(dir, now.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, _, err := NewKeyFile(dir, now.Add(time.Second)); err == nil {
		t.Error("a key was replaced by one of the same second")
	}
	reload := func(after time.Duration) {
		t.Helper()
		now = now.Add(after)
		if err := k.reload(); err != nil {
			t.Fatal(err)
		}
	}
	reload(time.Second)
	if got := kids(t, k); len(got) != 2 || k.Signer().KeyID() != first.KeyID() {
		t.Errorf("%v, %s signs", got, k.Signer().KeyID())
	}
	if _, after := k.JWKS(); after == before {
		t.Error("another document has the same entity tag")
	}
	reload(10 * time.Minute)
	if k.Signer().KeyID() != second.KeyID() || logs.FilterMessage("another key signs").Len() != 1 {
		t.Errorf("%s signs, %v", k.Signer().KeyID(), logs.All())
	}

	// Bad files change nothing, and are said once.
	if err := os.WriteFile(path, []byte("-----BEGIN PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reload(time.Minute)
	reload(time.Minute)
	if got := kids(t, k); len(got) != 2 || k.Signer().KeyID() != second.KeyID() {
		t.Errorf("a broken file lost its key: %v", got)
	}
	if warned := logs.FilterLevelExact(zap.WarnLevel); warned.Len() != 1 || !strings.Contains(warned.All()[0].ContextMap()["error"].(string), "PEM") {
		t.Errorf("%v", warned.All())
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	reload(time.Hour)
	reload(time.Hour)
	if got := kids(t, k); len(got) != 2 || k.Signer().KeyID() != second.KeyID() {
		t.Errorf("a directory that cannot be read lost its keys: %v", got)
	}
}

func TestBadKeyFilesAreSaid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, kind string, der []byte, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	private, err := rsa.GenerateKey(rand.Reader, MinBits)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	write("a.pem", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private), 0o644)
	write("b.pem", "PRIVATE KEY", other, 0o600)
	write("c.pem", "CERTIFICATE", nil, 0o600)
	write("d.pem", "RSA PRIVATE KEY", []byte("x"), 0o600)
	write("e.pem", "PRIVATE KEY", []byte("x"), 0o600)
	write("f.pem", "CERTIFICATE", make([]byte, maxKeyFile), 0o600)
	write("g.pem", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private), 0o600) // the same key again
	write(".h.pem", "CERTIFICATE", nil, 0o600)
	if err := os.Mkdir(filepath.Join(dir, "i.pem"), 0o700); err != nil {
		t.Fatal(err)
	}
	keys, problems := ListKeys(dir, time.Now(), time.Hour)
	if len(keys) != 1 || keys[0].File != "a.pem" || keys[0].Role != Signs {
		t.Errorf("%+v", keys)
	}
	for _, want := range []string{
		"a.pem: has mode 0644: others can read", "b.pem: it is a *ecdsa.PrivateKey", `c.pem: the PEM block is a "CERTIFICATE"`,
		"d.pem: reading PKCS #1", "e.pem: reading PKCS #8", "f.pem: has more than 65536 bytes", "i.pem: ",
	} {
		if problems == nil || !strings.Contains(problems.Error(), want) {
			t.Errorf("not said: %s in\n%v", want, problems)
		}
	}
	if problems != nil && (strings.Contains(problems.Error(), "g.pem") || strings.Contains(problems.Error(), "h.pem")) {
		t.Error(problems)
	}
	_, logs := open(t, dir)
	if logs.FilterLevelExact(zap.WarnLevel).Len() != 7 {
		t.Errorf("%v", logs.All())
	}
}

func TestKeyringNeedsAKey(t *testing.T) {
	t.Parallel()
	c := DefaultKeyringConfig()
	for want, dir := range map[string]string{"is missing": "", "holds no signing key": t.TempDir(), "reading directory": filepath.Join(t.TempDir(), "none")} {
		c.Directory = dir
		if _, err := OpenKeyring(c, zap.NewNop()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	c.PublishBefore = time.Minute
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "publish_before: is 1m0s, must be at least 6m0s") {
		t.Error(err)
	}
	c.JWKSMaxAge, c.ReloadEvery = 1500*time.Millisecond, time.Millisecond
	err := c.Validate()
	for _, want := range []string{"jwks_max_age: is 1.5s, must be whole seconds", "reload_every: is 1ms, must be between"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestRunPicksUpNewKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, _, err := NewKeyFile(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	k, _ := open(t, dir)
	if _, _, err := NewKeyFile(dir, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		time.Sleep(DefaultKeyringConfig().ReloadEvery + time.Second)
		if got := kids(t, k); len(got) != 2 {
			t.Errorf("%v", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
