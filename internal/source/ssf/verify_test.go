package ssf_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-io/countersign/internal/source/ssf"
)

// desk takes pushed tokens in for the tests, and remembers what it was given.
type desk struct {
	handler http.Handler

	mu     sync.Mutex
	values []string
	from   []string // whom each value is of
	err    error
}

func newDesk(transmitters ...*ssf.Transmitter) *desk {
	d := &desk{}
	d.handler = ssf.NewPush(transmitters, d.take)
	return d
}

func (d *desk) take(_ context.Context, transmitter string, values [][]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	for _, v := range values {
		d.values = append(d.values, string(v))
		d.from = append(d.from, transmitter)
	}
	return nil
}

func (d *desk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (d *desk) taken() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.values...)
}

// push sends a token as a transmitter would; change edits the request.
func (d *desk) push(token string, change func(r *http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/ssf/idp", strings.NewReader(token))
	r.Header.Set("Content-Type", "application/secevent+jwt")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Authorization", "Bearer "+pushToken)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w
}

// refusal is the body of an answer that is an error.
func refusal(t testing.TB, w *httptest.ResponseRecorder) ssf.Refusal {
	t.Helper()
	var r ssf.Refusal
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("answered %d %q", w.Code, w.Body)
	}
	return r
}

// unsigned makes a compact token of the given header with a signature that is none.
func unsigned(t testing.TB, header, claims any, signature string) string {
	t.Helper()
	part := func(v any) string { return base64.RawURLEncoding.EncodeToString([]byte(encode(t, v))) }
	return part(header) + "." + part(claims) + "." + signature
}

