package ssf_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
	"github.com/countersign-io/countersign/internal/source/ssf"
)

// FuzzClaims holds the decoder of claims sets to its laws: of every record comes an event or an error; an event is of
// somebody, at some time, and can be written and read back; and neither the order of members nor blanks mean anything.
func FuzzClaims(f *testing.F) {
	complete := `{"format":"complex","user":` + simple + `,"session":{"format":"opaque","id":"s9"},"device":{"format":"aliases","identifiers":[{"id":"d"}]}}`
	for kind, members := range everyType() {
		f.Add(set(kind, complete, encode(f, members)))
	}
	f.Add(set(caep+"session-established", `{"format":"email","email":"j@example.com"}`, `{"event_timestamp":1772612100104,"amr":["pwd","otp"],"ips":["192.0.2.1:443"]}`))
	f.Add(`[` + set(caep+"session-revoked", simple, `{"sid":"s","reason_admin":{"nl":"x","en":"y"}}`) + `,5,{}]`)
	f.Add(`{"iss":"i","iat":1772612131,"jti":"j","sub":"u","toe":1.5,"exp":null,"events":{"` + caep + `session-revoked":{},"` + risc + `account-disabled":{"reason":"hijacking"}}}`)
	f.Fuzz(func(t *testing.T, value string) {
		all := decode(ssf.Claims(), value)
		for _, r := range all {
			if (r.event == nil) == (r.err == nil) {
				t.Fatalf("event %v and error %v", r.event, r.err)
			}
			if len(r.record) > len(value) {
				t.Error("a record longer than the value")
			}
			if r.event != nil {
				lawful(t, *r.event)
			}
		}
		if again := decode(ssf.Claims(), value); len(again) != len(all) {
			t.Errorf("%d results, and then %d", len(all), len(again))
		}
		reordered(t, value, all)
	})
}

func lawful(t *testing.T, e events.Event) {
	t.Helper()
	if e.User.ID == "" || e.Source.ID == "" || e.Time == 0 || e.Kind == "" || e.Source.Category == "" {
		t.Errorf("an event of nothing: %+v", e)
	}
	for _, id := range []string{e.User.ID, e.Source.ID, e.Session.ID, e.Session.Token, e.Device.ID, e.App.ID, e.Change.Target.ID} {
		if len(id) > events.MaxID {
			t.Errorf("an id of %d bytes", len(id))
		}
	}
	e.Tenant = tenant
	if e.Clean(); e.Validate() != nil {
		return // for ingest to refuse: identities with control characters
	}
	back, err := events.Decode(events.Encode(&e))
	if err != nil {
		t.Fatalf("an event that cannot be read back: %v", err)
	}
	if diff := cmp.Diff(e, *back); diff != "" {
		t.Errorf("an event that comes back changed: %s", diff)
	}
}

// reordered writes a claims set with its members sorted, and expects the same of it.
func reordered(t *testing.T, value string, all []decoded) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(value))
	d.UseNumber()
	var v map[string]any
	// Members that stand twice, and characters that JSON writes in several ways, are read in several ways.
	if !utf8.ValidString(value) || !json.Valid([]byte(value)) || d.Decode(&v) != nil || len(all) == 0 || strings.Contains(value, `\`) || twice(value) {
		return
	}
	var sorted bytes.Buffer
	enc := json.NewEncoder(&sorted)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return
	}
	others := decode(ssf.Claims(), sorted.String())
	if len(others) != len(all) {
		t.Fatalf("%d results, and %d of the same members in order", len(all), len(others))
	}
	for i, r := range all {
		o := others[i]
		if (r.err == nil) != (o.err == nil) {
			t.Errorf("%v, and %v of the same members in order", r.err, o.err)
		}
		if r.event != nil && o.event != nil {
			// Texts of which the first is taken, and claims as they stand, may differ.
			r.event.Reason, o.event.Reason, r.event.Change.To, o.event.Change.To = "", "", "", ""
			if diff := cmp.Diff(*r.event, *o.event); diff != "" {
				t.Errorf("the same members in order: %s", diff)
			}
		}
	}
}

// twice reports whether some object names a member twice.
func twice(value string) bool {
	d := json.NewDecoder(strings.NewReader(value))
	type scope struct {
		object, name bool
		seen         map[string]bool
	}
	scopes := []scope{{}}
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		at := &scopes[len(scopes)-1]
		if delim, is := token.(json.Delim); is && (delim == '}' || delim == ']') {
			scopes = scopes[:len(scopes)-1]
			at = &scopes[len(scopes)-1]
			at.name = at.object
			continue
		}
		if at.object && at.name {
			name, _ := token.(string)
			if at.seen[name] {
				return true
			}
			at.seen[name], at.name = true, false
			continue
		}
		if delim, is := token.(json.Delim); is {
			scopes = append(scopes, scope{delim == '{', delim == '{', map[string]bool{}})
			continue
		}
		at.name = at.object
	}
}

// FuzzTokens throws tokens at a transmitter that nobody has signed: none is ever taken, and each is kept as it came.
func FuzzTokens(f *testing.F) {
	p := newParty(f, es256())
	right := es256().sign(f, p.claims("j", nil), nil)
	cfg := p.config(f)
	tr, err := ssf.New(cfg, ssf.Deps{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(right[1:])
	f.Add(unsigned(f, object{"alg": "none", "typ": "secevent+jwt"}, p.claims("j", nil), ""))
	f.Add("invalid_request: not what it seems\n" + right)
	f.Add("{}")
	f.Fuzz(func(t *testing.T, token string) {
		// The last character has bits to spare, which base64 does not look at.
		if strings.HasPrefix(strings.TrimSpace(token), right[:len(right)-1]) || len(token) > ssf.MaxSET {
			return
		}
		d := newDesk(tr)
		if w := d.push(token, nil); w.Code == 202 {
			t.Fatalf("%q was taken", token)
		}
		for _, value := range d.taken() {
			all := decode(tr.Decoder(), value)
			if skipped := (&foreign.Skipped{}); len(all) != 1 || all[0].event != nil || all[0].record != token || errors.As(all[0].err, &skipped) {
				t.Errorf("%q became %+v", token, all)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	value := []byte(set(caep+"session-revoked", simple, `{"event_timestamp":1772612100,"initiating_entity":"policy","reason_admin":{"en":"landspeed policy"}}`))
	d := ssf.Claims()
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		d.Decode(value, func([]byte, *events.Event, error) {})
	}
}
