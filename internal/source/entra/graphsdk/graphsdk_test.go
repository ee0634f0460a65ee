package graphsdk

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/countersign-io/countersign/internal/source/entra/graph"
	"github.com/countersign-io/countersign/internal/source/entra/graph/graphtest"
	"github.com/countersign-io/countersign/internal/source/upstream"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

// issued gives tokens "token-n-m": the n-th credential's, m without claims and "claims" with them.
type issued struct {
	t      *testing.T
	number int64
}

func (c issued) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if len(o.Scopes) != 1 || !strings.HasSuffix(o.Scopes[0], "/.default") || !o.EnableCAE {
		c.t.Errorf("token asked for with %+v", o)
	}
	text := "token-" + strconv.FormatInt(c.number, 10)
	if o.Claims != "" {
		text += "-" + o.Claims
	}
	return azcore.AccessToken{Token: text, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// connect returns a client of a local server, whose first credential is token-1.
func connect(t *testing.T, address string, transport http.RoundTripper) *client {
	t.Helper()
	var made atomic.Int64
	credential, err := newRenewable(func() (credential, error) { return issued{t, made.Add(1)}, nil })
	if err != nil {
		t.Fatal(err)
	}
	c, err := newClient(address, credential, transport, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func answered(t *testing.T, err error) *upstream.Error {
	t.Helper()
	answer, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		t.Fatalf("error %v (%T), want an answer", err, err)
	}
	return answer
}

const address = "/v1.0/auditLogs/signIns?$top=1000&$filter=createdDateTime%20ge%202026-03-04T08%3A15%3A30Z%20and%20createdDateTime%20le%202026-03-04T09%3A15%3A30Z"

func TestAskingIsAuthenticatedAndRaw(t *testing.T) {
	t.Parallel()
	const page = `{"value":[{"id":"a","unheardOf":{"x":[1.50]}}],"@odata.nextLink":"https://graph.microsoft.com/x?y"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != address {
			t.Errorf("asked for %s, want %s", r.RequestURI, address)
		}
		if got := r.Header.Get("Authorization"); got != "Bearer token-1" {
			t.Errorf("Authorization is %q", got)
		}
		if got := r.Header.Get("Prefer"); got != "include-unknown-enum-members" {
			t.Errorf("Prefer is %q", got)
		}
		if !strings.HasPrefix(r.Header.Get("SdkVersion"), "graph-go-core/") {
			t.Errorf("SdkVersion is %q", r.Header.Get("SdkVersion"))
		}
		w.Header().Set("Content-Type", "application/json;odata.metadata=minimal")
		_, _ = w.Write([]byte(page))
	}))
	defer server.Close()
	c := connect(t, server.URL, newTransport())
	body, err := c.Get(t.Context(), server.URL+address, http.Header{"Prefer": {"include-unknown-enum-members"}})
	if err != nil || string(body) != page {
		t.Errorf("Get: %q, %v", body, err)
	}
}

// Skip tokens may hold anything: they must arrive as they were given.
func TestAddressesArriveUnchanged(t *testing.T) {
	t.Parallel()
	const link = "/v1.0/auditLogs/signIns?$top=1000&$skiptoken=a%2Fb%2Bc%3D%3D_%2d%2E%7e%24%2524-d"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != link {
			t.Errorf("asked for %s, want %s", r.RequestURI, link)
		}
		_, _ = w.Write([]byte(`{"value":[]}`))
	}))
	defer server.Close()
	if _, err := connect(t, server.URL, newTransport()).Get(t.Context(), server.URL+link, nil); err != nil {
		t.Error(err)
	}
}

func TestARefusedTokenIsFetchedAnewOnce(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]string{"the next is good": "Bearer token-2", "none is good": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if r.Header.Get("Authorization") == good {
					_, _ = w.Write([]byte(`{"value":[]}`))
					return
				}
				w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = w.Write([]byte(`{"error":{"code":"InvalidAuthenticationToken","message":"Lifetime validation failed, the token is expired."}}`))
			}))
			defer server.Close()
			_, err := connect(t, server.URL, newTransport()).Get(t.Context(), server.URL+address, nil)
			switch {
			case good != "" && err != nil:
				t.Error(err)
			case good == "" && (answered(t, err).Status != http.StatusUnauthorized || !strings.Contains(err.Error(), "InvalidAuthenticationToken")):
				t.Error(err)
			}
			if n := asked.Load(); n != 2 {
				t.Errorf("asked %d times, want 2", n)
			}
		})
	}
}

// Continuous access evaluation: the SDK asks for a token with the claims of the challenge.
func TestAClaimsChallengeIsMet(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == `Bearer token-1-{"a":1}` {
			_, _ = w.Write([]byte(`{"value":[]}`))
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_claims", claims="eyJhIjoxfQ=="`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	if _, err := connect(t, server.URL, newTransport()).Get(t.Context(), server.URL+address, nil); err != nil {
		t.Error(err)
	}
}

// A challenge without quotes makes the SDK panic.
func TestAPanicOfTheSDKIsAnError(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer claims=none`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	_, err := connect(t, server.URL, newTransport()).Get(t.Context(), server.URL+address, nil)
	if err == nil || !strings.Contains(err.Error(), "the SDK cannot read the answer") {
		t.Errorf("error %v", err)
	}
}

func TestOtherAnswersAreErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status              int
		kind, body, contain string
	}{
		"no licence":          {403, "application/json", `{"error":{"code":"Authentication_RequestFromNonPremiumTenantOrB2CTenant","message":"Neither tenant is B2C or tenant doesn't have premium license"}}`, "Authentication_RequestFromNonPremiumTenantOrB2CTenant: Neither"},
		"gone":                {410, "application/json", `{"error":{"code":"gone"}}`, "gone"},
		"no message":          {500, "application/json", `{"error":{}}`, `{`},
		"no error":            {500, "application/json", `{}`, "{}"},
		"an error of a proxy": {502, "text/html", `<h1>Bad gateway</h1>`, "Bad gateway"},
		"an error that is no object": {
			500, "application/json", `{"error":"sorry"}`, "sorry",
		},
		"a list":            {500, "application/json", `[1,2]`, "[1,2]"},
		"nothing":           {500, "", ``, "500"},
		"a redirect":        {302, "", ``, "302"},
		"accepted, no page": {202, "application/json", `{"value":[]}`, "202"},
		"no content":        {204, "", ``, "204"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.Header().Set("Content-Type", c.kind)
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			_, err := connect(t, server.URL, newTransport()).Get(t.Context(), server.URL+address, nil)
			if answer := answered(t, err); answer.Status != c.status || !strings.Contains(err.Error(), c.contain) {
				t.Errorf("error %v (status %d), want status %d and %q", err, answer.Status, c.status, c.contain)
			}
		})
	}
}

// The SDK sits out short pauses that Graph names, up to three times.
func TestNamedPausesAreSatOut(t *testing.T) {
	t.Parallel()
	upstreamServer := graphtest.New(t, time.Now)
	server := upstreamtest.New(t, upstreamServer)
	now := time.Now().UTC()
	link := server.URL + "/v1.0/auditLogs/signIns?$top=1000&$filter=" + strings.ReplaceAll(
		"createdDateTime ge "+now.Add(-time.Hour).Format(time.RFC3339)+" and createdDateTime le "+now.Format(time.RFC3339), " ", "%20")
	c := connect(t, server.URL, newTransport())
	server.Script(upstreamtest.Throttled, upstreamtest.Unavailable, upstreamtest.Throttled)
	if _, err := c.Get(t.Context(), link, nil); err != nil {
		t.Errorf("three pauses: %v", err)
	}
	server.Script(upstreamtest.Throttled, upstreamtest.Unavailable, upstreamtest.Throttled, upstreamtest.Unavailable)
	if _, err := c.Get(t.Context(), link, nil); answered(t, err).Status != http.StatusServiceUnavailable {
		t.Errorf("four pauses: %v", err)
	}
	if n := len(server.Requests()); n != 8 {
		t.Errorf("%d requests, want 8", n)
	}
}

// Long pauses, and those that Graph does not name, are for the caller.
func TestOtherPausesAreReturned(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{"": 0, "300": 5 * time.Minute, "999999999999": 24 * time.Hour} {
		var asked atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			if header != "" {
				w.Header().Set("Retry-After", header)
			}
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		_, err := connect(t, server.URL, newTransport()).Get(t.Context(), server.URL+address, nil)
		server.Close()
		if answer := answered(t, err); answer.Status != http.StatusTooManyRequests || answer.RetryAfter() != want || asked.Load() != 1 {
			t.Errorf("Retry-After %q: %v, to wait %v, asked %d times; want %v and once", header, err, answer.RetryAfter(), asked.Load(), want)
		}
	}
}

func TestBrokenAnswersAreErrors(t *testing.T) {
	t.Parallel()
	server := upstreamtest.New(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"value":[{"id":"a"}]}`))
	}))
	c := connect(t, server.URL, newTransport())
	server.Script(upstreamtest.Truncated, upstreamtest.HungUp, upstreamtest.Broken)
	for _, status := range []int{200, 0, 500} {
		if _, err := c.Get(t.Context(), server.URL+address, nil); answered(t, err).Status != status {
			t.Errorf("error %v, want status %d", err, status)
		}
	}
	if _, err := c.Get(t.Context(), server.URL+address, nil); err != nil || server.Left() != 0 {
		t.Errorf("afterwards: %v, %d faults left", err, server.Left())
	}
}