// Every token that is not right is refused with the code of RFC 8935 for it, told so with 400, and kept.
func TestRefusals(t *testing.T) {
	t.Parallel()
	weak := signer{"weak", jose.RS256, rsaKey(1024)}
	encryption := rs256().public()
	p := newParty(t, rs256(), es256(), weak)
	tr := p.transmitter(t, ssf.Deps{}, nil)
	claims := func(change func(c object)) object { return p.claims("j-1", change) }
	member := func(name string, value any) object { return claims(func(c object) { c[name] = value }) }
	without := func(name string) object { return claims(func(c object) { delete(c, name) }) }
	public, err := x509.MarshalPKIXPublicKey(rs256().key.Public())
	if err != nil {
		t.Fatal(err)
	}
	secret := func() string { // the public key taken for a shared secret
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: public, KeyID: "rs-1"}}, (&jose.SignerOptions{}).WithType("secevent+jwt"))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := s.Sign([]byte(encode(t, claims(nil))))
		if err != nil {
			t.Fatal(err)
		}
		compact, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return compact
	}
	right := rs256().sign(t, claims(nil), nil)
	parts := strings.Split(right, ".")
	stranger := signer{"rs-1", jose.RS256, other().key}
	for name, c := range map[string]struct {
		token string
		code  ssf.Code
		says  string
	}{
		"no token":                 {"hello", ssf.InvalidRequest, "no signed token"},
		"nothing":                  {"", ssf.InvalidRequest, "no signed token"},
		"encrypted":                {"a.b.c.d.e", ssf.InvalidRequest, "no signed token"},
		"JSON serialization":       {`{"payload":"e30","protected":"e30","signature":"e30"}`, ssf.InvalidRequest, "no signed token"},
		"alg none":                 {unsigned(t, object{"alg": "none", "typ": "secevent+jwt"}, claims(nil), ""), ssf.InvalidKey, "alg"},
		"alg HS256":                {secret(), ssf.InvalidKey, `alg: is "HS256"`},
		"alg of another key":       {unsigned(t, object{"alg": "ES256", "kid": "rs-1", "typ": "secevent+jwt"}, claims(nil), parts[2]), ssf.InvalidKey, `kid: "rs-1" is not for ES256`},
		"no typ":                   {rs256().sign(t, claims(nil), object{"typ": nil}), ssf.InvalidRequest, "typ"},
		"typ of an ID token":       {rs256().sign(t, claims(nil), object{"typ": "JWT"}), ssf.InvalidRequest, `typ: is "JWT"`},
		"typ of a logout token":    {rs256().sign(t, claims(nil), object{"typ": "logout+jwt"}), ssf.InvalidRequest, "typ"},
		"critical header":          {rs256().sign(t, claims(nil), object{"crit": []string{"exp"}, "exp": 1}), ssf.AuthenticationFailed, "signature"},
		"unknown kid":              {rs256().sign(t, claims(nil), object{"kid": "rs-9"}), ssf.InvalidKey, "none of the transmitter's"},
		"short key":                {weak.sign(t, claims(nil), nil), ssf.InvalidKey, "has 1024 bits"},
		"a stranger's key":         {stranger.sign(t, claims(nil), nil), ssf.AuthenticationFailed, "signature"},
		"a stranger's, without id": {stranger.sign(t, claims(nil), object{"kid": nil}), ssf.AuthenticationFailed, "signature"},
		"a key in the header":      {stranger.sign(t, claims(nil), object{"jwk": encryption}), ssf.AuthenticationFailed, "signature"},
		"cut signature":            {right[:len(right)-8], ssf.AuthenticationFailed, "signature"},
		"other claims":             {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(encode(t, member("jti", "j-2")))) + "." + parts[2], ssf.AuthenticationFailed, "signature"},
		"claims that are no JSON":  {rs256().sign(t, "{", nil), ssf.InvalidRequest, "is no JSON"},
		"claims in an array":       {rs256().sign(t, "[]", nil), ssf.InvalidRequest, "no JSON object"},
		"claims not UTF-8":         {rs256().sign(t, "{\"iss\":\"\xff\"}", nil), ssf.InvalidRequest, "UTF-8"},
		"no issuer":                {rs256().sign(t, without("iss"), nil), ssf.InvalidIssuer, "iss"},
		"another issuer":           {rs256().sign(t, member("iss", p.URL+"/"), nil), ssf.InvalidIssuer, "iss"},
		"issuer in an array":       {rs256().sign(t, member("iss", []string{p.URL}), nil), ssf.InvalidIssuer, "iss"},
		"no audience":              {rs256().sign(t, without("aud"), nil), ssf.InvalidAudience, "aud"},
		"another audience":         {rs256().sign(t, member("aud", audience+"/"), nil), ssf.InvalidAudience, "aud"},
		"others' audiences":        {rs256().sign(t, member("aud", []string{"https://a.example", "https://b.example"}), nil), ssf.InvalidAudience, "aud"},
		"no jti":                   {rs256().sign(t, without("jti"), nil), ssf.InvalidRequest, "jti: is missing"},
		"no iat":                   {rs256().sign(t, without("iat"), nil), ssf.InvalidRequest, "iat: is missing"},
		"iat to come":              {rs256().sign(t, member("iat", time.Now().Add(3*time.Minute).Unix()), nil), ssf.InvalidRequest, "in the future"},
		"iat long ago":             {rs256().sign(t, member("iat", time.Now().Add(-721*time.Hour).Unix()), nil), ssf.InvalidRequest, "at most 720h"},
		"sub":                      {rs256().sign(t, member("sub", "u1"), nil), ssf.InvalidRequest, "sub: is not allowed"},
		"exp":                      {rs256().sign(t, member("exp", time.Now().Add(time.Hour).Unix()), nil), ssf.InvalidRequest, "exp: is not allowed"},
		"no events":                {rs256().sign(t, without("events"), nil), ssf.InvalidRequest, "events"},
		"events in an array":       {rs256().sign(t, member("events", []string{caep + "session-revoked"}), nil), ssf.InvalidRequest, "events: is no object"},
		"event that is none":       {rs256().sign(t, member("events", object{caep + "session-revoked": nil}), nil), ssf.InvalidRequest, "is no object"},
		"two events":               {rs256().sign(t, member("events", object{caep + "session-revoked": object{}, risc + "account-disabled": object{}}), nil), ssf.InvalidRequest, "holds 2 events"},
		"no subject":               {rs256().sign(t, without("sub_id"), nil), ssf.InvalidRequest, "sub_id: is missing"},
		"against the definition":   {rs256().sign(t, member("events", object{caep + "credential-change": object{}}), nil), ssf.InvalidRequest, "credential_type: is missing"},
		"another issuer's user":    {rs256().sign(t, member("sub_id", object{"format": "iss_sub", "iss": "https://elsewhere.example", "sub": "u1"}), nil), ssf.AccessDenied, "sub_id.iss"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "unknown kid" {
				// Only who has just asked for the keys can say that there is no such key.
				fresh := p.transmitter(t, ssf.Deps{}, nil)
				refused(t, newDesk(fresh), fresh, c.token, c.code, c.says)
				return
			}
			refused(t, newDesk(tr), tr, c.token, c.code, c.says)
		})
	}
}

func refused(t *testing.T, d *desk, tr *ssf.Transmitter, token string, code ssf.Code, says string) {
	t.Helper()
	w := d.push(token, nil)
	if r := refusal(t, w); w.Code != http.StatusBadRequest || r.Code != code || !strings.Contains(r.Description, says) {
		t.Errorf("answered %d %s, want 400 %s %q", w.Code, w.Body, code, says)
	}
	if w.Header().Get("Content-Language") == "" {
		t.Error("there is no Content-Language")
	}
	values := d.taken()
	if len(values) != 1 {
		t.Fatalf("kept %q", values)
	}
	all := decode(tr.Decoder(), values[0])
	if len(all) != 1 || all[0].event != nil || all[0].record != token || !strings.HasPrefix(all[0].err.Error(), string(code)+": ") {
		t.Errorf("the dead letter is %+v", all)
	}
}

