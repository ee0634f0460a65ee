package stepupssf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Delivery methods of a stream (SSF 1.0 §6.1).
const (
	MethodPush = "urn:ietf:rfc:8935"
	MethodPoll = "urn:ietf:rfc:8936"
)

// Stream is a stream's configuration as the transmitter tells it (SSF 1.0 §8.1.1). The Authorization header that some
// transmitters repeat there is left out.
type Stream struct {
	ID              string         `json:"stream_id"`
	Issuer          string         `json:"iss"`
	Audience        Audience       `json:"aud"`
	EventsSupported []string       `json:"events_supported"`
	EventsRequested []string       `json:"events_requested"`
	EventsDelivered []string       `json:"events_delivered"`
	Delivery        StreamDelivery `json:"delivery"`
	// MinVerificationInterval and InactivityTimeout are in seconds; 0 is not said.
	MinVerificationInterval int    `json:"min_verification_interval"`
	InactivityTimeout       int    `json:"inactivity_timeout"`
	Description             string `json:"description"`
}

// StreamRequest holds what a receiver says of its stream. In an update, what is left out stays; when it replaces, it goes.
type StreamRequest struct {
	// StreamID is the transmitter's name for it; not in a create.
	StreamID        string          `json:"stream_id,omitempty"`
	Delivery        *StreamDelivery `json:"delivery,omitempty"`
	EventsRequested []string        `json:"events_requested,omitempty"`
	Description     string          `json:"description,omitempty"`
}

// StreamDelivery is how a stream's SETs are delivered.
type StreamDelivery struct {
	Method      string `json:"method"`
	EndpointURL string `json:"endpoint_url,omitempty"`
	// Authorization is the value of the header of every push. It is a secret.
	Authorization string `json:"authorization_header,omitempty"`
}

// StreamStatus is whether a stream transmits (SSF 1.0 §8.1.2).
type StreamStatus struct {
	StreamID string `json:"stream_id"`
	// Status is enabled, paused or disabled.
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// The statuses of a stream.
const (
	StatusEnabled  = "enabled"
	StatusPaused   = "paused"
	StatusDisabled = "disabled"
)

// Audience is the value of `aud`: one text, or a list.
type Audience []string

// UnmarshalJSON reads either form.
func (a *Audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = Audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// Client manages streams at the transmitter, with the receiver's own token. A [Receiver] needs no help with its stream;
// this is for operating it. It is safe for concurrent use.
type Client struct {
	cfg    *Config
	party  *party
	bearer bearer
}

// Bounds of requests to the transmitter.
const (
	askTimeout = 10 * time.Second
	maxAnswer  = 1 << 20
	maxRetry   = 5 * time.Minute
)

// AnswerError is an answer of the transmitter that is no success.
type AnswerError struct {
	// Status is its HTTP status; RetryAfter is how long it wants to be left alone, 0 when it does not say.
	Status     int
	RetryAfter time.Duration
	// Detail is the beginning of what it says of itself.
	Detail string
}

// Error has the status and, quoted, the detail.
func (e *AnswerError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("the transmitter answered %d", e.Status)
	}
	return fmt.Sprintf("the transmitter answered %d: %.200q", e.Status, e.Detail)
}

// status is the HTTP status that err is about; 0 for none.
func status(err error) int {
	if e, ok := errors.AsType[*AnswerError](err); ok {
		return e.Status
	}
	return 0
}

// ErrNoEndpoint is returned when the transmitter's metadata name no address for what was asked.
var ErrNoEndpoint = errors.New("the transmitter has no such endpoint")

// Metadata returns what the transmitter says of itself.
func (c *Client) Metadata(ctx context.Context) (Metadata, error) {
	p, err := c.party.published(ctx)
	if err != nil {
		return Metadata{}, err
	}
	return p.metadata, nil
}

// Create makes a stream.
func (c *Client) Create(ctx context.Context, r StreamRequest) (Stream, error) {
	return c.stream(ctx, "creating the stream", http.MethodPost, "", r)
}

// Read returns one stream.
func (c *Client) Read(ctx context.Context, id string) (Stream, error) {
	return c.stream(ctx, "reading the stream", http.MethodGet, id, nil)
}

// List returns the receiver's streams.
func (c *Client) List(ctx context.Context) ([]Stream, error) {
	var raw json.RawMessage
	if err := c.manage(ctx, "listing streams", http.MethodGet, configuration, "", nil, &raw); err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, nil
	}
	var streams []Stream
	raw = bytes.TrimSpace(raw)
	if len(raw) > 0 && raw[0] == '{' { // as some transmitters of one stream answer
		raw = json.RawMessage("[" + string(raw) + "]")
	}
	if err := json.Unmarshal(raw, &streams); err != nil {
		return nil, fmt.Errorf("listing streams: %w", err)
	}
	for i := range streams {
		streams[i].Delivery.Authorization = ""
	}
	return streams, nil
}

// Update changes what r names (PATCH).
func (c *Client) Update(ctx context.Context, r StreamRequest) (Stream, error) {
	return c.change(ctx, "updating the stream", http.MethodPatch, r)
}

