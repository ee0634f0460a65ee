// Package ssf receives the Security Event Tokens of Shared Signals transmitters (OpenID SSF 1.0) by push (RFC 8935) and by
// poll (RFC 8936), verifies them, and turns CAEP and RISC events into events of countersign.
//
// A token is trusted for what its transmitter was configured for: one issuer, one tenant, and the users whom that issuer
// may speak of. What is refused is told to the transmitter in the terms of RFC 8935, and kept as a dead letter. Nothing is
// acknowledged before it is on the log. Streams are set up by the operator: this package manages none.
package ssf

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// Family is the identity space of Security Event Tokens: the id of a record in it is the issuer and the jti.
const Family = "ssf"

// MaxSET is the largest token that is taken, in bytes.
const MaxSET = 64 << 10

// Deps are what a Transmitter needs from outside. All may be nil.
type Deps struct {
	// Transport carries requests to transmitters; nil is http.DefaultTransport.
	Transport  http.RoundTripper
	Logger     *zap.Logger
	Registerer prometheus.Registerer
	// Now is the clock by which tokens are judged; nil is time.Now.
	Now func() time.Time
}

// Transmitter is one configured transmitter. It is safe for concurrent use, but Fetch is for one goroutine at a time.
type Transmitter struct {
	cfg     Config
	subject mapping
	keys    *keySet
	push    [sha256.Size]byte // digest of the token that it sends
	poll    *poller           // nil when it is not polled
	log     *zap.Logger
	metrics *metrics
	now     func() time.Time
}

// New validates cfg and reads the files it names. It asks nobody yet.
func New(cfg Config, deps Deps) (*Transmitter, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	t := &Transmitter{cfg: cfg, subject: cfg.mapping(), keys: newKeySet(cfg, deps), log: deps.Logger.With(zap.String("transmitter", cfg.Name)), now: deps.Now}
	var problems []error
	if cfg.JWKSFile != "" {
		if _, err := readKeyFile(cfg.JWKSFile); err != nil {
			problems = append(problems, fmt.Errorf("jwks_file: %w", err))
		}
	}
	if cfg.Pushes() {
		digest, err := readDigest(cfg.Push.TokenFile)
		if err != nil {
			problems = append(problems, fmt.Errorf("push.token_file: %w", err))
		}
		t.push = digest
	}
	if cfg.Polls() {
		poll, err := newPoller(cfg.Poll, deps)
		if err != nil {
			problems = append(problems, fmt.Errorf("poll.%w", err))
		}
		t.poll = poll
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	var err error
	if t.metrics, err = newMetrics(deps.Registerer, cfg.Name); err != nil {
		return nil, err
	}
	return t, nil
}

// Name is the configured name of the transmitter.
func (t *Transmitter) Name() string { return t.cfg.Name }

// Tenant is the tenant that the transmitter's events are of.
func (t *Transmitter) Tenant() string { return t.cfg.Tenant }

// Decoder decodes what the transmitter's SETs become on their way into the pipeline: the verified claims of a token, or a
// refused token with the reason, which becomes the error of its record.
func (t *Transmitter) Decoder() *Decoder {
	return &Decoder{format: foreign.Format{Max: MaxSET, Record: t.subject.decode}}
}

// Claims decodes claims sets that nobody verified, one JSON object each or arrays of them: it is for files that are looked
// at, and for senders who are trusted for everything they send. Every issuer's users are taken by their sub, opaque ids
// for users' ids, and no tenant is set.
func Claims() *foreign.Format {
	m := mapping{opaque: true, names: true, rules: rules{several: true, tolerant: true}}
	return &foreign.Format{Max: 4 << 20, Record: m.decode}
}

// Decoder decodes the values that a [Transmitter] hands on. It is safe for concurrent use.
type Decoder struct{ format foreign.Format }

// MaxValue is the largest value that Decode accepts, in bytes. Refused tokens may be larger than those that are taken.
func (d *Decoder) MaxValue() int { return events.MaxRecord }

// Decode calls emit for every event of a claims set, or once with the reason why a token was refused and its bytes.
func (d *Decoder) Decode(value []byte, emit foreign.Emit) {
	if reason, set, refused := splitRefused(value); refused {
		emit(set, nil, errors.New(reason))
		return
	}
	d.format.Decode(value, emit)
}

// A refused token travels as its reason, a line break, and the token. Claims are told apart by their first byte: reasons
// begin with a code of letters.

func joinRefused(reason string, set []byte) []byte {
	line := bytes.ReplaceAll([]byte(reason), []byte("\n"), []byte("; "))
	return append(append(line, '\n'), set...)
}

func splitRefused(value []byte) (reason string, set []byte, refused bool) {
	if len(value) == 0 || value[0] < 'a' || value[0] > 'z' {
		return "", nil, false
	}
	line, set, refused := bytes.Cut(value, []byte("\n"))
	return string(line), set, refused
}
