package courier

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/ssf"
)

// The records of the topic of streams, each with the rank of its writer in a header:
//
//	stream/<id>        the configuration and status of a stream
//	position/<id>      how far it is: what it has delivered, what waits, its control events
//	claim/<partition>  who holds the streams of a partition
//
// The first two lie in the partition of the stream's id.
const (
	prefixStream   = "stream/"
	prefixPosition = "position/"
	prefixClaim    = "claim/"
)

// stateVersion is the version of all three.
const stateVersion = 1

// Bounds of the records, in bytes: a batch on the log holds several. A position holds at most blockedWindows windows of
// offsets, 21 bytes each, and maxControlBytes of control events: half of what is read.
const (
	maxConfigBytes   = 512 << 10
	maxPositionBytes = 640 << 10
	maxControlBytes  = 128 << 10
	maxReasonBytes   = 500
	maxControls      = 64
	maxWindow        = 2000
)

// configRecord is the configuration of one stream. Its secret is sealed.
type configRecord struct {
	Version int        `json:"v"`
	Stream  ssf.Stream `json:"stream"`
	// Sealed is delivery.authorization_header under the key of the installation.
	Sealed []byte `json:"sealed,omitempty"`
}

// position is how far a stream is in one partition of the revocations.
type position struct {
	// Next is the first offset that was not looked at.
	Next int64 `json:"next"`
	// Pending are the offsets below Next that wait to be delivered, ascending.
	Pending []int64 `json:"pending,omitempty"`
}

// progress is how far a stream is. Times are milliseconds since the Unix epoch, 0 for never.
type progress struct {
	Version    int        `json:"v"`
	Partitions []position `json:"partitions,omitempty"`
	Control    []control  `json:"control,omitempty"`
	// FailingSince is when the first delivery since the last success failed.
	FailingSince int64  `json:"failing_since,omitempty"`
	Failures     int    `json:"failures,omitempty"`
	LastSuccess  int64  `json:"last_success,omitempty"`
	LastError    string `json:"last_error,omitempty"`
	// Used is ssf.Stream.Used, which changes more often than the configuration. In seconds.
	Used int64 `json:"used,omitempty"`
}

// controlKind is what a control event is about.
type controlKind string

const (
	verification  controlKind = "verification"
	streamUpdated controlKind = "stream-updated"
	synthetic     controlKind = "synthetic"
)

// control is an event that comes from no decision.
type control struct {
	JTI  string      `json:"jti"`
	Kind controlKind `json:"kind"`
	// State is what the receiver asked to be told again; nil when it asked for nothing.
	State *string `json:"state,omitempty"`
	// Status and Reason are those of a stream-updated, Type is the event type of a synthetic event.
	Status ssf.Status `json:"status,omitempty"`
	Reason string     `json:"reason,omitempty"`
	Type   string     `json:"type,omitempty"`
	// At is when it came about, in seconds.
	At int64 `json:"at"`
}

// claim says who holds the streams of a partition. The rank of its record holds the epoch.
type claim struct {
	Version int `json:"v"`
	// Nonce is this one attempt to claim: of two with one epoch, also of one process, only that which was first counts. URL is
	// the address by which peers reach who claims.
	Nonce string `json:"nonce"`
	URL   string `json:"url"`
	At    int64  `json:"at"`
	// MAC shows that a courier of this installation wrote it (Secrets.sign): requests are passed on with the tokens of who
	// asks, so not to an address that somebody else has put on the log.
	MAC []byte `json:"mac,omitempty"`

	genuine bool // MAC is good, or the address is our own
}

// peer is the address of the courier that holds a partition, when that is another than self; "" while that is not known.
func (c *claim) peer(self string) string {
	if !c.genuine || c.URL == self {
		return ""
	}
	return c.URL
}

// rank orders the records of one key: by the writer's claim, then by its own count.
type rank struct{ epoch, revision uint64 }

func (r rank) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, 16), r.epoch), r.revision)
}

