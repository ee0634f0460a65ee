package graphsdk_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/pull/pulltest"
	"github.com/countersign-io/countersign/internal/source/entra"
	"github.com/countersign-io/countersign/internal/source/entra/graph"
	"github.com/countersign-io/countersign/internal/source/entra/graph/graphtest"
	"github.com/countersign-io/countersign/internal/source/entra/graphsdk"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

const tenant = "0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80"

func TestMain(m *testing.M) {
	factories := map[string]pulltest.Factory{}
	for _, feed := range graph.Feeds() {
		factories[feed] = func(upstream string) (pulltest.Source, error) { return source(feed, upstream) }
	}
	pulltest.Main(m, factories)
}

// source is a feed over the SDK, whose clock is that of the upstream: days pass in a moment.
func source(feed, upstream string) (pulltest.Source, error) {
	address, clock, _ := strings.Cut(upstream, "#")
	getter, err := graphsdk.Connect(address, func() (azcore.TokenCredential, error) { return token{}, nil })
	if err != nil {
		return pulltest.Source{}, err
	}
	feeds, err := graph.New(graph.Config{
		Name: "test", Tenant: tenant, Feeds: []string{feed}, BaseURL: address, Credential: graph.Credential{Kind: graph.ManagedIdentity},
	}, graph.Deps{Getter: getter, Limits: graph.Unlimited(), Now: func() time.Time { return now(clock) }})
	if err != nil {
		return pulltest.Source{}, err
	}
	return pulltest.Source{Decoder: entra.Graph(), Format: "graph", Tenant: tenant, Fetcher: feeds[0]}, nil
}

type token struct{}

func (token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "secret", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// now asks the test what time it is.
func now(clock string) time.Time {
	res, err := http.Get(clock) // of the test itself, which ends this process
	if err != nil {
		panic(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		panic(err)
	}
	at, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		panic(err)
	}
	return at
}

// ticking is a clock that goes on by a step whenever the source looks at it, up to an end.
type ticking struct {
	end time.Time

	mu sync.Mutex
	at time.Time
}

func (c *ticking) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *ticking) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if next := c.at.Add(10 * time.Minute); next.Before(c.end) {
		c.at = next
	}
	fmt.Fprint(w, c.at.Format(time.RFC3339Nano))
}

// Killed at any point between asking, publishing and keeping the position, over an upstream that is throttled, fails, cuts
// pages off, forgets next links and changes them, repeats and reorders records and lets them appear 10 minutes and 6 hours
// late, every record is on the log exactly once.
func TestEveryRecordIsOnTheLogOnce(t *testing.T) {
	t.Parallel()
	for feed, path := range map[string]string{
		graph.NonInteractive: "/beta/auditLogs/signIns", graph.RiskDetections: "/v1.0/identityProtection/riskDetections",
	} {
		t.Run(feed, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, 2))
			clock := &ticking{at: time.Now().Add(-90 * time.Hour), end: time.Now()}
			api := graphtest.New(t, clock.now)
			api.PageSize(7)
			api.Repeat()
			api.Shuffle()
			want := fill(api, path, feed, clock.at, random)
			var requests atomic.Int64
			server := upstreamtest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer secret" {
					t.Errorf("Authorization is %q", r.Header.Get("Authorization"))
				}
				api.Mislead("")
				switch n := requests.Add(1); {
				case n%23 == 0:
					api.Expire()
				case n%19 == 0:
					api.Mislead("https://graph.example.com")
				}
				api.ServeHTTP(w, r)
			}))
			for range 8 {
				server.Script("", "", upstreamtest.Truncated, "", upstreamtest.Throttled, "", upstreamtest.Short, upstreamtest.Expired, "", upstreamtest.Broken,
					upstreamtest.Unavailable, "", "", "", upstreamtest.HungUp, "", upstreamtest.Gone)
			}
			server.Script("", upstreamtest.ThrottledSilently)
			ticker := httptest.NewServer(clock)
			defer ticker.Close()
			pulltest.Prove(t, feed, server.URL+"#"+ticker.URL, want, pulltest.Options{})
			if server.Left() > 0 {
				t.Errorf("%d faults were not met", server.Left())
			}
		})
	}
}

// fill adds records of a day and a half, most of them late, and returns the ids of their events.
func fill(api *graphtest.Upstream, path, feed string, start time.Time, random *rand.Rand) (want []string) {
	kind := ""
	if feed == graph.NonInteractive {
		kind = "nonInteractiveUser"
	}
	for n := range 200 {
		id := fmt.Sprintf("7d3a0c52-61fe-4b0e-9c1d-50a6e2f7b%03d", n)
		created := start.Add(time.Duration(random.Int64N(int64(54*time.Hour))) - 20*time.Hour).Truncate(time.Millisecond)
		late := []time.Duration{0, 2 * time.Minute, 10 * time.Minute, 6 * time.Hour}[n%4]
		api.Add(graphtest.Record{Path: path, ID: id, Type: kind, Created: created, Appears: created.Add(late)})
		source := id
		if feed == graph.RiskDetections {
			source = fmt.Sprintf("%s@%d", id, created.UnixMilli()) // T44: a revision is a record of its own
		}
		want = append(want, events.EventID(tenant, entra.Family, source))
	}
	return want
}
