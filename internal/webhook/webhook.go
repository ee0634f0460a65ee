// Package webhook signs requests by the Standard Webhooks convention: the receiver learns from three headers which message
// it has, when it was sent, and that it comes from who holds the secret. Several secrets sign at once, so that one can be
// replaced while receivers still know the other.
package webhook

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed request.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// Bounds of what is signed and verified.
const (
	// MaxSecrets is how many sign at once.
	MaxSecrets = 4
	// Tolerance is how far a timestamp may lie from the receiver's clock, either way.
	Tolerance = 5 * time.Minute

	secretPrefix    = "whsec_"
	signaturePrefix = "v1,"
	// The convention wants keys of 24 to 64 bytes.
	minKey, maxKey = 24, 64
	// maxFile bounds a file of secrets, maxSignatures how many of a header are looked at.
	maxFile, maxSignatures = 4 << 10, 16
)

// Secret is a key that sender and receiver share. It cannot be read back, nor printed.
type Secret struct{ mac func() hash.Hash }

// ParseSecret reads a secret as it is written down: whsec_ and the key in base64.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	if !ok {
		return Secret{}, errors.New("secret does not begin with " + secretPrefix)
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Secret{}, errors.New("secret is not " + secretPrefix + " and base64") // the error would quote it
	}
	if len(key) < minKey || len(key) > maxKey {
		return Secret{}, fmt.Errorf("secret has %d bytes, must have %d to %d", len(key), minKey, maxKey)
	}
	return Secret{func() hash.Hash { return hmac.New(sha256.New, key) }}, nil
}

// String names no part of the secret.
func (Secret) String() string { return "[secret]" }

// Secrets sign together, the one in use first.
type Secrets []Secret

// ReadSecrets reads a file with one secret in a line, at most [MaxSecrets]; empty lines and those that begin with # are
// skipped. Read it anew for each message, or after a change, so that secrets can be replaced while running.
func ReadSecrets(path string) (Secrets, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	var list Secrets
	lines := bufio.NewScanner(bytes.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := ParseSecret(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		list = append(list, s)
	}
	if len(list) == 0 || len(list) > MaxSecrets {
		return nil, fmt.Errorf("%s holds %d secrets, must hold 1 to %d", path, len(list), MaxSecrets)
	}
	return list, nil
}

// Sign sets the headers of a message: its id, which stays the same when it is sent again, the time of sending, and one
// signature for each secret over both and the body. The id must have no dot.
func (s Secrets) Sign(h http.Header, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, len(s))
	for i, secret := range s {
		signatures[i] = signaturePrefix + base64.StdEncoding.EncodeToString(secret.sum(id, timestamp, body))
	}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, timestamp)
	h.Set(HeaderSignature, strings.Join(signatures, " "))
}

func (s Secret) sum(id, timestamp string, body []byte) []byte {
	mac := s.mac()
	for _, part := range [][]byte{[]byte(id), []byte("."), []byte(timestamp), []byte("."), body} {
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// ErrSignature is in the error of a message that none of the secrets has signed.
var ErrSignature = errors.New("none of the signatures is right")

// Verify is what a receiver does with the headers and the untouched body: one signature by one of its secrets is enough,
// and the time must lie within [Tolerance] of now.
func (s Secrets) Verify(h http.Header, body []byte, now time.Time) error {
	id, timestamp, list := h.Get(HeaderID), h.Get(HeaderTimestamp), h.Get(HeaderSignature)
	if id == "" || timestamp == "" || list == "" {
		return fmt.Errorf("one of %s, %s and %s is missing", HeaderID, HeaderTimestamp, HeaderSignature)
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return fmt.Errorf("%s is %.40q, must be seconds since 1970", HeaderTimestamp, timestamp)
	}
	if at := time.Unix(seconds, 0); at.Before(now.Add(-Tolerance)) || at.After(now.Add(Tolerance)) {
		return fmt.Errorf("%s is more than %v away", HeaderTimestamp, Tolerance)
	}
	for n, signature := range strings.Fields(list) {
		encoded, ok := strings.CutPrefix(signature, signaturePrefix)
		if n == maxSignatures {
			break
		}
		given, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil {
			continue // of another version
		}
		for _, secret := range s {
			if hmac.Equal(given, secret.sum(id, timestamp, body)) {
				return nil
			}
		}
	}
	return ErrSignature
}
