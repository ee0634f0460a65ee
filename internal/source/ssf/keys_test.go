package ssf_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-io/countersign/internal/source/ssf"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

// status pushes a token signed by s and returns how it was answered.
func status(t *testing.T, p *party, d *desk, s signer) int {
	t.Helper()
	return d.push(s.sign(t, p.claims("j", nil), nil), nil).Code
}

// A new key is asked for when a token names it, at most once a minute; in between nobody can say, so the token is to come
// again.
func TestRotation(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	clock := &clock{}
	d := newDesk(p.transmitter(t, ssf.Deps{Now: clock.now}, nil))
	if got := status(t, p, d, rs256()); got != http.StatusAccepted {
		t.Fatalf("the first key: %d", got)
	}
	w := d.push(other().sign(t, p.claims("j", nil), nil), nil)
	if after, _ := strconv.Atoi(w.Header().Get("Retry-After")); w.Code != http.StatusServiceUnavailable || after < 50 || after > 60 {
		t.Errorf("an unknown key right after: %d, Retry-After %d", w.Code, after)
	}
	p.publish(rs256(), other())
	clock.advance(time.Minute)
	for range 3 {
		if got := status(t, p, d, other()); got != http.StatusAccepted {
			t.Errorf("the new key: %d", got)
		}
	}
	if got := status(t, p, d, rs256()); got != http.StatusAccepted {
		t.Errorf("the old key, still published: %d", got)
	}
	if n := p.asked("/jwks"); n != 2 {
		t.Errorf("the keys were asked for %d times", n)
	}
	clock.advance(time.Minute)
	if got := status(t, p, d, es256()); got != http.StatusBadRequest {
		t.Errorf("a key that nobody published: %d", got)
	}
	if n := p.asked("/jwks"); n != 3 {
		t.Errorf("the keys were asked for %d times", n)
	}
}

// Plain http is for transmitters on this machine: one elsewhere must not have us ask something here.
func TestKeysOfAnHTTPSIssuerComeByHTTPS(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	var issuer string
	remote := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		write(w, object{"issuer": issuer, "jwks_uri": p.URL + "/jwks"})
	}))
	t.Cleanup(remote.Close)
	issuer = remote.URL
	d := newDesk(p.transmitter(t, ssf.Deps{Transport: remote.Client().Transport}, func(c *ssf.Config) { c.Issuer = issuer }))
	w := d.push(rs256().sign(t, p.claims("j", func(c object) { c["iss"] = issuer }), nil), nil)
	if w.Code != http.StatusServiceUnavailable || p.asked("/jwks") != 0 {
		t.Errorf("answered %d, the keys were asked for %d times", w.Code, p.asked("/jwks"))
	}
}

// A key that is withdrawn is refused within the hour.
func TestWithdrawnKeys(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256(), es256())
	clock := &clock{}
	d := newDesk(p.transmitter(t, ssf.Deps{Now: clock.now}, nil))
	if got := status(t, p, d, rs256()); got != http.StatusAccepted {
		t.Fatal(got)
	}
	p.publish(es256())
	clock.advance(59 * time.Minute)
	if got := status(t, p, d, rs256()); got != http.StatusAccepted {
		t.Errorf("within the hour: %d", got)
	}
	clock.advance(time.Minute)
	if got := status(t, p, d, rs256()); got != http.StatusBadRequest {
		t.Errorf("after the hour: %d", got)
	}
}

// A transmitter that does not answer does not stop what its known keys have signed, for a day.
func TestKeysOutliveTheirTransmitter(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	clock := &clock{}
	d := newDesk(p.transmitter(t, ssf.Deps{Now: clock.now}, func(c *ssf.Config) { c.JWKSURL = p.URL + "/jwks" }))
	p.Script(upstreamtest.Broken)
	if w := d.push(rs256().sign(t, p.claims("j", nil), nil), nil); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "2" {
		t.Errorf("no keys yet: %d, %v", w.Code, w.Header())
	}
	clock.advance(2 * time.Second)
	if got := status(t, p, d, rs256()); got != http.StatusAccepted {
		t.Fatalf("keys: %d", got)
	}
	for _, fault := range []upstreamtest.Fault{upstreamtest.Broken, upstreamtest.HungUp, upstreamtest.Truncated, upstreamtest.Short, upstreamtest.Gone} {
		clock.advance(2 * time.Hour)
		p.Script(fault)
		if got := status(t, p, d, rs256()); got != http.StatusAccepted {
			t.Errorf("%s: %d", fault, got)
		}
	}
	clock.advance(25 * time.Hour)
	p.Script(upstreamtest.Broken)
	if got := status(t, p, d, rs256()); got != http.StatusServiceUnavailable {
		t.Errorf("keys of yesterday: %d", got)
	}
	if p.Left() != 0 {
		t.Errorf("%d faults were not met", p.Left())
	}
}

// Tokens without a key id are tried with every key, and with new ones when none fits.
func TestRotationWithoutKeyIDs(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	clock := &clock{}
	d := newDesk(p.transmitter(t, ssf.Deps{Now: clock.now}, nil))
	push := func(s signer) int {
		return d.push(s.sign(t, p.claims("j", nil), object{"kid": nil}), nil).Code
	}
	if got := push(rs256()); got != http.StatusAccepted {
		t.Fatal(got)
	}
	if got := push(other()); got != http.StatusBadRequest {
		t.Errorf("a stranger: %d", got)
	}
	p.publish(rs256(), other())
	clock.advance(time.Minute)
	if got := push(other()); got != http.StatusAccepted {
		t.Errorf("the new key: %d", got)
	}
}

