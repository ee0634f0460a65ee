package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

// maxReceipt is the most bytes of one receipt: its texts, every character escaped.
const maxReceipt = 16 << 10

// takeReceipts takes the receipts of a request in.
func (s *Server) takeReceipts(w http.ResponseWriter, r *http.Request, t *token) (Result, error) {
	if !t.cfg.allows(FormatReceipt) {
		return Result{}, refuse(http.StatusForbidden, "this token may not send format %q", FormatReceipt)
	}
	layout, enveloped, err := layoutOf(r.Header.Get("Content-Type"))
	if err != nil {
		return Result{}, err
	}
	if enveloped || r.Header.Get(cloudEventPrefix+"specversion") != "" {
		return Result{}, refuse(http.StatusUnsupportedMediaType, "receipts are not taken as CloudEvents")
	}
	body, done, err := s.body(w, r)
	if err != nil {
		return Result{}, err
	}
	defer done()
	in := &receiptIntake{p: s.pipeline, source: t.cfg.Source, patience: s.cfg.PublishTimeout}
	if t.cfg.Tenants[0] != anyTenant {
		in.tenants = canonical(t.cfg.Tenants)
	}
	// As for events: what came whole is published, also when the client is gone.
	result, err := s.intake(context.WithoutCancel(r.Context()), in, maxReceipt, layout, body)
	if s.deps.Report != nil {
		s.deps.Report(t.cfg.Source, FormatReceipt, result, err)
	}
	return result, err
}

// receiptIntake takes the receipts of one request in, in order. A repeat has the id of the first, so nothing needs to be
// remembered of them.
type receiptIntake struct {
	p       *Pipeline
	source  string
	tenants []string // empty means all
	// patience bounds the time in which the log must acknowledge a chunk.
	patience time.Duration

	result            Result
	records           int
	receipts, letters []stream.Record
}

var _ taker = (*receiptIntake)(nil)

// Add takes one receipt.
func (i *receiptIntake) Add(value []byte, line int) {
	i.records++
	r, err := events.DecodeReceipt(value)
	if err != nil {
		i.reject(reasonUndecodable, value, len(value), line, err)
		return
	}
	if refusal := i.check(r); refusal != nil {
		i.reject(refusal.reason, value, len(value), line, refusal.err)
		return
	}
	i.receipts = append(i.receipts, stream.Record{Key: []byte(events.Key(r.Tenant, r.User)), Value: events.Encode(r)})
}

// check gives a receipt what it may leave out, and its id, and says what is wrong with it.
func (i *receiptIntake) check(r *events.Receipt) *refusal {
	if r.Tenant == "" && len(i.tenants) == 1 {
		r.Tenant = i.tenants[0]
	}
	if r.App == "" {
		r.App = i.source
	}
	r.Tenant, r.User = events.Canonical(r.Tenant), events.Canonical(r.User)
	if err := r.Validate(); err != nil {
		return &refusal{reasonInvalid, err}
	}
	if len(i.tenants) > 0 && !slices.Contains(i.tenants, r.Tenant) {
		return &refusal{reasonTenant, fmt.Errorf("tenant: is %q, for which this source may not write", r.Tenant)}
	}
	if err := i.p.timely(r.Time, events.MillisOf(i.p.now())); err != nil {
		return &refusal{reasonTime, err}
	}
	r.ID = events.ReceiptID(r)
	return nil
}

// Refuse takes a value that is no receipt, of which head is the beginning and size the full length.
func (i *receiptIntake) Refuse(head []byte, size, line int, err error) {
	i.records++
	reason := reasonUndecodable
	if errors.Is(err, errLarger) {
		reason = reasonTooLarge
	}
	i.reject(reason, head, size, line, err)
}

func (i *receiptIntake) reject(reason string, raw []byte, size, line int, err error) {
	i.p.metrics.rejected[reason].Inc()
	i.result.Rejected++
	text := cutReason(strings.ReplaceAll(err.Error(), "\n", "; "))
	if len(i.result.Rejections) < MaxRejections {
		i.result.Rejections = append(i.result.Rejections, Rejection{Line: line, Error: text})
	}
	letter := &events.DeadLetter{
		ID: events.ID("dead_letter", i.source, string(raw)), Time: events.MillisOf(i.p.now()), Source: i.source,
		Stage: "ingest", Reason: text, Line: line, Bytes: raw, Size: size, Format: FormatReceipt,
	}
	i.letters = append(i.letters, stream.Record{Key: []byte(i.source), Value: events.Encode(letter)})
}

// Records is how many there were so far.
func (i *receiptIntake) Records() int { return i.records }

// Full reports whether it is time to Flush.
func (i *receiptIntake) Full() bool { return len(i.receipts)+len(i.letters) >= chunkEvents }

// Flush publishes what was taken and waits until it is acknowledged.
func (i *receiptIntake) Flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, i.patience)
	defer cancel()
	patient := i.result.Accepted > 0
	if len(i.receipts) > 0 {
		if err := i.p.publish(ctx, i.p.publisher, events.TopicReceipts, i.receipts, patient); err != nil {
			return err
		}
		i.result.Accepted += len(i.receipts)
		i.receipts, patient = nil, true
	}
	if len(i.letters) > 0 {
		if err := i.p.publish(ctx, i.p.publisher, events.TopicDeadLetter, i.letters, patient); err != nil {
			return err
		}
		i.letters = nil
	}
	return nil
}

// Close publishes what is left. The result holds what was acknowledged, also when there is an error.
func (i *receiptIntake) Close(ctx context.Context) (Result, error) {
	err := i.Flush(ctx)
	return i.Abandon(), err
}

// Abandon drops what is not yet published.
func (i *receiptIntake) Abandon() Result {
	i.p.metrics.count(FormatReceipt, i.result)
	return i.result
}
