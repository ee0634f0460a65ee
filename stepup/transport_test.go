package stepup

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// desk is a token source that writes down what it was asked, and answers by a script: t1, t2, ...
type desk struct {
	mu    sync.Mutex
	asked []TokenRequest
	n     int
	life  time.Duration
	// refuse, if set, says what is wrong with a request.
	refuse func(TokenRequest) error
}

func (d *desk) token(_ context.Context, req TokenRequest) (AccessToken, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, req)
	if d.refuse != nil {
		if err := d.refuse(req); err != nil {
			return AccessToken{}, err
		}
	}
	d.n++
	token := AccessToken{Value: fmt.Sprint("t", d.n)}
	if d.life > 0 {
		token.Expires = time.Now().Add(d.life)
	}
	return token, nil
}

func (d *desk) requests() []TokenRequest {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]TokenRequest(nil), d.asked...)
}

// demanding is an API that wants a token of at least number n, and keeps what it was sent.
type demanding struct {
	challenge string

	mu     sync.Mutex
	least  int
	tokens []string
	bodies []string
}

func (a *demanding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens = append(a.tokens, r.Header.Get("Authorization"))
	a.bodies = append(a.bodies, string(body))
	n := 0
	_, _ = fmt.Sscanf(r.Header.Get("Authorization"), "Bearer t%d", &n)
	if n < a.least {
		w.Header().Set("WWW-Authenticate", a.challenge)
		w.WriteHeader(http.StatusUnauthorized)
	}
	_, _ = io.WriteString(w, "done")
}

func (a *demanding) seen() (tokens, bodies []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.tokens...), append([]string(nil), a.bodies...)
}

const wantsMore = `Bearer error="insufficient_user_authentication", acr_values="phr mfa", max_age="0", scope="pay"`

// clientOf returns a client of an API that h is, whose tokens are d's.
func clientOf(t *testing.T, h http.Handler, d *desk, change func(*TransportConfig)) (*http.Client, *httptest.Server) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	cfg := TransportConfig{Source: d.token, Hosts: []string{strings.TrimPrefix(server.URL, "http://")}}
	if change != nil {
		change(&cfg)
	}
	transport, err := NewTransport(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: transport}, server
}

func get(t *testing.T, client *http.Client, url string) (int, error) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, nil
}

