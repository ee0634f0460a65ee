package stream

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

const oauthSecret = "not-a-real-secret"

// tokenServer issues numbered tokens to one client.
type tokenServer struct {
	*httptest.Server
	lifetime time.Duration

	mu     sync.Mutex
	issued int
	scope  string
	denied bool
}

func newTokenServer(t *testing.T, lifetime time.Duration) *tokenServer {
	t.Helper()
	s := &tokenServer{lifetime: lifetime}
	s.Server = httptest.NewServer(http.HandlerFunc(s.token))
	t.Cleanup(s.Close)
	return s
}

func (s *tokenServer) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	id, secret, _ := r.BasicAuth()
	if s.denied || id != "countersign" || secret != oauthSecret || r.FormValue("grant_type") != "client_credentials" {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"invalid_client","error_description":"`+secret+`"}`)
		return
	}
	s.scope = r.FormValue("scope")
	s.issued++
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": fmt.Sprintf("token-%d", s.issued), "token_type": "Bearer", "expires_in": int(s.lifetime.Seconds()),
	})
}

func (s *tokenServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued
}

// bearerBroker is a fake broker that takes SASL OAUTHBEARER, and keeps the initial responses it was shown.
type bearerBroker struct {
	fake *kafkatest.FakeCluster

	mu     sync.Mutex
	shown  []string
	refuse string // the challenge that answers a token; "" accepts it
}

func newBearerBroker(t *testing.T) *bearerBroker {
	t.Helper()
	b := &bearerBroker{fake: kafkatest.Fake(t)}
	b.fake.ControlKey(int16(kmsg.SASLHandshake), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.fake.KeepControl()
		res := req.ResponseKind().(*kmsg.SASLHandshakeResponse)
		res.SupportedMechanisms = []string{"OAUTHBEARER"}
		if req.(*kmsg.SASLHandshakeRequest).Mechanism != "OAUTHBEARER" {
			res.ErrorCode = 33 // UNSUPPORTED_SASL_MECHANISM
		}
		return res, nil, true
	})
	b.fake.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.fake.KeepControl()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.shown = append(b.shown, string(req.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes))
		res := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		res.SASLAuthBytes = []byte(b.refuse)
		return res, nil, true
	})
	return b
}

func (b *bearerBroker) tokens() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.shown...)
}

func (b *bearerBroker) connect(t *testing.T, tokens *tokenServer) *Cluster {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Brokers = b.fake.Addrs()[:1]
	cfg.SASL = SASLConfig{Mechanism: SASLOAuthBearer, OAuth: OAuthConfig{
		TokenURL: tokens.URL + "/token", ClientID: "countersign", Scope: "kafka",
		ClientSecretFile: writeFile(t, filepath.Join(t.TempDir(), "secret"), []byte(oauthSecret+"\n")),
	}}
	c, err := Connect(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestOAuthBearerShowsATokenOnBothWays(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	b, tokens := newBearerBroker(t), newTokenServer(t, time.Hour)
	c := b.connect(t, tokens)
	if err := c.Ping(t.Context()); err != nil { // over the dialer
		t.Fatal(err)
	}
	if err := c.EnsureTopics(t.Context(), []TopicSpec{{Name: "topic", Partitions: 1, Replication: 1}}); err != nil { // over the transport
		t.Fatal(err)
	}
	shown := b.tokens()
	if len(shown) < 2 {
		t.Fatalf("%d connections were authenticated, want one each way", len(shown))
	}
	for _, got := range shown {
		if want := "n,,\x01auth=Bearer token-1\x01\x01"; got != want {
			t.Errorf("initial response %q, want %q", got, want)
		}
	}
	if tokens.count() != 1 || tokens.scope != "kafka" {
		t.Errorf("%d tokens were issued, for scope %q; want one for kafka", tokens.count(), tokens.scope)
	}
}

// A token that ends soon is not shown to a new connection.
func TestOAuthBearerRefreshesTokens(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	b, tokens := newBearerBroker(t), newTokenServer(t, tokenMargin-time.Second)
	c := b.connect(t, tokens)
	for n := 1; n <= 3; n++ {
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		shown := b.tokens()
		if want := fmt.Sprintf("Bearer token-%d\x01", n); len(shown) != n || !strings.Contains(shown[n-1], want) {
			t.Fatalf("connection %d showed %q, want %q", n, shown, want)
		}
	}
}

func TestOAuthBearerSaysWhyItIsRefused(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	b, tokens := newBearerBroker(t), newTokenServer(t, time.Hour)
	for challenge, want := range map[string]string{
		`{"status":"invalid_scope","scope":"other"}`: "invalid_scope",
		`no JSON`: "invalid_token",
	} {
		b.mu.Lock()
		b.refuse = challenge
		b.mu.Unlock()
		err := b.connect(t, tokens).Ping(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "token-") {
			t.Errorf("%s: error is %v, want one with %q and without the token", challenge, err, want)
		}
	}
	tokens.mu.Lock()
	tokens.denied = true
	tokens.mu.Unlock()
	err := b.connect(t, tokens).Ping(t.Context())
	if err == nil || !strings.Contains(err.Error(), "invalid_client") || strings.Contains(err.Error(), oauthSecret) {
		t.Errorf("error is %v, want one with invalid_client and without the secret", err)
	}
	tokens.Close()
	if err := b.connect(t, tokens).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "asking for a token") {
		t.Errorf("error is %v, want one that says that no token could be had", err)
	}
}

func TestOAuthBearerIsValidated(t *testing.T) {
	t.Parallel()
	good := OAuthConfig{TokenURL: "https://login.example.com/token", ClientID: "c", ClientSecretFile: "secret"}
	for _, c := range []struct {
		sasl SASLConfig
		want string // of the error; "" is none
	}{
		{SASLConfig{Mechanism: SASLOAuthBearer, OAuth: good}, ""},
		{SASLConfig{Mechanism: SASLOAuthBearer}, "sasl.oauth.token_url: is no address"},
		{SASLConfig{Mechanism: SASLOAuthBearer}, "sasl.oauth.client_id: empty"},
		{SASLConfig{Mechanism: SASLOAuthBearer}, "sasl.oauth.client_secret_file: empty"},
		{SASLConfig{Mechanism: SASLOAuthBearer, Username: "u", OAuth: good}, "sasl.username:"},
		{SASLConfig{Mechanism: SASLPlain, Username: "u", PasswordFile: "p", OAuth: good}, "sasl.oauth: is for oauthbearer only"},
		{SASLConfig{OAuth: good}, "sasl.mechanism: empty although"},
		{SASLConfig{Mechanism: SASLOAuthBearer, OAuth: OAuthConfig{TokenURL: "http://login.example.com/token", ClientID: "c", ClientSecretFile: "f"}}, "unencrypted"},
	} {
		cfg := DefaultConfig()
		cfg.SASL = c.sasl
		err := cfg.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error is %v, want %q", c.sasl, err, c.want)
		}
	}
}
