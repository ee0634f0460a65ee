package set

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// MinBits is the least size of a signing key (CAEP Interoperability Profile 1.0 §2.6), newBits that of a new one.
const (
	MinBits = 2048
	newBits = 2048
)

// maxKeyFile bounds a key file, in bytes.
const maxKeyFile = 64 << 10

// Key signs with an RSA key in memory. It is safe for concurrent use.
type Key struct {
	private *rsa.PrivateKey
	id      string
}

var _ Signer = (*Key)(nil)

// NewKey makes a signer of a key with at least [MinBits] bits.
func NewKey(private *rsa.PrivateKey) (*Key, error) {
	if private == nil || private.N == nil {
		return nil, errors.New("there is no RSA key")
	}
	if bits := private.N.BitLen(); bits < MinBits {
		return nil, fmt.Errorf("the key has %d bits, must have at least %d", bits, MinBits)
	}
	if err := private.Validate(); err != nil {
		return nil, fmt.Errorf("checking key: %w", err)
	}
	jwk := jose.JSONWebKey{Key: &private.PublicKey}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("naming key: %w", err)
	}
	return &Key{private, base64.RawURLEncoding.EncodeToString(sum)}, nil
}

// ParseKey reads a PEM file with one RSA private key, PKCS #8 or PKCS #1.
func ParseKey(text []byte) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("there is no PEM block")
	}
	switch block.Type {
	case "RSA PRIVATE KEY":
		private, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading PKCS #1: %w", err)
		}
		return NewKey(private)
	case "PRIVATE KEY":
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading PKCS #8: %w", err)
		}
		private, ok := parsed.(*rsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("it is a %T, must be an RSA key", parsed)
		}
		return NewKey(private)
	}
	return nil, fmt.Errorf("the PEM block is a %.40q, must be a PRIVATE KEY or an RSA PRIVATE KEY", block.Type)
}

// KeyID is the key's RFC 7638 thumbprint, SHA-256.
func (k *Key) KeyID() string { return k.id }

// Sign signs the SHA-256 of input by RSASSA-PKCS1-v1_5.
func (k *Key) Sign(_ context.Context, input []byte) ([]byte, error) {
	sum := sha256.Sum256(input)
	return rsa.SignPKCS1v15(nil, k.private, crypto.SHA256, sum[:])
}

// Public is the key as receivers find it in the JWKS.
func (k *Key) Public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: &k.private.PublicKey, KeyID: k.id, Algorithm: Algorithm, Use: "sig"}
}

// KeyFileName is the name of a key file made at a time: the names sort by age.
func KeyFileName(now time.Time) string { return now.UTC().Format("2006-01-02T15-04-05") + keySuffix }

const keySuffix = ".pem"

// NewKeyFile makes a key and writes it into dir, readable by its owner only; a keyring over dir finds it whole or not at
// all. It returns the file's path and the key.
func NewKeyFile(dir string, now time.Time) (path string, key *Key, err error) {
	private, err := rsa.GenerateKey(rand.Reader, newBits)
	if err != nil {
		return "", nil, fmt.Errorf("making key: %w", err)
	}
	if key, err = NewKey(private); err != nil {
		return "", nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", nil, fmt.Errorf("encoding key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("making directory of keys: %w", err)
	}
	path = filepath.Join(dir, KeyFileName(now))
	draft, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return "", nil, fmt.Errorf("writing key: %w", err)
	}
	defer os.Remove(draft.Name())
	err = pem.Encode(draft, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err == nil {
		err = draft.Sync()
	}
	if err = errors.Join(err, draft.Close()); err != nil {
		return "", nil, fmt.Errorf("writing key: %w", err)
	}
	if err := os.Link(draft.Name(), path); err != nil { // unlike a rename it replaces nothing
		return "", nil, fmt.Errorf("writing key: %w", err)
	}
	return path, key, nil
}