func TestTransportMeetsAChallenge(t *testing.T) {
	t.Parallel()
	const claims = `{"access_token":{"acrs":{"essential":true,"value":"c1"},"x":"??>>"}}`
	entra := func(encoded string) string {
		return `Bearer realm="", authorization_uri="https://evil.example/authorize", error="insufficient_claims", claims="` + encoded + `"`
	}
	for name, c := range map[string]struct {
		challenge    string
		capabilities []string
		want         TokenRequest
	}{
		"RFC 9470":           {wantsMore, nil, TokenRequest{ACRValues: []string{"phr", "mfa"}, MaxAge: 0, Scope: "pay"}},
		"RFC 9470, by DPoP":  {`DPoP algs="ES256", error="insufficient_user_authentication", max_age=5`, nil, TokenRequest{ACRValues: []string{}, MaxAge: 5}},
		"beside another":     {`Basic realm="x", ` + wantsMore, nil, TokenRequest{ACRValues: []string{"phr", "mfa"}, MaxAge: 0, Scope: "pay"}},
		"Entra":              {entra(base64.StdEncoding.EncodeToString([]byte(claims))), nil, TokenRequest{ACRValues: []string{}, MaxAge: NoMaxAge, Claims: claims}},
		"Entra, url":         {entra(base64.URLEncoding.EncodeToString([]byte(claims))), nil, TokenRequest{ACRValues: []string{}, MaxAge: NoMaxAge, Claims: claims}},
		"Entra, unpadded":    {entra(base64.RawStdEncoding.EncodeToString([]byte(claims))), nil, TokenRequest{ACRValues: []string{}, MaxAge: NoMaxAge, Claims: claims}},
		"Entra, url, bare":   {entra(base64.RawURLEncoding.EncodeToString([]byte(claims))), nil, TokenRequest{ACRValues: []string{}, MaxAge: NoMaxAge, Claims: claims}},
		"Entra, with cp1":    {entra(base64.StdEncoding.EncodeToString([]byte(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`))), []string{"cp1"}, TokenRequest{ACRValues: []string{}, MaxAge: NoMaxAge, Claims: `{"access_token":{"nbf":{"essential":true,"value":"1"},"xms_cc":{"values":["cp1"]}}}`}},
		"token invalid":      {`Bearer error="invalid_token", acr_values="x"`, nil, TokenRequest{MaxAge: NoMaxAge}},
		"capability, no ask": {`Bearer error="invalid_token"`, []string{"cp1"}, TokenRequest{MaxAge: NoMaxAge, Claims: `{"access_token":{"xms_cc":{"values":["cp1"]}}}`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, d := &demanding{challenge: c.challenge, least: 2}, &desk{}
			client, server := clientOf(t, api, d, func(cfg *TransportConfig) { cfg.Capabilities = c.capabilities })
			for range 2 {
				if status, err := get(t, client, server.URL); err != nil || status != 200 {
					t.Fatalf("%d %v", status, err)
				}
			}
			first := TokenRequest{MaxAge: NoMaxAge}
			if c.capabilities != nil {
				first.Claims = `{"access_token":{"xms_cc":{"values":["cp1"]}}}`
			}
			c.want.Previous = "t1"
			if diff := cmp.Diff([]TokenRequest{first, c.want}, d.requests()); diff != "" {
				t.Errorf("(-want, +got):\n%s", diff)
			}
			if tokens, _ := api.seen(); cmp.Diff([]string{"Bearer t1", "Bearer t2", "Bearer t2"}, tokens) != "" {
				t.Errorf("sent %v", tokens)
			}
		})
	}
}

// What no token can mend is the caller's.
func TestTransportLeavesOtherAnswersAlone(t *testing.T) {
	t.Parallel()
	for name, challenge := range map[string]string{
		"no challenge": "", "basic": `Basic realm="x"`, "bare": "Bearer", "scope": `Bearer error="insufficient_scope"`,
		"claims that cannot be read": `Bearer error="insufficient_claims", claims="?"`, "no claims": `Bearer error="insufficient_claims"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &desk{}
			client, server := clientOf(t, &demanding{challenge: challenge, least: 2}, d, nil)
			if status, err := get(t, client, server.URL); err != nil || status != 401 || len(d.requests()) != 1 {
				t.Errorf("%d %v, asked %v", status, err, d.requests())
			}
		})
	}
}

func TestTransportGivesUpAfterTwoChallenges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{}
		sent := 0
		transport, err := NewTransport(TransportConfig{Source: d.token, Hosts: []string{"api.example.com"}, Base: transport(func(*http.Request) (*http.Response, error) {
			sent++
			return answer(401, "the body", "WWW-Authenticate", wantsMore), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: transport}
		ask := func(sends, asks int) {
			t.Helper()
			status, err := get(t, client, "https://api.example.com/")
			if err != nil || status != 401 || sent != sends || len(d.requests()) != asks {
				t.Fatalf("%d %v after %d requests and %d for tokens, want %d and %d", status, err, sent, len(d.requests()), sends, asks)
			}
		}
		ask(2, 2)
		for i := range 10 { // it is not tried again for every request
			ask(3+i, 2)
		}
		time.Sleep(defaultHold + time.Second)
		ask(14, 3)
	})
}

func TestTransportAsksOnceForManyRequests(t *testing.T) {
	t.Parallel()
	const n = 100
	var arrived sync.WaitGroup
	arrived.Add(n)
	api := &demanding{challenge: wantsMore, least: 2}
	d := &desk{}
	// Every request is on its way with the first token before one is challenged.
	gate := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer t1" {
			arrived.Done()
			arrived.Wait()
		}
		api.ServeHTTP(w, r)
	})
	client, server := clientOf(t, gate, d, nil)
	var g sync.WaitGroup
	var good atomic.Int64
	for range n {
		g.Go(func() {
			if status, err := get(t, client, server.URL); err == nil && status == 200 {
				good.Add(1)
			}
		})
	}
	g.Wait()
	if good.Load() != n || len(d.requests()) != 2 {
		t.Errorf("%d of %d went through, %d token requests, want 2", good.Load(), n, len(d.requests()))
	}
}

