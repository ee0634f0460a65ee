package courier

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/countersign-io/countersign/internal/ssf"
)

// Secrets seals what receivers entrust to streams, so that who can read the log cannot read it. The nil Secrets seals
// and signs nothing.
type Secrets struct {
	aead   cipher.AEAD
	claims []byte // the key of claims
}

// minSecretsKey is the length of the shortest key in a file, in characters.
const minSecretsKey = 32

// LoadSecrets reads the key of an installation: a file with at least 32 characters of chance. No name of a file gives nil.
func LoadSecrets(file string) (*Secrets, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // the nil Secrets is one that refuses
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("secrets_key_file: %w", err)
	}
	text := strings.TrimSpace(string(raw))
	if len(text) < minSecretsKey {
		return nil, fmt.Errorf("secrets_key_file: %s holds %d characters, must be at least %d", file, len(text), minSecretsKey)
	}
	key, err := hkdf.Key(sha256.New, []byte(text), nil, "countersign courier stream secrets", 32)
	if err != nil {
		return nil, fmt.Errorf("secrets_key_file: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("secrets_key_file: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("secrets_key_file: %w", err)
	}
	claims, err := hkdf.Key(sha256.New, []byte(text), nil, "countersign courier claims", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("secrets_key_file: %w", err)
	}
	return &Secrets{aead, claims}, nil
}

// sign is the MAC of a claim: of its partition and epoch, so that it is good in no other place.
func (s *Secrets) sign(partition int, epoch uint64, c *claim) []byte {
	if s == nil {
		return nil
	}
	h := hmac.New(sha256.New, s.claims)
	fmt.Fprintf(h, "%d %d %q %q", partition, epoch, c.Nonce, c.URL)
	return h.Sum(nil)
}

// signed reports whether a courier with the same key has made the claim.
func (s *Secrets) signed(partition int, epoch uint64, c *claim) bool {
	return s != nil && hmac.Equal(c.MAC, s.sign(partition, epoch, c))
}

// seal binds the secret to its stream: it opens for no other.
func (s *Secrets) seal(stream, secret string) ([]byte, error) {
	if s == nil {
		return nil, &ssf.InvalidError{Problem: "delivery.authorization_header: cannot be kept here, because the transmitter has no key for secrets"}
	}
	return s.aead.Seal(nil, nil, []byte(secret), []byte(stream)), nil //nolint:gosec // it puts a nonce of chance in front by itself
}

func (s *Secrets) open(stream string, sealed []byte) (string, error) {
	if s == nil {
		return "", errors.New("courier.secrets_key_file is not set")
	}
	b, err := s.aead.Open(nil, nil, sealed, []byte(stream))
	if err != nil {
		return "", errors.New("it was sealed with another key than that of courier.secrets_key_file")
	}
	return string(b), nil
}

// newID is the id of a stream, or of a SET that comes from no decision.
func newID() string { return strings.ToLower(rand.Text()) }
