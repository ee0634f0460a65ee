package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

// secretPrefix starts the secrets of tokens made at run time, so that scanners of source code can tell what they found.
const secretPrefix = "cst_"

const (
	// maxAccessTokens bounds those that work at a time.
	maxAccessTokens = 1000
	// forgetAfter is how long a token that has ended is still listed.
	forgetAfter = 30 * 24 * time.Hour
	// accessCheck is how often the book makes sure that it would hear of a revocation, accessStale how long it trusts that.
	accessCheck = 2 * time.Second
	accessStale = 10 * time.Second
)

// accessToken is a token as it is on [events.TopicAccess], keyed by its id. The secret is nowhere.
type accessToken struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	SHA256    string        `json:"sha256"`
	Role      string        `json:"role,omitempty"`
	Scopes    []string      `json:"scopes,omitempty"`
	Tenants   []string      `json:"tenants"`
	CreatedBy string        `json:"created_by"`
	Created   events.Millis `json:"created"`
	Expires   events.Millis `json:"expires"`
	Revoked   events.Millis `json:"revoked,omitempty"`
	RevokedBy string        `json:"revoked_by,omitempty"`

	hash hash
	who  *principal
}

// ended reports whether the token no longer works.
func (t *accessToken) ended(now events.Millis) bool { return t.Revoked != 0 || t.Expires <= now }

// read checks a record and prepares the token for use.
func (t *accessToken) read(b []byte) error {
	if err := json.Unmarshal(b, t); err != nil {
		return err
	}
	sum, err := hex.DecodeString(t.SHA256)
	unknown := func(s string) bool { return !slices.Contains(Scopes, s) }
	foreign := func(s string) bool { return s != AllTenants && !events.ValidTenant(s) }
	if err != nil || len(sum) != len(t.hash) || t.ID == "" || t.Expires == 0 || len(t.Tenants) == 0 || slices.ContainsFunc(t.Scopes, unknown) ||
		slices.ContainsFunc(t.Tenants, foreign) || t.Role != "" && !slices.Contains(Roles, t.Role) {
		return errors.New("is no access token")
	}
	t.hash = hash(sum)
	t.who = newPrincipal(t.Name, events.ViaToken, t.Role, t.Scopes, t.Tenants)
	t.who.subject = t.ID
	return nil
}

// newSecret is a secret of 256 bits.
func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return secretPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// accessBook holds the tokens made at run time. It follows their topic, which every replica of the API does, so that a
// token that one of them revokes is refused by all. Without the topic it lets nobody in.
type accessBook struct {
	log     Log
	logger  *zap.Logger
	metrics *metrics

	mu     sync.RWMutex
	loaded bool
	heard  time.Time // when the topic answered last
	byID   map[string]*accessToken
	byHash map[hash]*accessToken
}

// errAway says that whoever asks cannot be judged now.
var errAway = errors.New("what would prove it is not available now")

func newAccessBook(log Log, logger *zap.Logger, m *metrics) *accessBook {
	b := &accessBook{log: log, logger: logger, metrics: m}
	b.clear()
	return b
}

func (b *accessBook) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loaded, b.byID, b.byHash = false, map[string]*accessToken{}, map[hash]*accessToken{}
}

