package ssf

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-io/countersign/internal/set"
)

// Delivery methods (SSF 1.0 §6.1).
const (
	MethodPush = "urn:ietf:rfc:8935"
	MethodPoll = "urn:ietf:rfc:8936"
)

// Status is whether a stream transmits (SSF 1.0 §8.1.2).
type Status string

// The statuses. A paused stream holds its events; a disabled one holds none.
const (
	Enabled  Status = "enabled"
	Paused   Status = "paused"
	Disabled Status = "disabled"
)

// Party is who changes a stream.
type Party string

// The parties: the stream's receiver, an operator, and the courier when a receiver is dead or does not use its stream.
const (
	ByReceiver Party = "receiver"
	ByOperator Party = "operator"
	ByCourier  Party = "courier"
)

// Default subjects of a stream: whether it gets events of subjects that nobody has added.
const (
	SubjectsAll  = "ALL"
	SubjectsNone = "NONE"
)

// Receiver is who calls: an OAuth client that has been authenticated, and what the operator lets it do.
type Receiver struct {
	// ID is the client id, Tenant whose events it may have.
	ID, Tenant string
	// Audience is what its streams have as `aud`.
	Audience []string
	// Scopes are those of its token.
	Scopes []string
	// Dialect and the two below are properties that its streams get.
	Dialect Dialect
	// Interop keeps countersign's own event type away from its streams.
	Interop bool
	// RevokeForStepUp sends session-revoked for a step-up to a stream that asked for nothing finer.
	RevokeForStepUp bool
	// SubjectFormat is how users are named, "" as the dialect does; SubjectIssuer the iss of iss_sub.
	SubjectFormat, SubjectIssuer string
	// MaxStreams is how many streams it may have.
	MaxStreams int
}

// Dialect names a way of writing SETs that some receivers want (package dialect).
type Dialect string

// The dialects. The empty one is SSF1.
const (
	DialectSSF1     Dialect = "ssf1"
	DialectGoogle   Dialect = "google"
	DialectOkta     Dialect = "okta"
	DialectAppleSSE Dialect = "apple-sse"
)

// SubjectFormat is how the dialect's receivers know users, where there is one way only; "" otherwise.
func (d Dialect) SubjectFormat() string {
	switch d {
	case DialectGoogle:
		return FormatEmail
	case DialectAppleSSE:
		return FormatIssSub
	default:
		return ""
	}
}

// Delivery is how a stream's SETs reach the receiver.
type Delivery struct {
	// Method is MethodPush or MethodPoll.
	Method string `json:"method"`
	// URL is the receiver's with push. With poll it is made of the stream's id and not kept.
	URL string `json:"endpoint_url,omitempty"`
	// Authorization goes with every push, verbatim. It is a secret: no answer holds it.
	Authorization string `json:"authorization_header,omitempty"`
}

// SubjectEntry is one subject that was added to a stream, or removed from it.
type SubjectEntry struct {
	Subject set.Subject `json:"subject"`
	// Removed is the second of its removal; 0 while it is added.
	Removed int64 `json:"removed,omitempty"`
}

// Stream is the configuration of one stream, as the log keeps it. Times are seconds since the Unix epoch.
type Stream struct {
	ID              string   `json:"stream_id"`
	Tenant          string   `json:"tenant"`
	Receiver        string   `json:"receiver"`
	Issuer          string   `json:"iss"`
	Audience        []string `json:"aud"`
	Dialect         Dialect  `json:"dialect,omitempty"`
	Interop         bool     `json:"interop,omitempty"`
	RevokeForStepUp bool     `json:"revoke_for_step_up,omitempty"`
	SubjectFormat   string   `json:"subject_format,omitempty"`
	SubjectIssuer   string   `json:"subject_issuer,omitempty"`
	Delivery        Delivery `json:"delivery"`
	// Requested is nil when the receiver named no events: then it gets all standard ones.
	Requested   []string `json:"events_requested,omitempty"`
	Description string   `json:"description,omitempty"`
	Status      Status   `json:"status"`
	Reason      string   `json:"reason,omitempty"`
	// StatusBy is who set the status last; "" when nobody has since the stream was made. What an operator has stopped, its
	// receiver does not start.
	StatusBy        Party          `json:"status_by,omitempty"`
	DefaultSubjects string         `json:"default_subjects"`
	Subjects        []SubjectEntry `json:"subjects,omitempty"`
	Created         int64          `json:"created"`
	// Used is when the receiver last named the stream, for its inactivity timeout. The registry keeps it: every one of its
	// methods that names a stream sets it.
	Used int64 `json:"used,omitempty"`
}

