// Package graphsdk is the way to Microsoft Graph through its SDK: azidentity's credentials, the SDK's authentication
// (with continuous access evaluation) and its retries. It implements what package graph needs to ask for pages, and is the
// only importer of the SDK.
//
// It stays with the SDK's core, its errors and the raw body of answers. The SDK's client and models would add nothing,
// since records are decoded by our own structs, and minutes and gigabytes to every build.
//
// What the SDK leaves open is closed here: bodies are bounded, redirects are not followed, no host but the configured one
// is asked, and a panic of the SDK's over a malformed answer is an error.
package graphsdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	jsonserialization "github.com/microsoft/kiota-serialization-json-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go-core/authentication"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"github.com/countersign-io/countersign/internal/source/entra/graph"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

const (
	// maxError bounds what is read of an answer that is no page, in bytes.
	maxError = 64 << 10
	// timeout bounds a request with its retries.
	timeout = 5 * time.Minute
)

// client asks Graph. It is safe for concurrent use.
type client struct {
	base       *url.URL
	adapter    *core.GraphRequestAdapterBase
	credential *renewable
	maxBody    int64
}

var _ graph.Getter = (*client)(nil)

// New returns the way to Graph for a configuration. It reads the credential's files and asks nobody.
func New(cfg graph.Config) (graph.Getter, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	credential, err := newRenewable(func() (credential, error) { return newCredential(cfg, nil) })
	if err != nil {
		return nil, err
	}
	address := cfg.BaseURL
	if address == "" {
		address = graph.DefaultBaseURL
	}
	return newClient(address, credential, newTransport(), upstream.MaxBody)
}

func newClient(address string, credential *renewable, transport http.RoundTripper, maxBody int64) (*client, error) {
	base, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("reading base_url: %w", err)
	}
	auth, err := authentication.NewAzureIdentityAuthenticationProviderWithScopesAndValidHosts(credential, nil, []string{base.Hostname()})
	if err != nil {
		return nil, fmt.Errorf("preparing authentication: %w", err)
	}
	adapter, err := core.NewGraphRequestAdapterBaseWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		auth, core.GraphClientOptions{}, nil, nil, newHTTP(transport))
	if err != nil {
		return nil, fmt.Errorf("preparing requests: %w", err)
	}
	return &client{base: base, adapter: adapter, credential: credential, maxBody: maxBody}, nil
}

// Get asks for an address. A token that is refused is fetched anew once.
func (c *client) Get(ctx context.Context, address string, header http.Header) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || graph.Origin(u) != graph.Origin(c.base) {
		return nil, errors.New("the address to ask is not one of Graph's")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := c.send(ctx, u, header)
	if answer, ok := errors.AsType[*upstream.Error](err); ok && answer.Status == http.StatusUnauthorized {
		c.credential.renew()
		body, err = c.send(ctx, u, header)
	}
	return body, err
}

// send makes one request through the SDK, which authenticates and retries it, and takes the answer raw.
func (c *client) send(ctx context.Context, u *url.URL, header http.Header) (body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			body, err = nil, fmt.Errorf("asking %s: the SDK cannot read the answer: %v", u.Host, p)
		}
	}()
	request := abstractions.NewRequestInformation()
	request.Method = abstractions.GET
	request.SetUri(*u)
	for name, values := range header {
		for _, value := range values {
			request.Headers.Add(name, value)
		}
	}
	answered := false
	option := abstractions.NewRequestHandlerOption()
	option.SetResponseHandler(func(response any, _ abstractions.ErrorMappings) (any, error) {
		answered = true
		var err error
		body, err = c.read(response)
		return nil, err
	})
	request.AddRequestOptions([]abstractions.RequestOption{option})
	_, err = c.adapter.SendPrimitive(ctx, request, "[]byte", nil)
	switch {
	case err != nil && !answered:
		return nil, c.unanswered(u.Host, err)
	case err != nil:
		return nil, err
	case !answered:
		return nil, fmt.Errorf("asking %s: there is no answer", u.Host)
	}
	return body, nil
}

// read takes the body of an answer with status 200, or words what else it is.
func (c *client) read(response any) ([]byte, error) {
	res, ok := response.(*http.Response)
	if !ok {
		return nil, fmt.Errorf("the SDK gave a %T for an answer", response)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(res.Body, maxError)) // for people: what came is enough
		return nil, &upstream.Error{Status: res.StatusCode, Detail: detail(body), Wait: retryAfter(res.Header.Get("Retry-After"), time.Now())}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, c.maxBody+1))
	switch {
	case err != nil:
		return nil, &upstream.Error{Status: res.StatusCode, Err: fmt.Errorf("reading the answer: %w", err)}
	case int64(len(body)) > c.maxBody:
		return nil, &upstream.Error{Status: res.StatusCode, Err: fmt.Errorf("the answer is larger than %d bytes", c.maxBody)}
	}
	return body, nil
}

// unanswered words why there is no answer: the address, which may be long, is left out.
func (c *client) unanswered(host string, err error) error {
	if failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		c.credential.renew() // the files may have been replaced
		return refusedToken(failed)
	}
	if hidden, ok := errors.AsType[*url.Error](err); ok {
		err = hidden.Err
	}
	return &upstream.Error{Err: fmt.Errorf("asking %s: %w", host, err)}
}

// detail is the code and message of Graph's error, or the beginning of whatever came instead.
func detail(body []byte) string {
	text := strings.TrimSpace(string(body[:min(len(body), 512)]))
	node, err := jsonserialization.NewJsonParseNode(body)
	if err != nil {
		return text
	}
	value, err := node.GetObjectValue(odataerrors.CreateODataErrorFromDiscriminatorValue)
	if err != nil {
		return text
	}
	parsed, ok := value.(odataerrors.ODataErrorable)
	if !ok || parsed.GetErrorEscaped() == nil {
		return text
	}
	var parts []string
	for _, part := range []*string{parsed.GetErrorEscaped().GetCode(), parsed.GetErrorEscaped().GetMessage()} {
		if part != nil && *part != "" {
			parts = append(parts, *part)
		}
	}
	if len(parts) == 0 {
		return text
	}
	return strings.Join(parts, ": ")
}

// retryAfter reads seconds or a date, at most a day.
func retryAfter(text string, now time.Time) time.Duration {
	const longest = 24 * time.Hour
	if seconds, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
		return time.Duration(min(max(seconds, 0), int(longest.Seconds()))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), longest)
	}
	return 0
}