func TestTransportRepeatsBodies(t *testing.T) {
	t.Parallel()
	const text = "transfer 100"
	fixed := func() io.Reader { return strings.NewReader(text) }
	stream := func() io.Reader { return io.NopCloser(strings.NewReader(text)) }
	for name, c := range map[string]struct {
		body  func() io.Reader
		size  int64 // as the request says
		limit int64
		again bool
	}{
		"with GetBody":         {fixed, int64(len(text)), -1, true},
		"a stream":             {stream, 0, 0, true},
		"a stream that fits":   {stream, 0, int64(len(text)), true},
		"a stream too long":    {stream, 0, 5, false},
		"a stream not kept":    {stream, 0, -1, false},
		"a length that is big": {stream, int64(len(text)), 5, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, d := &demanding{challenge: wantsMore, least: 2}, &desk{}
			client, server := clientOf(t, api, d, func(cfg *TransportConfig) { cfg.MaxBody = c.limit })
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, c.body())
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = c.size
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			if err != nil || string(answer) != "done" {
				t.Errorf("%q, %v", answer, err)
			}
			tokens, bodies := api.seen()
			want, status := []string{text}, 401
			if c.again {
				want, status = []string{text, text}, 200
			}
			if resp.StatusCode != status || cmp.Diff(want, bodies) != "" {
				t.Errorf("%d, bodies %q of %v, want %d and %q", resp.StatusCode, bodies, tokens, status, want)
			}
			// The token was got in any case: whoever repeats such a request by hand is let in.
			if status, err := get(t, client, server.URL); err != nil || status != 200 || len(d.requests()) != 2 {
				t.Errorf("afterwards %d %v, %d token requests", status, err, len(d.requests()))
			}
		})
	}
}

func TestTokenGoesToItsHostsOnly(t *testing.T) {
	t.Parallel()
	d := &desk{}
	var other []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		other = append(other, r.Header.Get("Authorization"))
		w.Header().Set("WWW-Authenticate", wantsMore)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer elsewhere.Close()
	client, server := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}), d, nil)
	if status, err := get(t, client, server.URL); err != nil || status != 401 {
		t.Errorf("%d %v", status, err)
	}
	if len(other) != 1 || other[0] != "" || len(d.requests()) != 1 {
		t.Errorf("the other host saw %q; token requests %+v", other, d.requests())
	}
}

func TestWhichRequestsCarryTheToken(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]bool{
		"https://api.example.com/x":       true,
		"https://API.example.com:443/x":   true,
		"https://api.example.com:8443/":   false,
		"https://other.example.com:8443/": true,
		"https://other.example.com/":      false,
		"https://api.example.com.evil/":   false,
		"https://evil/api.example.com":    false,
		"https://api.example.com@evil/":   false,
		"http://api.example.com/":         false,
		"ftp://api.example.com/":          false,
		"http://127.0.0.1:80/":            true,
		"http://127.0.0.1/":               true,
		"http://[::1]:8080/":              true,
		"https://xapi.example.com/":       false,
	} {
		transport, err := NewTransport(TransportConfig{
			Source: (&desk{}).token, Hosts: []string{"api.example.com", "Other.example.com:8443", "127.0.0.1", "[::1]:8080"},
		})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := transport.trusted(u); got != want {
			t.Errorf("%s: %v, want %v", target, got, want)
		}
	}
}