// run follows the topic until ctx ends. It goes on trying when the topic cannot be read.
func (b *accessBook) run(ctx context.Context) error {
	for ctx.Err() == nil {
		b.clear()
		group, both := errgroup.WithContext(ctx)
		group.Go(func() error { return b.watch(both) })
		group.Go(func() error {
			err := b.log.Follow(both, events.TopicAccess, b.take, func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.loaded = true
			})
			if err == nil && both.Err() == nil {
				err = errors.New("the topic ended")
			}
			return err
		})
		if err := group.Wait(); err != nil && ctx.Err() == nil {
			b.logger.Error("following the api's tokens", zap.Error(err))
		}
		timer := time.NewTimer(accessCheck)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// watch asks the topic how it is, again and again.
func (b *accessBook) watch(ctx context.Context) error {
	tick := time.NewTicker(accessCheck)
	defer tick.Stop()
	for {
		asked := time.Now()
		limited, cancel := context.WithTimeout(ctx, accessCheck)
		_, _, err := b.log.Ends(limited, events.TopicAccess)
		cancel()
		if err == nil {
			b.mu.Lock()
			b.heard = asked
			b.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// take reads a record of the topic. What cannot be read is counted and lets nobody in.
func (b *accessBook) take(r stream.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := string(r.Key)
	old := b.byID[id]
	if r.Value == nil {
		if old != nil {
			delete(b.byID, id)
			delete(b.byHash, old.hash)
		}
		return nil
	}
	t := &accessToken{}
	if err := t.read(r.Value); err != nil || t.ID != id {
		b.metrics.accessBad.Inc()
		b.logger.Error("a record of the api's tokens cannot be read", zap.Int64("offset", r.Offset), zap.Error(err))
		if old != nil { // it was about to change, and not for more rights
			delete(b.byHash, old.hash)
		}
		return nil
	}
	if old != nil {
		if old.Revoked != 0 { // for ever
			t.Revoked, t.RevokedBy = old.Revoked, old.RevokedBy
		}
		delete(b.byHash, old.hash)
	}
	b.byID[id], b.byHash[t.hash] = t, t
	return nil
}

// ready reports whether the book can judge.
func (b *accessBook) ready(now time.Time) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.loaded && now.Sub(b.heard) < accessStale
}

// find is who has a secret, and until when. Nobody is nil; the error is errAway.
func (b *accessBook) find(secret string, now time.Time) (who *principal, ends time.Time, err error) {
	if !b.ready(now) {
		return nil, ends, errAway
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	t := b.byHash[sha256.Sum256([]byte(secret))]
	if t == nil || t.ended(events.MillisOf(now)) {
		return nil, ends, nil
	}
	return t.who, t.Expires.Time(), nil
}

// works reports whether the token with an id lets its bearer in. The error is errAway.
func (b *accessBook) works(id string, now time.Time) (bool, error) {
	if !b.ready(now) {
		return false, errAway
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	t := b.byID[id]
	return t != nil && b.byHash[t.hash] == t && !t.ended(events.MillisOf(now)), nil
}

// list are the tokens that somebody may manage, the newest first: those that give nothing they do not have.
func (b *accessBook) list(who *principal) []*accessToken {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var list []*accessToken
	for _, t := range b.byID {
		if who.covers(t.who.scopes(), t.who.tenants) {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(x, y *accessToken) int {
		if x.Created != y.Created {
			return int(max(-1, min(1, y.Created-x.Created)))
		}
		return strings.Compare(x.ID, y.ID)
	})
	return list
}

// forgotten are the records that remove the tokens that ended long ago.
func (b *accessBook) forgotten(now time.Time) []stream.Record {
	b.mu.RLock()
	defer b.mu.RUnlock()
	before := events.MillisOf(now.Add(-forgetAfter))
	var records []stream.Record
	for id, t := range b.byID {
		if t.Revoked != 0 && t.Revoked < before || t.Expires < before {
			records = append(records, stream.Record{Key: []byte(id), Time: now})
		}
	}
	return records
}

// working is how many tokens work.
func (b *accessBook) working(now events.Millis) int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	n := 0
	for _, t := range b.byID {
		if !t.ended(now) {
			n++
		}
	}
	return n
}

// write puts a token on the log and, when the log has it, into the book.
func (a *API) writeAccess(ctx context.Context, t accessToken) error {
	value, err := json.Marshal(&t)
	if err != nil {
		return fmt.Errorf("encoding an access token: %w", err)
	}
	at := time.Now()
	record := stream.Record{Key: []byte(t.ID), Value: value, Time: at}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.AuditWait)
	defer cancel()
	if err := a.deps.Publisher.Publish(ctx, events.TopicAccess, append(a.gate.access.forgotten(at), record)); err != nil {
		a.log.Warn("writing an access token", zap.Error(err))
		return unavailable(logAway, "The log is not available now: the token is as it was, or will be changed soon. Look again.")
	}
	return a.gate.access.take(record)
}
