package stepupssf_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-io/countersign/stepup"
	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

// known gives the application an audience, so that it takes pushes without Run.
func known(c *stepupssf.Config) { c.Audience = []string{"https://elsewhere.example", audience} }

// post hands a push to the receiver.
func (a *app) post(set string, edit func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/ssf", strings.NewReader(set))
	r.Header.Set("Content-Type", "application/secevent+jwt")
	r.Header.Set("Authorization", secretHeader)
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

// refusal is the code of an answer; "" for 202.
func refusal(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	if w.Code == http.StatusAccepted {
		if w.Body.Len() > 0 {
			t.Errorf("202 with a body: %s", w.Body)
		}
		return ""
	}
	var body struct{ Err, Description string }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Description == "" ||
		w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Content-Language") == "" {
		t.Errorf("%d %v %s: %v", w.Code, w.Header(), w.Body, err)
	}
	if w.Code != http.StatusBadRequest {
		return http.StatusText(w.Code)
	}
	return body.Err
}

func TestOnlyRightSETsAreAccepted(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	p.keys = []signer{key1(), short(), curve()}
	a := p.app(stepupssf.Push, known)
	now := time.Now().Unix()
	edit := func(change func(object)) string {
		return key1().sign(p.claims(p.jti(), caep+"credential-change", object{}, change), nil)
	}
	header := func(h object) string {
		return key1().sign(p.claims(p.jti(), caep+"credential-change", object{}, nil), h)
	}
	right := edit(nil)
	parts := strings.Split(right, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"secevent+jwt"}`)) + "." + parts[1] + "."
	forged := key2()
	forged.kid = key1().kid
	for name, c := range map[string]struct{ set, want string }{
		"right":                      {right, ""},
		"with white space":           {" " + edit(nil) + "\r\n", ""},
		"typ in full":                {header(object{"typ": "application/secevent+jwt"}), ""},
		"no kid":                     {header(object{"kid": nil}), ""},
		"several audiences":          {edit(func(c object) { c["aud"] = []string{"x", audience} }), ""},
		"iat in milliseconds":        {edit(func(c object) { c["iat"] = time.Now().UnixMilli() }), ""},
		"iat a little ahead":         {edit(func(c object) { c["iat"] = now + 30 }), ""},
		"no txn":                     {edit(func(c object) { delete(c, "txn") }), ""},
		"unknown members":            {edit(func(c object) { c["extra"] = []any{1, object{}} }), ""},
		"subject inside the event":   {edit(func(c object) { c["events"] = object{"urn:x": object{"subject": c["sub_id"]}}; delete(c, "sub_id") }), ""},
		"a phone, misspelt":          {edit(func(c object) { c["sub_id"] = object{"format": "phone_number", "phone": "+15550100"} }), ""},
		"an unknown format":          {edit(func(c object) { c["sub_id"] = object{"format": "urn:x", "x": 1} }), ""},
		"another member of complex":  {edit(func(c object) { c["sub_id"].(object)["device"] = opaque("d1") }), ""},
		"not a JWS":                  {"hello", "invalid_request"},
		"empty":                      {"", "invalid_request"},
		"JSON serialization":         {`{"payload":"","signatures":[]}`, "invalid_request"},
		"alg none":                   {none, "invalid_key"},
		"alg not in the list":        {curve().sign(p.claims("j", caep+"credential-change", object{}, nil), nil), "invalid_key"},
		"typ JWT":                    {header(object{"typ": "JWT"}), "invalid_request"},
		"no typ":                     {header(object{"typ": nil}), "invalid_request"},
		"key of 1024 bits":           {short().sign(p.claims("j", caep+"credential-change", object{}, nil), nil), "invalid_key"},
		"forged":                     {forged.sign(p.claims("j", caep+"credential-change", object{}, nil), nil), "authentication_failed"},
		"payload changed":            {parts[0] + "." + strings.Split(edit(nil), ".")[1] + "." + parts[2], "authentication_failed"},
		"another issuer":             {edit(func(c object) { c["iss"] = p.issuer() + "/" }), "invalid_issuer"},
		"another issuer, forged too": {forged.sign(object{"iss": "https://evil.example", "iat": now, "jti": "j", "events": object{"x": object{}}, "sub_id": opaque("u")}, nil), "invalid_issuer"},
		"another audience":           {edit(func(c object) { c["aud"] = "https://other.example" }), "invalid_audience"},
		"no audience":                {edit(func(c object) { delete(c, "aud") }), "invalid_audience"},
		"sub":                        {edit(func(c object) { c["sub"] = "u1" }), "invalid_request"},
		"exp":                        {edit(func(c object) { c["exp"] = now + 60 }), "invalid_request"},
		"no iat":                     {edit(func(c object) { delete(c, "iat") }), "invalid_request"},
		"iat as text":                {edit(func(c object) { c["iat"] = "now" }), "invalid_request"},
		"iat negative":               {edit(func(c object) { c["iat"] = -1 }), "invalid_request"},
		"iat too far ahead":          {edit(func(c object) { c["iat"] = now + 120 }), "Service Unavailable"},
		"iat absurdly far ahead":     {edit(func(c object) { c["iat"] = now + 25*3600 }), "invalid_request"},
		"iat too long ago":           {edit(func(c object) { c["iat"] = now - 8*24*3600 }), "invalid_request"},
		"no jti":                     {edit(func(c object) { delete(c, "jti") }), "invalid_request"},
		"long jti":                   {edit(func(c object) { c["jti"] = strings.Repeat("j", 257) }), "invalid_request"},
		"no events":                  {edit(func(c object) { delete(c, "events") }), "invalid_request"},
		"two events":                 {edit(func(c object) { c["events"].(object)["urn:x"] = object{} }), "invalid_request"},
		"event is text":              {edit(func(c object) { c["events"] = object{"urn:x": "y"} }), "invalid_request"},
		"no subject":                 {edit(func(c object) { delete(c, "sub_id") }), "invalid_request"},
		"subject is text":            {edit(func(c object) { c["sub_id"] = "u1" }), "invalid_request"},
		"complex within complex":     {edit(func(c object) { c["sub_id"].(object)["user"] = subject("u", "") }), "invalid_request"},
		"too many members": {edit(func(c object) {
			for i := range 20 {
				c["sub_id"].(object)[strings.Repeat("x", i+1)] = opaque("y")
			}
		}), "invalid_request"},
		"own type without members": {edit(func(c object) { c["events"] = object{stepup.EventStepUpRequired: object{}} }), "invalid_request"},
		"own type with a bad acr": {edit(func(c object) {
			members := required("r", "open")
			members["acr_values"] = []string{"p\"hr"}
			c["events"] = object{stepup.EventStepUpRequired: members}
		}), "invalid_request"},
		"verification of another stream": {edit(func(c object) { c["events"] = object{own + "verification": object{"state": 7}} }), "invalid_request"},
		"an odd status":                  {edit(func(c object) { c["events"] = object{own + "stream-updated": object{"status": "odd"}} }), "invalid_request"},
	} {
		if got := refusal(t, a.post(c.set, nil)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if s := a.index.Stats(); s != (stepup.Stats{}) {
		t.Errorf("something reached the index: %+v", s)
	}
}

// TestASlowClockLosesNothing: what seems to be issued in the future comes again until the clock is right, and the index gets
// stale meanwhile.
func TestASlowClockLosesNothing(t *testing.T) {
	for _, delivery := range []stepupssf.Delivery{stepupssf.Push, stepupssf.Poll} {
		t.Run(string(delivery), func(t *testing.T) {
			bubble(t, delivery, func(*transmitter, *stepupssf.Config) {}, func(t *testing.T, p *transmitter, a *app) {
				elapse(time.Minute)
				set := key1().sign(p.claims("j1", stepup.EventStepUpRequired, required("r-u1", "open"), func(c object) {
					c["sub_id"], c["iat"] = subject("u1", ""), time.Now().Add(10*time.Minute).Unix()
				}), nil)
				if delivery == stepupssf.Push {
					w := a.post(set, nil)
					if got := refusal(t, w); got != "Service Unavailable" || w.Header().Get("Retry-After") != "300" {
						t.Errorf("%q, %v", got, w.Header())
					}
				} else {
					p.offer(offered{"j1", set})
				}
				elapse(8 * time.Minute)
				if got := p.settled("j1"); got != "" || a.open("u1") || a.Stats().Refused != 0 {
					t.Errorf("settled %q, open %v, %+v", got, a.open("u1"), a.Stats())
				}
				if age, _ := a.index.Fresh(); delivery == stepupssf.Poll && age < 7*time.Minute {
					t.Errorf("%v old, although a SET is not taken in yet", age)
				}
				elapse(2 * time.Minute) // the clock is right
				if delivery == stepupssf.Push {
					if got := refusal(t, a.post(set, nil)); got != "" {
						t.Error(got)
					}
				}
				synctest.Wait()
				if !a.open("u1") {
					t.Error("it was lost")
				}
			})
		})
	}
}

func TestAlgorithmsAreThoseOfTheConfiguration(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	p.keys = []signer{key1(), curve()}
	a := p.app(stepupssf.Push, func(c *stepupssf.Config) {
		known(c)
		c.Algorithms = []string{"ES256", "PS256"}
	})
	ps := key1()
	ps.alg = "PS256"
	claims := p.claims("j", caep+"credential-change", object{}, nil)
	if got := refusal(t, a.post(curve().sign(claims, nil), nil)); got != "" {
		t.Errorf("ES256: %s", got)
	}
	if got := refusal(t, a.post(ps.sign(claims, nil), nil)); got != "invalid_key" {
		t.Errorf("PS256 with a key that is published for RS256: %q", got)
	}
	if got := refusal(t, a.post(key1().sign(claims, nil), nil)); got != "invalid_key" {
		t.Errorf("RS256: %q", got)
	}
}

// TestARotationRefusesNothing: a SET by a key that was not known is judged by keys that are younger than it, and until
// then it has to come again. A key that is gone from the set is not believed any more once the set is known.
func TestARotationRefusesNothing(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	a := p.app(stepupssf.Push, known)
	by := func(s signer) string {
		return refusal(t, a.post(s.sign(p.claims(p.jti(), caep+"credential-change", object{}, nil), nil), nil))
	}
	if got := by(key1()); got != "" {
		t.Fatal(got)
	}
	// Within 30 seconds of the last look nobody is asked again: neither for a new key, nor for many.
	p.with(func() { p.keys = []signer{key1(), key2()} })
	for range 20 {
		if got := by(key2()); got != "Service Unavailable" {
			t.Errorf("a key that may be new: %q, want to be asked again later", got)
		}
	}
	if p.jwks != 1 {
		t.Errorf("the keys were asked for %d times", p.jwks)
	}
	// A receiver that knows none yet learns both, and refuses a third at once, for it has just looked.
	fresh := p.app(stepupssf.Push, known)
	a = fresh
	if got := by(key2()); got != "" {
		t.Errorf("the new key: %q", got)
	}
	stranger := key2()
	stranger.kid = "stranger"
	if got := by(stranger); got != "Service Unavailable" {
		t.Errorf("an unknown key: %q", got)
	}
	p.with(func() { p.keys = []signer{key2()} })
	a = p.app(stepupssf.Push, known)
	if got := by(key1()); got != "invalid_key" {
		t.Errorf("a withdrawn key: %q", got)
	}
}

func TestSETsWaitForKeysThatCannotBeHad(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	p.fail = func(r *http.Request) int {
		if r.URL.Path == "/jwks" {
			return http.StatusInternalServerError
		}
		return 0
	}
	a := p.app(stepupssf.Push, known)
	w := a.post(p.stepUp("j1", "u1", "open"), nil)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if s := a.Stats(); s.Postponed != 1 || s.Refused != 0 {
		t.Errorf("%+v", s)
	}
}

func TestMetadataOfAnotherIssuerAreRefused(t *testing.T) {
	t.Parallel()
	for name, metadata := range map[string]object{
		"another": {"issuer": "https://evil.example"}, "none": {"issuer": nil}, "plain keys": {"jwks_uri": "http://evil.example/jwks"},
		"plain endpoint": {"configuration_endpoint": "http://evil.example/"},
	} {
		p := newTransmitter(t)
		p.metadata = metadata
		a := p.app(stepupssf.Push, known)
		if got := refusal(t, a.post(p.stepUp("j1", "u1", "open"), nil)); got != "Service Unavailable" || a.open("u1") {
			t.Errorf("%s: %q", name, got)
		}
	}
}
