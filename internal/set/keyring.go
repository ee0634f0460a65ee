package set

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"
)

const maxKeys = 32

// KeyringConfig says where the signing keys are.
type KeyringConfig struct {
	// Directory holds the keys, each a PEM file named *.pem; the names sort by age. `countersign keys new` makes one. Who
	// copies one there must not keep its time: a start takes a file that has been there for long for one that is known.
	Directory string `yaml:"directory"`
	// PublishBefore is for how long a new key is in the JWKS before anything is signed with it.
	PublishBefore time.Duration `yaml:"publish_before"`
	// JWKSMaxAge is for how long a receiver may keep the JWKS, in whole seconds: the max-age to serve it with.
	JWKSMaxAge time.Duration `yaml:"jwks_max_age"`
	// ReloadEvery is how often the directory is looked at.
	ReloadEvery time.Duration `yaml:"reload_every"`
}

// DefaultKeyringConfig has no directory.
func DefaultKeyringConfig() KeyringConfig {
	return KeyringConfig{PublishBefore: 10 * time.Minute, JWKSMaxAge: 5 * time.Minute, ReloadEvery: 30 * time.Second}
}

// Validate reports every problem.
func (c KeyringConfig) Validate() error {
	var errs []error
	if c.Directory == "" {
		errs = append(errs, errors.New("directory: is missing, must hold the signing keys"))
	}
	if c.JWKSMaxAge < time.Second || c.JWKSMaxAge > 24*time.Hour || c.JWKSMaxAge%time.Second != 0 {
		errs = append(errs, fmt.Errorf("jwks_max_age: is %s, must be whole seconds between 1s and 24h", c.JWKSMaxAge))
	}
	if c.ReloadEvery < 10*time.Millisecond || c.ReloadEvery > time.Hour {
		errs = append(errs, fmt.Errorf("reload_every: is %s, must be between 10ms and 1h", c.ReloadEvery))
	}
	// Another courier may see the file one reload later, and a receiver keeps what it got from that one.
	if least := c.JWKSMaxAge + 2*c.ReloadEvery; c.PublishBefore < least {
		errs = append(errs, fmt.Errorf("publish_before: is %s, must be at least %s", c.PublishBefore, least))
	}
	return errors.Join(errs...)
}

// Keyring is the keys of a directory: all are published, one signs. A new key signs once it has been published for long
// enough, so that a receiver that keeps the JWKS for its max-age rejects nothing while keys are exchanged: put a new file
// there, and remove the old one when `countersign keys list` calls it old. A key whose file is removed is kept until another can take over
// and for as long again; a restart forgets it at once. It is safe for concurrent use.
type Keyring struct {
	config  KeyringConfig
	log     *zap.Logger
	now     func() time.Time
	current atomic.Pointer[published]
	// said are the problems that were logged last.
	said []string
}

// published is what others see of a ring.
type published struct {
	ring
	jwks []byte
	etag string
}

