package graphsdk

import (
	"io"
	"net/http"
	"time"

	nethttplibrary "github.com/microsoft/kiota-http-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"
)

// patience is the longest pause that the SDK sits out by itself. Longer ones are returned, so that people see what the
// source waits for.
const patience = 20 * time.Second

func newTransport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // nobody replaces it
	t.ResponseHeaderTimeout = 100 * time.Second
	return t
}

// newHTTP returns an HTTP client with those of the SDK's middlewares that a reader needs: its telemetry headers and its
// retries. The SDK's own set would also follow redirects, and rewrites queries.
func newHTTP(transport http.RoundTripper) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: nethttplibrary.NewCustomTransportWithParentTransport(transport,
			core.NewGraphTelemetryHandler(&core.GraphClientOptions{}),
			nethttplibrary.NewRetryHandlerWithOptions(nethttplibrary.RetryHandlerOptions{MaxRetries: 3, DelaySeconds: 3, ShouldRetry: retries}),
		),
	}
}

// retries decides whether the SDK tries again after 429, 503 or 504. A 429 without Retry-After, which is what risks give,
// is for the caller, who knows how often it came.
func retries(_ time.Duration, _ int, _ *http.Request, res *http.Response) bool {
	after := res.Header.Get("Retry-After")
	if after == "" && res.StatusCode == http.StatusTooManyRequests || retryAfter(after, time.Now()) > patience {
		return false
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxError)) // the SDK forgets this answer, and would leak its connection
	_ = res.Body.Close()
	return true
}
