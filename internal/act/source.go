package act

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/outbound"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// request is what is asked of a source.
type request struct {
	method, address string
	body            []byte // JSON, nil for none
	id              string // the same for the same action on the same requirement
}

// source is where an action is done. It is safe for concurrent use.
type source interface {
	// request words the action. An error means that it can never be done.
	request(c *revocation.Claims) (request, error)
	// send asks for it, once.
	send(ctx context.Context, r request) error
	// check asks for a token and for something that may be read, and says what is missing; note is what it could not see.
	check(ctx context.Context) (note string, err error)
	// receipt is the app and the status of the receipt of what was done.
	receipt() (app string, status events.ReceiptStatus)
}

// newSource makes the source of an action. It reads the files of credentials, and asks nobody.
func newSource(cfg *Config, a *ActionConfig, client *http.Client) (source, error) {
	switch a.Kind {
	case HTTPRequest:
		return newHook(a, client)
	case OktaRevoke:
		for i := range cfg.Okta {
			if cfg.Okta[i].Name == a.Account {
				return newOkta(&cfg.Okta[i], client)
			}
		}
	default:
		for i := range cfg.Graph {
			if cfg.Graph[i].Name == a.Account {
				return newGraph(a.Kind, &cfg.Graph[i], client)
			}
		}
	}
	return nil, fmt.Errorf("account: %.60q is unknown", a.Account)
}

// fault is what kind of trouble an error is.
type fault string

const (
	// down passes by itself: no answer, too many requests, an error of theirs.
	down fault = "down"
	// denied needs a person: credentials, permissions, addresses.
	denied fault = "denied"
	// refused concerns this one request, and does not pass.
	refused fault = "refused"
)

// faultOf classifies the error of a request. missing is what an address that is not there means.
func faultOf(err error, missing fault) fault {
	if errors.Is(err, outbound.ErrForbidden) {
		return denied
	}
	if e, ok := errors.AsType[*upstream.TokenError](err); ok {
		if transient(e.Status) {
			return down
		}
		return denied
	}
	e, ok := errors.AsType[*upstream.Error](err)
	switch {
	case !ok:
		return denied // a file of credentials, for example
	case e.Status < 300 || transient(e.Status):
		return down
	case e.Status < 400, e.Status == http.StatusUnauthorized, e.Status == http.StatusForbidden:
		return denied
	case e.Status == http.StatusNotFound, e.Status == http.StatusGone:
		return missing
	}
	return refused
}

func transient(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status == http.StatusTooEarly
}

// answered reports whether an error is an answer to the request itself.
func answered(err error) bool {
	e, ok := errors.AsType[*upstream.Error](err)
	return ok && e.Status != 0 && e.Status != http.StatusTooManyRequests && e.Status != http.StatusUnauthorized
}

// retryAfter is how long the source asked to be left alone, at most an hour; 0 when it did not say.
func retryAfter(err error) time.Duration {
	var e interface{ RetryAfter() time.Duration }
	if !errors.As(err, &e) {
		return 0
	}
	return min(e.RetryAfter(), time.Hour)
}
