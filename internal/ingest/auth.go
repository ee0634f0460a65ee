package ingest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// minToken is the length of the shortest token that is accepted: 20 letters and digits cannot be guessed.
const minToken = 20

// token is a configured bearer token, of which only the digest is kept.
type token struct {
	digest [sha256.Size]byte
	cfg    TokenConfig
}

// loadTokens reads the tokens' files, all problems at once.
func loadTokens(configs []TokenConfig) ([]token, error) {
	var tokens []token
	var problems []error
	for i, cfg := range configs {
		digest, err := loadDigest(cfg.File)
		if err != nil {
			problems = append(problems, fmt.Errorf("tokens[%d].file: %w", i, err))
			continue
		}
		if j := slices.IndexFunc(tokens, func(t token) bool { return t.digest == digest }); j >= 0 {
			problems = append(problems, fmt.Errorf("tokens[%d].file: holds the token of source %q too, a token has one source", i, tokens[j].cfg.Source))
		}
		tokens = append(tokens, token{digest, cfg})
	}
	return tokens, errors.Join(problems...)
}

func loadDigest(path string) (digest [sha256.Size]byte, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return digest, err
	}
	text := strings.TrimSpace(string(raw))
	if sum, hashed := strings.CutPrefix(text, "sha256:"); hashed {
		if n, err := hex.Decode(digest[:], []byte(sum)); err != nil || n != len(digest) || len(sum) != 2*len(digest) {
			return digest, fmt.Errorf("%s holds no digest, want sha256: and %d hexadecimal digits", path, 2*len(digest))
		}
		return digest, nil
	}
	if len(text) < minToken {
		return digest, fmt.Errorf("%s holds %d characters, a token needs at least %d", path, len(text), minToken)
	}
	return sha256.Sum256([]byte(text)), nil
}

// authenticate finds the token of an Authorization header. It takes the same time for every header of one length,
// whichever token it is and how much of it is right.
func authenticate(tokens []token, header string) (*token, bool) {
	const scheme = "bearer "
	if len(header) <= len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return nil, false
	}
	digest := sha256.Sum256([]byte(strings.TrimSpace(header[len(scheme):])))
	found := -1
	for i := range tokens {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(digest[:], tokens[i].digest[:]), i, found)
	}
	if found < 0 {
		return nil, false
	}
	return &tokens[found], true
}