// Replace sets everything that a receiver may say (PUT).
func (c *Client) Replace(ctx context.Context, r StreamRequest) (Stream, error) {
	return c.change(ctx, "replacing the stream", http.MethodPut, r)
}

// change sends an update. A transmitter that has not decided yet answers 202, perhaps without the stream.
func (c *Client) change(ctx context.Context, doing, method string, r StreamRequest) (Stream, error) {
	s, err := c.stream(ctx, doing, method, "", r)
	if errors.Is(err, errNoStream) {
		return c.Read(ctx, r.StreamID)
	}
	return s, err
}

var errNoStream = errors.New("the answer has no stream_id")

// Delete ends a stream. What waits in it is lost.
func (c *Client) Delete(ctx context.Context, id string) error {
	return c.manage(ctx, "deleting the stream", http.MethodDelete, configuration, id, nil, nil)
}

// Status returns whether a stream transmits.
func (c *Client) Status(ctx context.Context, id string) (StreamStatus, error) {
	var s StreamStatus
	err := c.manage(ctx, "reading the stream's status", http.MethodGet, statusOf, id, nil, &s)
	return s, err
}

// SetStatus asks for another status.
func (c *Client) SetStatus(ctx context.Context, s StreamStatus) (StreamStatus, error) {
	var got StreamStatus
	err := c.manage(ctx, "setting the stream's status", http.MethodPost, statusOf, "", s, &got)
	return got, err
}

// Verify asks for a verification SET with the given state.
func (c *Client) Verify(ctx context.Context, id, state string) error {
	body := struct {
		StreamID string `json:"stream_id"`
		State    string `json:"state,omitempty"`
	}{id, state}
	return c.manage(ctx, "asking for verification", http.MethodPost, verification, "", body, nil)
}

// endpoint picks one from the metadata.
type endpoint func(*Metadata) string

func configuration(m *Metadata) string { return m.ConfigurationEndpoint }
func statusOf(m *Metadata) string      { return m.StatusEndpoint }
func verification(m *Metadata) string  { return m.VerificationEndpoint }

func (c *Client) stream(ctx context.Context, doing, method, id string, body any) (Stream, error) {
	var s Stream
	err := c.manage(ctx, doing, method, configuration, id, body, &s)
	s.Delivery.Authorization = ""
	switch {
	case err != nil:
		return Stream{}, err
	case s.ID == "":
		return Stream{}, fmt.Errorf("%s: %w", doing, errNoStream)
	case s.Issuer != c.cfg.Issuer:
		return Stream{}, fmt.Errorf("%s: it is one of issuer %.200q, must be %q", doing, s.Issuer, c.cfg.Issuer)
	}
	return s, nil
}

// manage sends one request to a management endpoint.
func (c *Client) manage(ctx context.Context, doing, method string, at endpoint, id string, body, into any) error {
	m, err := c.Metadata(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	address := at(&m)
	if address == "" {
		return fmt.Errorf("%s: %w", doing, ErrNoEndpoint)
	}
	if id != "" {
		address, err = withQuery(address, "stream_id", id)
		if err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer, err := c.send(ctx, method, address, body, nil, maxAnswer)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if into == nil || len(bytes.TrimSpace(answer)) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s: reading the answer: %w", doing, err)
	}
	return nil
}

func withQuery(address, name, value string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// send sends a request with the token, once more with a new token when the first is refused.
func (c *Client) send(ctx context.Context, method, address string, body any, header http.Header, limit int64) ([]byte, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	for renew := false; ; renew = true {
		token, err := c.bearer(ctx, renew)
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		maps.Copy(req.Header, header)
		req.Header.Set("Accept", "application/json")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		answer, err := exchange(c.cfg.HTTP, req, limit)
		if status(err) != http.StatusUnauthorized || renew {
			return answer, err
		}
	}
}

// exchange sends a request and reads the whole answer.
func exchange(client *http.Client, req *http.Request, limit int64) ([]byte, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case resp.StatusCode/100 != 2:
		return nil, newAnswerError(resp, body)
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case int64(len(body)) > limit:
		return nil, fmt.Errorf("the answer is larger than %d bytes", limit)
	}
	return body, nil
}

func newAnswerError(resp *http.Response, body []byte) *AnswerError {
	e := &AnswerError{Status: resp.StatusCode}
	var says struct {
		Err         string `json:"err"`
		Error       string `json:"error"`
		Description string `json:"description"`
		Detail      string `json:"detail"`
	}
	if json.Unmarshal(body, &says) == nil {
		for _, text := range []string{says.Err, says.Error, says.Description, says.Detail} {
			if text != "" {
				e.Detail = strings.TrimPrefix(e.Detail+": "+text[:min(len(text), 200)], ": ")
			}
		}
	}
	if after := resp.Header.Get("Retry-After"); after != "" {
		if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
			e.RetryAfter = time.Duration(seconds) * time.Second
		} else if at, err := http.ParseTime(after); err == nil {
			e.RetryAfter = max(time.Until(at), 0)
		}
		e.RetryAfter = min(e.RetryAfter, maxRetry)
	}
	return e
}