// However many tokens name an unknown key at once, it is asked for once.
func TestManyTokensOneQuestion(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	d := newDesk(p.transmitter(t, ssf.Deps{}, nil))
	token := rs256().sign(t, p.claims("j", nil), nil)
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if w := d.push(token, nil); w.Code != http.StatusAccepted {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
		})
	}
	all.Wait()
	if n := p.asked("/jwks"); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
}

func TestWhereKeysAre(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	set := file(t, encode(t, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{rs256().public()}}))
	for name, c := range map[string]struct {
		change func(c *ssf.Config)
		issuer string
		asks   string
	}{
		"metadata":               {nil, p.URL, "/.well-known/ssf-configuration"},
		"metadata of a tenant":   {func(c *ssf.Config) { c.Issuer = p.URL + "/acme" }, p.URL + "/acme", "/.well-known/ssf-configuration/acme"},
		"metadata by Google":     {func(c *ssf.Config) { c.Dialect, c.Issuer = ssf.Google, p.URL+"/" }, p.URL + "/", "/.well-known/risc-configuration"},
		"an address":             {func(c *ssf.Config) { c.JWKSURL = p.URL + "/jwks" }, p.URL, "/jwks"},
		"a file, and no network": {func(c *ssf.Config) { c.JWKSFile, c.Issuer = set, "https://idp.example.com" }, "https://idp.example.com", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(p.transmitter(t, ssf.Deps{}, func(cfg *ssf.Config) {
				if cfg.Subjects.Issuers = []string{p.URL}; c.change != nil {
					c.change(cfg)
				}
			}))
			before := p.asked(c.asks)
			token := rs256().sign(t, p.claims("j", func(claims object) { claims["iss"] = c.issuer }), nil)
			if w := d.push(token, nil); w.Code != http.StatusAccepted {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
			if c.asks != "" && p.asked(c.asks) == before {
				t.Errorf("%s was not asked for", c.asks)
			}
		})
	}
}

// Metadata that are another's, or lead elsewhere, give no keys.
func TestMetadataThatCannotBeTrusted(t *testing.T) {
	t.Parallel()
	for name, metadata := range map[string]object{
		"another issuer":    {"issuer": "https://elsewhere.example"},
		"a trailing slash":  {"issuer": "http://127.0.0.1/"},
		"plain http":        {"jwks_uri": "http://192.0.2.1/jwks"},
		"no keys":           {"jwks_uri": nil},
		"a file":            {"jwks_uri": "file:///etc/passwd"},
		"keys of odd types": {"jwks_uri": 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, rs256())
			p.metadata = metadata
			d := newDesk(p.transmitter(t, ssf.Deps{}, nil))
			if got := status(t, p, d, rs256()); got != http.StatusServiceUnavailable || len(d.taken()) != 0 {
				t.Errorf("answered %d", got)
			}
		})
	}
}

// Of the keys that a transmitter publishes, those are left out that are no public keys for signatures.
func TestOddKeySets(t *testing.T) {
	t.Parallel()
	good := encode(t, rs256().public())
	wrongUse := rs256().public()
	wrongUse.Use = "enc"
	wrongAlg := rs256().public()
	wrongAlg.Algorithm = "PS256"
	oct := `{"kty":"oct","kid":"rs-1","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}`
	for name, c := range map[string]struct {
		keys string
		want int // 0 when the file is refused at the start
	}{
		"good among odd ones": {`{"keys":[{"kty":"XYZ","kid":"rs-1"},5,"x",null,` + oct + `,` + good + `]}`, http.StatusAccepted},
		"private":             {`{"keys":[` + encode(t, jose.JSONWebKey{Key: rs256().key, KeyID: "rs-1"}) + `]}`, http.StatusAccepted},
		"no use, no alg":      {`{"keys":[` + encode(t, jose.JSONWebKey{Key: rs256().key.Public(), KeyID: "rs-1"}) + `]}`, http.StatusAccepted},
		"for encryption":      {`{"keys":[` + encode(t, wrongUse) + `]}`, http.StatusBadRequest},
		"for another alg":     {`{"keys":[` + encode(t, wrongAlg) + `]}`, http.StatusBadRequest},
		"a secret only":       {`{"keys":[` + oct + `]}`, 0},
		"no JSON":             {`{"keys":[`, 0},
		"no set":              {good, 0},
		"empty":               {`{"keys":[]}`, 0},
		"very many":           {`{"keys":[` + strings.Repeat(good+",", 100) + good + `]}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t)
			cfg := p.config(t)
			cfg.JWKSFile = file(t, c.keys)
			tr, err := ssf.New(cfg, ssf.Deps{})
			if c.want == 0 {
				if err == nil || !strings.Contains(err.Error(), "jwks_file: ") {
					t.Errorf("New: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := status(t, p, newDesk(tr), rs256()); got != c.want {
				t.Errorf("answered %d, want %d", got, c.want)
			}
		})
	}
}

// A file of keys is read again for an unknown key.
func TestKeyFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	clock := &clock{}
	path := filepath.Join(t.TempDir(), "jwks.json")
	publish := func(s signer) {
		if err := os.WriteFile(path, fmt.Appendf(nil, `{"keys":[%s]}`, encode(t, s.public())), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	publish(rs256())
	d := newDesk(p.transmitter(t, ssf.Deps{Now: clock.now}, func(c *ssf.Config) { c.JWKSFile = path }))
	if got := status(t, p, d, rs256()); got != http.StatusAccepted {
		t.Fatal(got)
	}
	publish(es256())
	clock.advance(time.Minute)
	if got := status(t, p, d, es256()); got != http.StatusAccepted {
		t.Errorf("the new key: %d", got)
	}
}