func TestRequestsWithTheirOwnAuthorizationAreLeftAlone(t *testing.T) {
	t.Parallel()
	api, d := &demanding{challenge: wantsMore, least: 2}, &desk{}
	client, server := clientOf(t, api, d, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer mine")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if tokens, _ := api.seen(); resp.StatusCode != http.StatusUnauthorized || cmp.Diff([]string{"Bearer mine"}, tokens) != "" || len(d.requests()) != 0 {
		t.Errorf("%d, sent %v", resp.StatusCode, tokens)
	}
}

func TestTokenIsKeptUntilItExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{life: time.Hour}
		var sent []string
		transport, err := NewTransport(TransportConfig{Source: d.token, Hosts: []string{"api.example.com"}, Base: transport(func(r *http.Request) (*http.Response, error) {
			sent = append(sent, r.Header.Get("Authorization"))
			return answer(200, ""), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: transport}
		for _, wait := range []time.Duration{0, 30 * time.Minute, 29 * time.Minute, time.Minute} {
			time.Sleep(wait)
			if _, err := get(t, client, "https://api.example.com/"); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2"}, sent); diff != "" {
			t.Error(diff)
		}
		if asked := d.requests(); asked[1].Previous != "t1" {
			t.Errorf("asked %+v", asked)
		}
	})
}

