package upstream_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/source/upstream"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"records":[1,2,3]}`) }

func TestFaultsAreErrorsThatSayWhenToComeBack(t *testing.T) {
	t.Parallel()
	s := upstreamtest.New(t, http.HandlerFunc(ok))
	c := upstream.New(upstream.Config{Base: s.URL})
	for fault, status := range map[upstreamtest.Fault]int{
		upstreamtest.Throttled: 429, upstreamtest.ThrottledSilently: 429, upstreamtest.Broken: 500, upstreamtest.Unavailable: 503,
		upstreamtest.Expired: 401, upstreamtest.Gone: 410, upstreamtest.Truncated: 200, upstreamtest.HungUp: 0,
	} {
		s.Script(fault)
		_, err := c.Get(t.Context(), s.URL+"/page?secret=hunter2", nil)
		e, is := errors.AsType[*upstream.Error](err)
		if upstream.Stale(err) != (fault == upstreamtest.Gone) {
			t.Errorf("%s: stale is %v", fault, upstream.Stale(err))
		}
		if !is || e.Status != status || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", fault, err)
		}
	}
	if a, err := c.Get(t.Context(), s.URL, nil); err != nil || len(a.Body) != 19 {
		t.Errorf("%v, %v", a, err)
	}
	if s.Left() != 0 || len(s.Requests()) != 9 {
		t.Errorf("%d faults left, requests %q", s.Left(), s.Requests())
	}
}

func TestRetryAfterInSecondsOrAsDate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 8, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-3": 0, "soon": 0, "99999999": 24 * time.Hour, "Wed, 04 Mar 2026 08:01:00 GMT": time.Minute,
		"Wed, 04 Mar 2026 07:00:00 GMT": 0,
	} {
		s := upstreamtest.New(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", text)
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		_, err := upstream.New(upstream.Config{Base: s.URL, Now: func() time.Time { return now }}).Get(t.Context(), s.URL, nil)
		if e, is := errors.AsType[*upstream.Error](err); !is || e.RetryAfter() != want {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

// Credentials go to the configured host only, whatever an answer says.
func TestOtherHostsAreNotAsked(t *testing.T) {
	t.Parallel()
	other := upstreamtest.New(t, http.HandlerFunc(ok))
	s := upstreamtest.New(t, http.RedirectHandler(other.URL, http.StatusFound))
	c := upstream.New(upstream.Config{Base: s.URL})
	for _, address := range []string{other.URL, "ftp://" + s.Host, "https://" + s.Host, "/relative", "https://" + s.Host + "@evil.example/", s.URL} {
		if a, err := c.Get(t.Context(), address, http.Header{"Authorization": {"Bearer x"}}); err == nil {
			t.Errorf("%s answered %d", address, a.Status)
		}
	}
	if got := other.Requests(); len(got) != 0 {
		t.Errorf("the other host got %q", got)
	}
}

func TestLargeAnswersAreRefused(t *testing.T) {
	t.Parallel()
	s := upstreamtest.New(t, http.HandlerFunc(ok))
	if _, err := upstream.New(upstream.Config{Base: s.URL, MaxBody: 5}).Get(t.Context(), s.URL, nil); err == nil || !strings.Contains(err.Error(), "larger than 5 bytes") {
		t.Errorf("%v", err)
	}
}

func TestNextPage(t *testing.T) {
	t.Parallel()
	for want, lines := range map[string][]string{
		"":                    {`<https://a.example/self>; rel="self"`},
		"https://a.example/2": {`<https://a.example/self>; rel="self"`, `<https://a.example/2>; rel="next"`},
		"https://a.example/3": {`<https://a.example/self>; rel="self", <https://a.example/3>; title="x"; rel=next`},
	} {
		if got := upstream.Next(http.Header{"Link": lines}); got != want {
			t.Errorf("%q: %q, want %q", lines, got, want)
		}
	}
	if got := upstream.Next(http.Header{"Link": {"rubbish, <", `>; rel="next"`}}); got != "" {
		t.Errorf("rubbish gives %q", got)
	}
}

func TestAddressesOverWhichSecretsTravel(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://api.example.com": "", "https://api.example.com:8443/auth": "", "http://127.0.0.1:8080": "", "http://[::1]": "", "http://localhost": "",
		"": "no address", "api.example.com": "no address", "https://a:b@api.example.com": "no address", "https://api.example.com?x=1": "no address",
		"http://api.example.com": "https://", "http://192.0.2.1": "https://", "http://localhost.example.com": "https://", "ftp://127.0.0.1": "https://",
	} {
		if err := upstream.CheckBase(address); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", address, err)
		}
	}
}
