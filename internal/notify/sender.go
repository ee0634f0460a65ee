package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/outbound"
	"github.com/countersign-io/countersign/internal/webhook"
)

// sender sends to one target. It returns nil when the target has the message, a [*rejection] that is final when it will never
// take it, and any other error when the same message should be sent again. It does not name secrets in errors.
type sender interface {
	send(ctx context.Context, m *Message) error
}

// rejection is a target that did not take a message.
type rejection struct {
	reason string
	// final tells that this message will never be taken; after is the pause that the target asked for, 0 for none.
	final bool
	after time.Duration
}

func (r *rejection) Error() string { return r.reason }

// secrets are read from files each time, so that they can be replaced.
const maxSecretFile = 8 << 10

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if text == "" || len(b) > maxSecretFile || strings.ContainsAny(text, "\r\n") {
		return "", fmt.Errorf("%s must hold one line of at most %d bytes", path, maxSecretFile)
	}
	return text, nil
}

// newSender makes the sender of a target, and the dialect that its texts are escaped in. It reads its files once, to see that
// they are there and right, and connects nothing.
func newSender(t *Target, client *http.Client, guard *outbound.Guard) (sender, escape, error) {
	switch t.Type {
	case TypeAlertmanager:
		if t.TokenFile != "" {
			if _, err := readSecret(t.TokenFile); err != nil {
				return nil, nil, fmt.Errorf("token_file: %w", err)
			}
		}
		return &alertmanager{client: client, base: t.URL, tokenFile: t.TokenFile}, plain, nil
	case TypeWebhook:
		if _, err := webhook.ReadSecrets(t.SecretFile); err != nil {
			return nil, nil, fmt.Errorf("secret_file: %w", err)
		}
		return &hook{client: client, url: t.URL, secretFile: t.SecretFile}, plain, nil
	case TypeSplunk:
		if _, err := readSecret(t.TokenFile); err != nil {
			return nil, nil, fmt.Errorf("token_file: %w", err)
		}
		return &splunk{client: client, base: t.URL, tokenFile: t.TokenFile}, plain, nil
	case TypeTeams:
		s := &teams{client: client, urlFile: t.URLFile, guard: guard}
		if _, err := s.address(); err != nil {
			return nil, nil, fmt.Errorf("url_file: %w", err)
		}
		return s, markdown, nil
	case TypeSyslog:
		s, err := newSyslog(t.URL)
		return s, plain, err
	case TypeShoutrrr:
		s := &shout{urlFile: t.URLFile, client: client}
		dialect, err := s.check()
		if err != nil {
			return nil, nil, fmt.Errorf("url_file: %w", err)
		}
		return s, dialect, nil
	}
	return nil, nil, fmt.Errorf("type: is %.40q, must be one of %s", t.Type, strings.Join(Types, ", "))
}

// post sends a body and looks at the status. Redirects are not followed: they are answers that are not taken for an
// acceptance.
func post(ctx context.Context, client *http.Client, address string, body []byte, header http.Header) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return &rejection{reason: "the address is no URL"} // the error would quote it
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "countersign")
	resp, err := client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the address, which may be a secret
		}
		return fmt.Errorf("calling: %w", allowing(err))
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	return judge(resp.StatusCode, resp.Header.Get("Retry-After"), time.Now())
}

// allowing adds to an error about an address that may not be called which setting would allow it.
func allowing(err error) error {
	switch {
	case errors.Is(err, outbound.ErrPlain):
		return fmt.Errorf("%w (notify.outbound.plain_http allows it)", err)
	case errors.Is(err, outbound.ErrPrivate):
		return fmt.Errorf("%w (notify.outbound.allow_networks)", err)
	}
	return err
}

// maxAfter is the longest pause that a target may ask for.
const maxAfter = time.Hour

// judge says what a status means: 400, 413 and 422 are about the message and final, 408, 425, 429 and 5xx pass by themselves,
// all else a person has to mend.
func judge(status int, retryAfter string, now time.Time) error {
	if status >= 200 && status < 300 {
		return nil
	}
	r := &rejection{reason: fmt.Sprintf("answered %d", status)}
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		r.final = true
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if seconds, err := strconv.Atoi(retryAfter); err == nil && seconds > 0 {
			r.after = min(time.Duration(min(seconds, int(maxAfter/time.Second)))*time.Second, maxAfter)
		} else if at, err := http.ParseTime(retryAfter); err == nil && at.After(now) {
			r.after = min(at.Sub(now), maxAfter)
		}
	}
	return r
}

// encode writes JSON of values that always can be.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("notify: encoding a message: %v", err))
	}
	return b
}