// The user is asked after the silent way was tried with the claims, and with all that is known by then.
// A route that wants a proof of the last minutes asks Entra's clients for another nbf each second.
func TestAChallengeWhoseTimeMovesIsStillTheSame(t *testing.T) {
	t.Parallel()
	second := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		second++
		acrs := "c1"
		if r.URL.Path == "/other" {
			acrs = "c2"
		}
		w.Header().Set("WWW-Authenticate", Challenge{
			Error: ErrorInsufficientClaims, MaxAge: NoMaxAge,
			Claims: fmt.Sprintf(`{"access_token":{"nbf":{"essential":true,"value":"%d"},"acrs":{"value":%q}}}`, 1767225600+second, acrs),
		}.String())
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer srv.Close()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	prompts := 0
	transport, err := NewTransport(TransportConfig{
		Hosts: []string{u.Host},
		Source: func(_ context.Context, req TokenRequest) (AccessToken, error) {
			if req.Claims != "" {
				return AccessToken{}, &InteractionRequiredError{Code: "interaction_required"}
			}
			return AccessToken{Value: "old"}, nil
		},
		Interact: func(context.Context, TokenRequest) (AccessToken, error) {
			prompts++
			return AccessToken{}, errors.New("cancelled by the user")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	for _, c := range []struct {
		path string
		want int
	}{{"/", 1}, {"/", 1}, {"/", 1}, {"/other", 2}, {"/other", 2}} {
		resp, err := client.Get(srv.URL + c.path)
		if err == nil {
			resp.Body.Close()
			t.Errorf("%s: %d", c.path, resp.StatusCode)
		}
		if prompts != c.want {
			t.Errorf("%s: %d prompts, want %d", c.path, prompts, c.want)
		}
	}
}

// What an API says that no client could pass on is no reason to keep its answer from the caller.
func TestClaimsThatAreNoRequestAreSkipped(t *testing.T) {
	t.Parallel()
	for _, claims := range []string{"123", "null", `"x"`, "[]", "true"} {
		d := &desk{}
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_claims", claims="`+base64.StdEncoding.EncodeToString([]byte(claims))+`"`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		defer srv.Close()
		u, err := url.Parse(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		transport, err := NewTransport(TransportConfig{Hosts: []string{u.Host}, Source: d.token})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: transport}).Get(srv.URL)
		if err != nil {
			t.Errorf("%s: %v", claims, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized || len(d.requests()) != 1 {
			t.Errorf("%s: %d, %d tokens", claims, resp.StatusCode, len(d.requests()))
		}
	}
}

func TestInteraction(t *testing.T) {
	t.Parallel()
	challenge := Challenge{Error: ErrorInsufficientClaims, MaxAge: NoMaxAge, Claims: `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`}.String()
	fromEndpoint := `{"error":"interaction_required","suberror":"basic_action","error_description":"AADSTS50076\r\nmore","claims":"{\"access_token\":{\"polids\":{\"essential\":true,\"values\":[\"p1\"]},\"xms_cc\":{\"values\":[\"cp2\"]}}}"}`
	const all = `{"access_token":{"acrs":{"essential":true,"value":"c1"},"polids":{"essential":true,"values":["p1"]},"xms_cc":{"values":["cp1","cp2"]}}}`
	needed := func(req TokenRequest) error {
		if req.Previous == "" {
			return nil
		}
		return ParseTokenError([]byte(fromEndpoint))
	}
	t.Run("with a hook", func(t *testing.T) {
		t.Parallel()
		api, d, person := &demanding{challenge: challenge, least: 2}, &desk{refuse: needed}, &desk{n: 1}
		client, server := clientOf(t, api, d, func(c *TransportConfig) { c.Interact, c.Capabilities = person.token, []string{"cp1"} })
		if status, err := get(t, client, server.URL); err != nil || status != 200 {
			t.Errorf("%d %v", status, err)
		}
		asked := d.requests()
		if len(asked) != 2 || asked[1].Claims != `{"access_token":{"acrs":{"essential":true,"value":"c1"},"xms_cc":{"values":["cp1"]}}}` {
			t.Errorf("silently %+v", asked)
		}
		if diff := cmp.Diff([]TokenRequest{{ACRValues: []string{}, MaxAge: NoMaxAge, Claims: all, Previous: "t1"}}, person.requests()); diff != "" {
			t.Errorf("(-want, +got):\n%s", diff)
		}
	})
	t.Run("without one", func(t *testing.T) {
		t.Parallel()
		d := &desk{refuse: needed}
		client, server := clientOf(t, &demanding{challenge: challenge, least: 2}, d, func(c *TransportConfig) { c.Capabilities = []string{"cp1"} })
		for range 3 {
			_, err := get(t, client, server.URL)
			got, ok := errors.AsType[*InteractionRequiredError](err)
			if !ok {
				t.Fatalf("error %v", err)
			}
			want := &InteractionRequiredError{
				Code: "interaction_required", Suberror: "basic_action", Description: "AADSTS50076  more", Claims: all, ACRValues: []string{}, MaxAge: NoMaxAge,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want, +got):\n%s", diff)
			}
		}
		if n := len(d.requests()); n != 2 {
			t.Errorf("%d token requests, want 2", n)
		}
	})
	t.Run("turned down", func(t *testing.T) {
		t.Parallel()
		no := errors.New("the window was closed")
		person := &desk{refuse: func(TokenRequest) error { return no }}
		client, server := clientOf(t, &demanding{challenge: challenge, least: 2}, &desk{refuse: needed}, func(c *TransportConfig) { c.Interact = person.token })
		for range 3 {
			if _, err := get(t, client, server.URL); !errors.Is(err, no) {
				t.Errorf("error %v", err)
			}
		}
		if n := len(person.requests()); n != 1 {
			t.Errorf("the user was asked %d times", n)
		}
	})
	t.Run("cannot be met", func(t *testing.T) {
		t.Parallel()
		d, person := &desk{}, &desk{}
		d.refuse = func(req TokenRequest) error {
			if req.Previous == "" {
				return nil
			}
			return ParseTokenError([]byte(`{"error":"unmet_authentication_requirements","error_description":"no key registered"}`))
		}
		client, server := clientOf(t, &demanding{challenge: wantsMore, least: 2}, d, func(c *TransportConfig) { c.Interact = person.token })
		for range 3 {
			if _, err := get(t, client, server.URL); !errors.Is(err, ErrUnmetRequirements) || !strings.Contains(err.Error(), "no key registered") {
				t.Errorf("error %v", err)
			}
		}
		if len(d.requests()) != 2 || len(person.requests()) != 0 {
			t.Errorf("asked %+v and the user %+v", d.requests(), person.requests())
		}
	})
	t.Run("a network that fails is tried again", func(t *testing.T) {
		t.Parallel()
		d := &desk{}
		failures := 2
		d.refuse = func(req TokenRequest) error {
			if req.Previous != "" && failures > 0 {
				failures--
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		client, server := clientOf(t, &demanding{challenge: wantsMore, least: 2}, d, nil)
		for i := range 3 {
			status, err := get(t, client, server.URL)
			if i < 2 && !errors.Is(err, io.ErrUnexpectedEOF) || i == 2 && (err != nil || status != 200) {
				t.Errorf("%d: %d %v", i, status, err)
			}
		}
	})
}

// Who gives up waiting takes the token from nobody else, and with the last one the asking ends.
func TestWaitingForAToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release, ended := make(chan struct{}), make(chan struct{})
		transport, err := NewTransport(TransportConfig{
			Hosts: []string{"api.example.com"},
			Source: func(ctx context.Context, _ TokenRequest) (AccessToken, error) {
				select {
				case <-release:
					return AccessToken{Value: "t1"}, nil
				case <-ctx.Done():
					close(ended)
					return AccessToken{}, ctx.Err()
				}
			},
			Base: transport(func(*http.Request) (*http.Response, error) { return answer(200, ""), nil }),
		})
		if err != nil {
			t.Fatal(err)
		}
		send := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				resp, err := transport.RoundTrip(req)
				if err == nil {
					err = resp.Body.Close()
				}
				done <- err
			}()
			synctest.Wait()
			return done
		}
		first, giveUp := context.WithCancel(t.Context())
		a := send(first)
		b := send(t.Context())
		giveUp()
		if err := <-a; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up: %v", err)
		}
		select {
		case <-ended:
			t.Fatal("the asking ended with the one who asked first")
		default:
		}
		close(release)
		if err := <-b; err != nil {
			t.Errorf("who waited: %v", err)
		}

		release = make(chan struct{})
		transport.tokens.now = AccessToken{}
		last, giveUp := context.WithCancel(t.Context())
		c := send(last)
		giveUp()
		if err := <-c; !errors.Is(err, context.Canceled) {
			t.Errorf("the last one: %v", err)
		}
		<-ended
	})
}