func parseRank(b []byte) (rank, error) {
	if len(b) != 16 {
		return rank{}, fmt.Errorf("rank has %d bytes, must have 16", len(b))
	}
	return rank{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, nil
}

func (r rank) below(o rank) bool {
	return r.epoch < o.epoch || r.epoch == o.epoch && r.revision < o.revision
}

var errNewer = errors.New("a newer countersign wrote it: update this one")

func checkVersion(v int) error {
	switch {
	case v > stateVersion:
		return errNewer
	case v < 1:
		return errors.New("it has no version")
	}
	return nil
}

// errSecret means that the secret of a stream cannot be opened: it cannot push until that is mended.
var errSecret = errors.New("the secret of the stream cannot be opened")

// encodeConfig writes the configuration of a stream, its secret sealed. sealed is what goes there when it has none.
func encodeConfig(s ssf.Stream, sealed []byte, secrets *Secrets) ([]byte, error) {
	r := configRecord{Version: stateVersion, Stream: s, Sealed: sealed}
	if secret := s.Delivery.Authorization; secret != "" {
		sealed, err := secrets.seal(s.ID, secret)
		if err != nil {
			return nil, err
		}
		r.Sealed, r.Stream.Delivery.Authorization = sealed, ""
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding stream: %w", err)
	}
	if len(b) > maxConfigBytes {
		return nil, &ssf.InvalidError{Problem: fmt.Sprintf("the stream's configuration with its subjects takes %d bytes, at most %d are kept", len(b), maxConfigBytes)}
	}
	return b, nil
}

// decodeConfig reads what encodeConfig writes. A secret that cannot be opened is an errSecret beside the stream and what is
// sealed.
func decodeConfig(id string, b []byte, secrets *Secrets) (s *ssf.Stream, sealed []byte, err error) {
	if len(b) > maxConfigBytes {
		return nil, nil, fmt.Errorf("stream has %d bytes, at most %d are read", len(b), maxConfigBytes)
	}
	var r configRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, nil, fmt.Errorf("reading stream: %w", err)
	}
	if err := checkVersion(r.Version); err != nil {
		return nil, nil, fmt.Errorf("reading stream: %w", err)
	}
	s = &r.Stream
	if s.ID != id {
		return nil, nil, fmt.Errorf("reading stream: it is stream %.80q", s.ID)
	}
	switch s.Status {
	case ssf.Enabled, ssf.Paused, ssf.Disabled:
	default:
		return nil, nil, fmt.Errorf("reading stream: its status is %.40q", s.Status)
	}
	if s.Delivery.Method != ssf.MethodPush && s.Delivery.Method != ssf.MethodPoll {
		return nil, nil, fmt.Errorf("reading stream: its delivery method is %.80q", s.Delivery.Method)
	}
	s.Delivery.Authorization = ""
	if len(r.Sealed) > 0 {
		secret, err := secrets.open(id, r.Sealed)
		if err != nil {
			return s, r.Sealed, fmt.Errorf("%w: %w", errSecret, err)
		}
		s.Delivery.Authorization = secret
	}
	return s, nil, nil
}

func encodeProgress(p *progress) []byte {
	p.Version = stateVersion
	return plainJSON(p)
}

// plainJSON encodes without the escapes for HTML, which make texts six times as long. v has numbers and texts only.
func plainJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("courier: encoding %T: %v", v, err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// size is what the control event takes in a position, in bytes.
func (c *control) size() int { return len(plainJSON(c)) + 1 }

// decodeProgress reads a position for a log of so many partitions. One of another count is an error: keys have moved.
func decodeProgress(b []byte, partitions int) (*progress, error) {
	if len(b) > maxPositionBytes {
		return nil, fmt.Errorf("position has %d bytes, at most %d are read", len(b), maxPositionBytes)
	}
	p := new(progress)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("reading position: %w", err)
	}
	if err := checkVersion(p.Version); err != nil {
		return nil, fmt.Errorf("reading position: %w", err)
	}
	if n := len(p.Partitions); n != 0 && n != partitions {
		return nil, fmt.Errorf("reading position: it is in %d partitions, there are %d", n, partitions)
	}
	for i, at := range p.Partitions {
		if at.Next < 0 || !slices.IsSorted(at.Pending) || len(at.Pending) > 0 && (at.Pending[0] < 0 || at.Pending[len(at.Pending)-1] >= at.Next) {
			return nil, fmt.Errorf("reading position: partition %d makes no sense", i)
		}
	}
	if len(p.Control) > 2*maxControls {
		return nil, fmt.Errorf("reading position: %d control events", len(p.Control))
	}
	for _, c := range p.Control {
		if c.JTI == "" || c.Kind != verification && c.Kind != streamUpdated && c.Kind != synthetic {
			return nil, fmt.Errorf("reading position: a control event of kind %.40q", c.Kind)
		}
	}
	return p, nil
}

func encodeClaim(c claim) []byte {
	c.Version = stateVersion
	return plainJSON(c)
}

func decodeClaim(b []byte) (claim, error) {
	var c claim
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("reading claim: %w", err)
	}
	return c, checkVersion(c.Version)
}

func claimKey(partition int) string { return prefixClaim + strconv.Itoa(partition) }

// validID reports whether a string can be the id of one of our streams; others are not looked for.
func validID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~") == ""
}

// clip cuts a text for people to size.
func clip(s string) string {
	if len(s) > maxReasonBytes {
		s = s[:maxReasonBytes]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