func TestRightTokensAreTaken(t *testing.T) {
	t.Parallel()
	ps512 := signer{"ps-1", jose.PS512, rs256().key}
	p := newParty(t, rs256(), es256(), eddsa(), ps512)
	for name, c := range map[string]struct {
		token  string
		change func(c *ssf.Config)
	}{
		"RS256":             {rs256().sign(t, p.claims("a", nil), nil), nil},
		"ES256":             {es256().sign(t, p.claims("b", nil), nil), nil},
		"EdDSA":             {eddsa().sign(t, p.claims("l", nil), nil), nil},
		"PS512":             {ps512.sign(t, p.claims("m", nil), nil), nil},
		"no kid":            {es256().sign(t, p.claims("c", nil), object{"kid": nil}), nil},
		"long typ":          {rs256().sign(t, p.claims("d", nil), object{"typ": "application/SecEvent+JWT"}), nil},
		"line break":        {rs256().sign(t, p.claims("e", nil), nil) + "\r\n", nil},
		"several audiences": {rs256().sign(t, p.claims("f", func(c object) { c["aud"] = []string{"https://a.example", audience} }), nil), nil},
		"one minute ahead":  {rs256().sign(t, p.claims("g", func(c object) { c["iat"] = time.Now().Add(time.Minute).Unix() }), nil), nil},
		"unknown members":   {rs256().sign(t, p.claims("h", func(c object) { c["x"], c["y"] = object{"z": []int{1}}, nil }), nil), nil},
		"okta: two events, sub, exp": {rs256().sign(t, p.claims("i", func(c object) {
			c["sub"], c["exp"], c["events"] = "u1", 1, object{caep + "session-revoked": object{}, risc + "account-disabled": object{}}
		}), nil), func(c *ssf.Config) { c.Dialect = ssf.Okta }},
		"google: no typ": {rs256().sign(t, p.claims("j", nil), object{"typ": nil}), func(c *ssf.Config) { c.Dialect = ssf.Google }},
		"google: JWT":    {rs256().sign(t, p.claims("k", nil), object{"typ": "JWT"}), func(c *ssf.Config) { c.Dialect = ssf.Google }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := p.transmitter(t, ssf.Deps{}, c.change)
			d := newDesk(tr)
			w := d.push(c.token, nil)
			if w.Code != http.StatusAccepted || w.Body.Len() != 0 {
				t.Errorf("answered %d %q", w.Code, w.Body)
			}
			for _, value := range d.taken() {
				for _, r := range decode(tr.Decoder(), value) {
					if r.err != nil || r.event.Tenant != tenant || r.event.User.ID != userID {
						t.Errorf("%+v", r)
					}
				}
			}
		})
	}
}

// Types that nobody here understands, and subjects that are nobody here, are received: the transmitter did nothing wrong.
func TestWhatHasNoPlaceHereIsReceived(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	p.metadata = object{"critical_subject_members": []string{"user", "org_unit"}}
	tr := p.transmitter(t, ssf.Deps{}, nil)
	user := object{"format": "iss_sub", "iss": p.URL, "sub": userID}
	for name, c := range map[string]struct {
		change func(c object)
		says   string // the dead letter
	}{
		"unknown type": {func(c object) { c["events"] = object{"https://example.com/new": object{}} }, "are left out (category)"},
		"our own type": {func(c object) {
			c["events"] = object{"https://schemas.countersign.io/secevent/event-type/step-up-required": object{}}
		}, "are left out (own)"},
		"verification": {func(c object) {
			c["events"], c["sub_id"] = object{own + "verification": object{"state": nil}}, object{"format": "opaque", "id": "stream"}
		}, "are left out (stream)"},
		"a device alone": {func(c object) {
			c["sub_id"] = object{"format": "complex", "device": object{"format": "opaque", "id": "d"}}
		}, "names no user"},
		"critical members": {func(c object) {
			c["sub_id"] = object{"format": "complex", "user": user, "org_unit": object{"format": "opaque", "id": "o"}}
		}, "sub_id.org_unit: is critical"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(tr)
			if w := d.push(rs256().sign(t, p.claims("j", c.change), nil), nil); w.Code != http.StatusAccepted || w.Body.Len() != 0 {
				t.Errorf("answered %d %q", w.Code, w.Body)
			}
			values := d.taken()
			if len(values) != 1 {
				t.Fatalf("%d values", len(values))
			}
			if all := decode(tr.Decoder(), values[0]); len(all) != 1 || all[0].err == nil || !strings.Contains(all[0].err.Error(), c.says) {
				t.Errorf("%+v, want %q", all, c.says)
			}
		})
	}
	// Members that are understood, or not critical, are no hindrance.
	d := newDesk(tr)
	d.push(rs256().sign(t, p.claims("j", func(c object) {
		c["sub_id"] = object{"format": "complex", "user": user, "group": object{"format": "opaque", "id": "g"}}
	}), nil), nil)
	if all := decode(tr.Decoder(), d.taken()[0]); len(all) != 1 || all[0].err != nil {
		t.Errorf("%+v", all)
	}
}