// PollRequest is the body of a poll (RFC 8936 §2.2).
type PollRequest struct {
	// MaxEvents is nil when absent (no limit but ours); 0 acknowledges only.
	MaxEvents         *int                `json:"maxEvents"`
	ReturnImmediately bool                `json:"returnImmediately"`
	Ack               []string            `json:"ack"`
	SetErrs           map[string]SetError `json:"setErrs"`
}

// SetError is why a receiver refuses a SET (RFC 8935 §2.4).
type SetError struct {
	Err         string `json:"err"`
	Description string `json:"description"`
}

// PollResponse is what a poll found (RFC 8936 §2.4): compact SETs by jti. MoreAvailable is written only when true.
type PollResponse struct {
	Sets          map[string]string `json:"sets"`
	MoreAvailable bool              `json:"moreAvailable,omitempty"`
}

// Registry keeps streams and what waits for them. Every method that changes something returns nil only when the change is
// durable. A stream of another receiver is ErrNotFound. All methods may return *ElsewhereError.
type Registry interface { //nolint:interfacebloat // one operation of the protocol each
	// Create keeps a new stream; it gives ID, Created and the status. ErrTooManyStreams when the receiver has its limit
	// (Config.Receiver tells it).
	Create(ctx context.Context, s Stream) (Stream, error)
	// Streams lists the receiver's streams, oldest first.
	Streams(ctx context.Context, r Receiver) ([]Stream, error)
	Stream(ctx context.Context, r Receiver, id string) (Stream, error)
	// Update applies change to a copy of the newest version of the stream; an error of change is returned and nothing is
	// kept. change leaves the arrays of that version alone, and may be called again.
	Update(ctx context.Context, r Receiver, id string, change func(*Stream) error) (Stream, error)
	Delete(ctx context.Context, r Receiver, id string) error
	// Verify queues a verification SET, ahead of what waits. state is nil without one. ErrDisabled; *TooManyError.
	Verify(ctx context.Context, r Receiver, id string, state *string) error
	// Poll takes acknowledgements in, then waits for SETs unless told not to, until ctx ends at the latest: that is no error.
	// MaxEvents is set, and within the limit. ErrNotPoll.
	Poll(ctx context.Context, r Receiver, id string, q PollRequest) (PollResponse, error)
}

// errHeld is for a receiver that wants to start what an operator has stopped.
var errHeld = errors.New("an operator of the transmitter has stopped the stream; only an operator starts it again")

// Errors of a Registry.
var (
	ErrNotFound       = errors.New("no such stream")
	ErrTooManyStreams = errors.New("the receiver has as many streams as it may")
	ErrDisabled       = errors.New("the stream is disabled")
	// ErrMoving asks to come again soon: another courier is taking the stream over.
	ErrMoving = errors.New("the stream is changing hands")
	// ErrNotPoll is for a poll of a stream with the other delivery method.
	ErrNotPoll = errors.New("the stream delivers by push")
)

// TooManyError asks to come again later.
type TooManyError struct{ After time.Duration }

func (e *TooManyError) Error() string {
	return fmt.Sprintf("too many requests, try again in %v", e.After)
}

// ElsewhereError says that another courier holds the stream; URL is its base.
type ElsewhereError struct{ URL string }

func (e *ElsewhereError) Error() string { return "the stream is held by another courier" }

// InvalidError says what is wrong with a request; it is answered with 400.
type InvalidError struct{ Problem string }

func (e *InvalidError) Error() string { return e.Problem }
