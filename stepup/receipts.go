package stepup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// ReceiptConfig configures a [ReceiptSender]. The zero value of a field means its default.
type ReceiptConfig struct {
	// URL is where countersign ingest takes receipts, such as https://countersign.example.com/v1/receipts. There is no
	// default. It must be https unless it leads to this very machine or PlainHTTP is set.
	URL       string
	PlainHTTP bool
	// Token returns the bearer token, for every request anew. TokenFile is the file that holds it, read for every request
	// anew, so that it may change. One of the two is needed.
	Token     func() (string, error)
	TokenFile string
	// App stands in for that of a receipt that names none.
	App string

	// Queue bounds the receipts that wait to be sent; past it the oldest are dropped and counted. Default 8192. Batch
	// bounds those of one request. Default 500.
	Queue, Batch int
	// FlushEvery is how long a receipt waits for others. Default 1 second.
	FlushEvery time.Duration
	// HTTP sends the requests; its redirects are not followed. Every request is given 10 seconds in any case.
	HTTP *http.Client
	// OnError is told, by the goroutine of Run, what went wrong with sending; nil is fine.
	OnError func(error)
}

// ReceiptSender reports to countersign over HTTP what became of requirements, so that the time at which they were enforced
// is known, and not only when they were sent. It is for applications that do not write to Kafka. It is safe for concurrent
// use.
type ReceiptSender struct {
	*sender[Receipt]
	recorded atomic.Uint64
}

var _ Receipts = (*ReceiptSender)(nil)

// ReceiptStats are numbers for an application's metrics, since the start.
type ReceiptStats struct {
	// Recorded counts receipts, Sent those that were acknowledged.
	Recorded, Sent uint64
	// Dropped counts receipts that were lost, because the queue was full or the end came before they could be sent.
	Dropped uint64
	// Refused counts receipts that countersign does not take.
	Refused uint64
	// Trouble counts requests that did not succeed; their receipts are sent again.
	Trouble uint64
}

// NewReceiptSender checks cfg and returns a sender that sends nothing before Run.
func NewReceiptSender(cfg ReceiptConfig) (*ReceiptSender, error) {
	var problems []error
	bad := func(text string) { problems = append(problems, errors.New(text)) }
	s, err := newSender(sending{
		what: "receipts", url: cfg.URL, plain: cfg.PlainHTTP, token: cfg.Token, tokenFile: cfg.TokenFile, queue: cfg.Queue,
		batch: cfg.Batch, flushEvery: cfg.FlushEvery, http: cfg.HTTP, onError: cfg.OnError,
	}, func(batch []Receipt) []byte {
		wire := make([]wireReceipt, len(batch))
		for i := range batch {
			wire[i] = batch[i].wire(cfg.App)
		}
		body, _ := json.Marshal(wire) // texts cannot fail
		return body
	})
	if err != nil {
		problems = append(problems, err)
	}
	if len(cfg.App) > maxIdentity {
		bad("App: too long")
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("stepup: %w", errors.Join(problems...))
	}
	return &ReceiptSender{sender: s}, nil
}

// Record queues a receipt. It never blocks.
func (s *ReceiptSender) Record(r Receipt) {
	s.recorded.Add(1)
	s.add(r, false)
}

// Run sends receipts until ctx ends, and then what is left, for at most two seconds; what could not be sent by then counts
// as dropped. While countersign is away they are sent again, later and later; a repeat says the same and counts once. It
// returns nil, or at once an error when it runs already.
func (s *ReceiptSender) Run(ctx context.Context) error { return s.run(ctx) }

// Stats returns the numbers since the start.
func (s *ReceiptSender) Stats() ReceiptStats {
	return ReceiptStats{
		Recorded: s.recorded.Load(), Sent: s.sent.Load(), Dropped: s.dropped.Load(), Refused: s.refused.Load(), Trouble: s.trouble.Load(),
	}
}

// wireReceipt is one receipt as countersign ingest takes it.
type wireReceipt struct {
	Time        string        `json:"time"`
	Tenant      string        `json:"tenant,omitempty"`
	User        string        `json:"user"`
	Session     string        `json:"session,omitempty"`
	Requirement string        `json:"requirement"`
	JTI         string        `json:"jti,omitempty"`
	App         string        `json:"app,omitempty"`
	Status      ReceiptStatus `json:"status"`
}

func (r *Receipt) wire(app string) wireReceipt {
	if r.App != "" {
		app = r.App
	}
	return wireReceipt{
		Time: r.Time.UTC().Format(wireTime), Tenant: r.Tenant, User: r.User, Session: r.Session,
		Requirement: r.Requirement, JTI: r.JTI, App: app, Status: r.Status,
	}
}