func TestOddTokensAreRefused(t *testing.T) {
	t.Parallel()
	for _, token := range []AccessToken{{}, {Value: "a b"}, {Value: "a\r\nX: y"}, {Value: "ü"}, {Value: "t", Type: "a b"}} {
		client, server := clientOf(t, &demanding{}, &desk{}, func(c *TransportConfig) {
			c.Source = func(context.Context, TokenRequest) (AccessToken, error) { return token, nil }
		})
		if status, err := get(t, client, server.URL); err == nil {
			t.Errorf("%+v: %d", token, status)
		} else if token.Value != "" && token.Value != "t" && strings.Contains(err.Error(), token.Value) {
			t.Errorf("the error tells the token: %v", err)
		}
	}
}

func TestTransportConfig(t *testing.T) {
	t.Parallel()
	source := (&desk{}).token
	for name, c := range map[string]struct {
		cfg  TransportConfig
		want string
	}{
		"no source":      {TransportConfig{Hosts: []string{"a"}}, "Source: is missing"},
		"no hosts":       {TransportConfig{Source: source}, "Hosts: is empty"},
		"a URL":          {TransportConfig{Source: source, Hosts: []string{"https://a"}}, "Hosts[0]"},
		"a path":         {TransportConfig{Source: source, Hosts: []string{"a", "a/b"}}, "Hosts[1]"},
		"a port only":    {TransportConfig{Source: source, Hosts: []string{":80"}}, "Hosts[0]"},
		"odd capability": {TransportConfig{Source: source, Hosts: []string{"a"}, Capabilities: []string{""}}, "Capabilities[0]"},
		"negative":       {TransportConfig{Source: source, Hosts: []string{"a"}, Hold: -1}, "Hold"},
	} {
		if _, err := NewTransport(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
