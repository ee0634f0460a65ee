package detector

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/anomaly"
	"github.com/countersign-io/countersign/internal/policy"
)

// reloadEvery is how often the policy file is looked at. It is read, not asked for its date: dates stand still where
// files are swapped by links. What differs from what is in force counts when two looks have seen the same: the beginning of a
// file that is being written may be a valid, shorter set.
const reloadEvery = 3 * time.Second

// policies are the policies in force: those of a file, loaded again when it changes. A file that does not load changes
// nothing. Processors take the current set at the beginning of a batch, so that a batch is decided on by one.
type policies struct {
	file    string
	metrics *metrics
	log     *zap.Logger
	current atomic.Pointer[policy.Set]
	// seen is what the last look saw, tried what was last tried to load: the hash of the content, or of the reason for which there
	// is none.
	seen, tried [sha256.Size]byte
}

// LoadPolicies reads a policy file; "" is the shipped set.
func LoadPolicies(file string) (*policy.Set, error) {
	if file == "" {
		return policy.Default(), nil
	}
	text, err := ReadPolicies(file)
	if err != nil {
		return nil, err
	}
	set, err := ParsePolicies(text)
	if err != nil {
		return nil, fmt.Errorf("%s:\n%w", file, err)
	}
	return set, nil
}

// ParsePolicies is [policy.Load] of policies whose conditions name the detections of the catalogue only: a mistyped id would
// never match.
func ParsePolicies(text []byte) (*policy.Set, error) {
	var ids []string
	for _, d := range anomaly.Detections() {
		ids = append(ids, d.ID)
	}
	return policy.Load(text, ids...)
}

// ReadPolicies reads the text of a policy file, a byte more than one may have at most.
func ReadPolicies(file string) (text []byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if text, err = io.ReadAll(io.LimitReader(f, policy.MaxFile+1)); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return text, nil
}

// newPolicies starts with a set that was loaded from the file.
func newPolicies(file string, set *policy.Set, m *metrics, log *zap.Logger) *policies {
	p := &policies{file: file, metrics: m, log: log}
	p.current.Store(set)
	m.policyInForce(set)
	return p
}

// watch looks at the file until ctx ends. The shipped set has none.
func (p *policies) watch(ctx context.Context) {
	if p.file == "" {
		return
	}
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.look()
		}
	}
}

// look reads the file and, when it is the same as at the last look and has not been tried, tries to load it. What is wrong is
// told once per content.
func (p *policies) look() {
	text, err := ReadPolicies(p.file)
	mark := sha256.Sum256(text)
	if err != nil {
		mark = sha256.Sum256([]byte(err.Error()))
	}
	settled := mark == p.seen
	if p.seen = mark; !settled || mark == p.tried {
		return
	}
	first := p.tried == [sha256.Size]byte{}
	p.tried = mark
	var set *policy.Set
	if err == nil {
		set, err = ParsePolicies(text)
	}
	before := p.current.Load()
	switch {
	case err != nil:
		p.metrics.reloads.WithLabelValues(reloadRefused).Inc()
		p.log.Error("policy file refused, the policies in force stay", zap.String("file", p.file), zap.String("version", before.Version()), zap.Error(err))
	case set.Version() == before.Version() && first: // as it was at the start
	case set.Version() == before.Version():
		p.metrics.reloads.WithLabelValues(reloadSame).Inc()
	default:
		p.current.Store(set)
		p.metrics.reloads.WithLabelValues(reloadLoaded).Inc()
		p.metrics.policyInForce(set)
		p.log.Info("policies loaded", zap.String("file", p.file), zap.String("version", set.Version()), zap.String("before", before.Version()),
			zap.Int("policies", len(set.Policies())))
	}
}