// OpenKeyring reads the keys. It is an error when there is none that is good. Problems with single files are logged: later
// ones by Run.
func OpenKeyring(c KeyringConfig, log *zap.Logger) (*Keyring, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	k := &Keyring{config: c, log: log, now: time.Now}
	if err := k.reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// Signer is the key to sign with now.
func (k *Keyring) Signer() Signer { return k.current.Load().signer().key }

// JWKS is the document to publish (RFC 7517 §5), and its entity tag. The bytes must not be changed.
func (k *Keyring) JWKS() (document []byte, etag string) {
	p := k.current.Load()
	return p.jwks, p.etag
}

// Run looks at the directory again and again until ctx ends. A bad or unreadable file changes nothing and is logged once.
func (k *Keyring) Run(ctx context.Context) error {
	tick := time.NewTicker(k.config.ReloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := k.reload(); err != nil {
			k.log.Error("signing keys cannot be published", zap.Error(err))
		}
	}
}

// reload takes in what is in the directory now.
func (k *Keyring) reload() error {
	var before ring
	p := k.current.Load()
	if p != nil {
		before = p.ring
	}
	files, problems, err := readKeys(k.config.Directory)
	if err != nil {
		files, problems = before.files(), []error{err}
	} else if len(files) == 0 {
		problems = append(problems, fmt.Errorf("directory: %s holds no signing key, `countersign keys new` makes one", k.config.Directory))
	}
	next := before.next(files, k.now(), k.config.PublishBefore)
	if len(next.keys) == 0 {
		return errors.Join(problems...)
	}
	k.say(problems)
	if p == nil || !slices.EqualFunc(before.keys, next.keys, func(a, b ringKey) bool { return a.key.id == b.key.id }) {
		jwks, err := next.jwks()
		if err != nil {
			return err
		}
		sum := sha256.Sum256(jwks)
		p = &published{jwks: jwks, etag: `"` + hex.EncodeToString(sum[:16]) + `"`}
	}
	if before.keys != nil && before.signer().key.id != next.signer().key.id {
		k.log.Info("another key signs", zap.String("kid", next.signer().key.id), zap.String("file", next.signer().name))
	}
	k.current.Store(&published{next, p.jwks, p.etag})
	return nil
}

// say logs problems when they are others than the last time.
func (k *Keyring) say(problems []error) {
	var texts []string
	for _, err := range problems {
		texts = append(texts, err.Error())
	}
	if !slices.Equal(texts, k.said) {
		for _, err := range problems {
			k.log.Warn("a signing key's file has a problem", zap.Error(err))
		}
	}
	k.said = texts
}

// keyFile is one file of the directory. key is nil when it cannot be used.
type keyFile struct {
	name string
	// written is when the file was last changed.
	written time.Time
	key     *Key
}

// readKeys reads the key files of a directory, by name. Files with problems are listed too: what was read from them before
// is kept.
func readKeys(dir string) (files []keyFile, problems []error, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("reading directory of keys: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool {
		return !strings.HasSuffix(e.Name(), keySuffix) || strings.HasPrefix(e.Name(), ".")
	})
	if many := len(entries) - maxKeys; many > 0 {
		problems = append(problems, fmt.Errorf("there are %d keys, the oldest are not read: remove all but %d", len(entries), maxKeys))
		entries = entries[many:]
	}
	for _, entry := range entries {
		f, err := readKey(dir, entry.Name())
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", entry.Name(), err))
		}
		files = append(files, f)
	}
	return files, problems, nil
}

// readKey reads one key file. It may return both a key and an error: that others can read it.
func readKey(dir, name string) (keyFile, error) {
	f := keyFile{name: name}
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return f, fmt.Errorf("reading key: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return f, fmt.Errorf("reading key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return f, errors.New("is no file")
	}
	f.written = info.ModTime()
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return f, fmt.Errorf("reading key: %w", err)
	}
	if len(text) > maxKeyFile {
		return f, fmt.Errorf("has more than %d bytes", maxKeyFile)
	}
	if f.key, err = ParseKey(text); err != nil {
		return f, err
	}
	const others = 0o044
	if info.Mode().Perm()&others != 0 {
		return f, fmt.Errorf("has mode %#o: others can read the private key, make it 0600", info.Mode().Perm())
	}
	return f, nil
}

// The roles of a key in its directory.
const (
	// Signs is the one that signs; Waits is newer and only published.
	Signs = "signs"
	Waits = "waits"
	// Retiring signs no more, or perhaps still in a courier that saw the next one late; Old may be removed.
	Retiring = "retiring"
	Old      = "old"
)

// KeyInfo is one key file as an operator sees it. The role is that by the ages of the files: a courier counts from when it
// saw a file first.
type KeyInfo struct {
	File, KeyID, Role string
	Written           time.Time
}

// ListKeys lists the good keys of a directory, oldest first, and joins what is wrong with its files. before is what
// [KeyringConfig.PublishBefore] is.
func ListKeys(dir string, now time.Time, before time.Duration) ([]KeyInfo, error) {
	files, problems, err := readKeys(dir)
	if err != nil {
		return nil, err
	}
	return roles(files, now, before), errors.Join(problems...)
}

// roles are those of key files.
func roles(files []keyFile, now time.Time, before time.Duration) []KeyInfo {
	var r ring
	r = r.next(files, now, before)
	var out []KeyInfo
	for i := range r.keys {
		info := KeyInfo{File: r.keys[i].name, KeyID: r.keys[i].key.id, Written: r.keys[i].since}
		switch {
		case i == r.signing:
			info.Role = Signs
		case i > r.signing:
			info.Role = Waits
		case now.Sub(r.signer().since) < 2*before:
			info.Role = Retiring
		default:
			info.Role = Old
		}
		out = append(out, info)
	}
	return out
}

// jwks writes the document.
func (r *ring) jwks() ([]byte, error) {
	var doc jose.JSONWebKeySet
	for i := range r.keys {
		doc.Keys = append(doc.Keys, r.keys[i].key.Public())
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("writing JWKS: %w", err)
	}
	return b, nil
}