func TestAHugeBodyIsBounded(t *testing.T) {
	t.Parallel()
	sent := make(chan int, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk, n := []byte(strings.Repeat(" ", 64<<10)), 0
		for n < 1<<30 {
			k, err := w.Write(chunk)
			if n += k; err != nil {
				break
			}
		}
		sent <- n
	}))
	defer server.Close()
	_, err := connect(t, server.URL, newTransport()).Get(t.Context(), server.URL+address, nil)
	if err == nil || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("error %v", err)
	}
	if n := <-sent; n >= 64<<20 {
		t.Errorf("%d bytes were sent", n)
	}
}

// A token must not travel to another host, whatever a page says.
func TestNoOtherHostIsAsked(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) }))
	defer server.Close()
	c := connect(t, "http://127.0.0.1:1", newTransport())
	for _, link := range []string{server.URL + address, "https://127.0.0.1:1" + address, "//127.0.0.1:1/", "x", ""} {
		if _, err := c.Get(t.Context(), link, nil); err == nil || !strings.Contains(err.Error(), "not one of Graph's") {
			t.Errorf("%q: %v", link, err)
		}
	}
}

func TestTheEndOfTheContextEndsAPause(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "19")
		w.WriteHeader(http.StatusTooManyRequests)
		cancel()
	}))
	defer server.Close()
	if _, err := connect(t, server.URL, newTransport()).Get(ctx, server.URL+address, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// All together: a feed that is throttled, cut off, refused and misled takes every record.
func TestAFeedOverTheSDK(t *testing.T) {
	t.Parallel()
	api := graphtest.New(t, time.Now)
	server := upstreamtest.New(t, api)
	api.PageSize(3)
	now := time.Now()
	want := map[string]bool{}
	for n := range 20 {
		id := "id-" + strconv.Itoa(n)
		want[id] = true
		at := now.Add(-time.Duration(n+1) * 40 * time.Minute)
		api.Add(graphtest.Record{Path: "/v1.0/auditLogs/signIns", ID: id, Created: at, Appears: at})
	}
	feeds, err := graph.New(graph.Config{
		Name: "test", Tenant: "0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80", Feeds: []string{graph.SignIns}, BaseURL: server.URL,
		Credential: graph.Credential{Kind: graph.ManagedIdentity},
	}, graph.Deps{Getter: connect(t, server.URL, newTransport()), Limits: graph.Unlimited()})
	if err != nil {
		t.Fatal(err)
	}
	server.Script("", upstreamtest.Throttled, upstreamtest.Truncated, "", upstreamtest.Expired, upstreamtest.Broken, upstreamtest.Short, upstreamtest.HungUp)
	var position []byte
	for tries := 0; ; tries++ {
		_, err := feeds[0].Fetch(t.Context(), position, func(records [][]byte, next []byte) error {
			for _, record := range records {
				for id := range want {
					if strings.Contains(string(record), `"`+id+`"`) {
						delete(want, id)
					}
				}
			}
			position = next
			return nil
		})
		if err == nil {
			break
		}
		if tries > 10 {
			t.Fatal(err)
		}
	}
	if len(want) > 0 || server.Left() > 0 {
		t.Errorf("not taken: %v; %d faults left", want, server.Left())
	}
}
