package stepupssf

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// FuzzReadSET: whatever comes, a claims set is read or refused, and what was read can be kept and read back.
func FuzzReadSET(f *testing.F) {
	f.Add([]byte(`{"iss":"https://tr.example","iat":1767225600,"jti":"j","aud":["a"],"txn":"t","toe":1767225599,"sub_id":{"format":"complex","user":{"format":"iss_sub","iss":"https://idp.example","sub":"u"},"session":{"format":"opaque","id":"s"}},"events":{"https://schemas.openid.net/secevent/caep/event-type/session-revoked":{"event_timestamp":1767225599000}}}`))
	f.Add([]byte(`{"iss":"x","iat":1,"jti":"j","aud":"a","events":{"urn:x":{"subject":{"format":"aliases","identifiers":[{"format":"email","email":"u@example.com"},{"format":"phone_number","phone":"+1"}]}}}}`))
	f.Add([]byte(`{"iss":"x","iat":1e12,"jti":"j","aud":null,"sub_id":null,"events":{"https://schemas.openid.net/secevent/ssf/event-type/verification":{"state":null}}}`))
	f.Add([]byte(`{"iss":"x","iat":1e400,"events":{"":{}},"sub":null}`))
	f.Add([]byte(`{"iss":"x","iat":1,"jti":"j","sub_id":` + strings.Repeat(`{"identifiers":[`, 5000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := readSET(b)
		if err != nil {
			return
		}
		if s.issuer == "" || s.jti == "" || len(s.jti) > maxName || s.issued.IsZero() || s.kind == "" || s.subject == nil && !s.control() {
			t.Fatalf("accepted nonsense: %+v", s)
		}
		if s.subject == nil {
			return
		}
		event := Event{Issuer: s.issuer, JTI: s.jti, Type: s.kind, IssuedAt: s.issued, Time: s.occurred, Identifier: *s.subject, Members: s.members}
		line, err := formatLine([]Record{{Issuer: s.issuer, JTI: s.jti, Event: &event}})
		if err != nil {
			t.Fatal(err)
		}
		back, err := parseLine(line)
		if err != nil || strings.Count(string(line), "\n") != 1 {
			t.Fatalf("%v in %q", err, line)
		}
		if got := back[0].Event; got.Type != s.kind || got.Identifier.Format != s.subject.Format || len(got.Identifier.Members) != len(s.subject.Members) ||
			len(got.Identifier.Identifiers) != len(s.subject.Identifiers) || !got.IssuedAt.Equal(s.issued) {
			t.Fatalf("kept %+v, got %+v", event, got)
		}
	})
}

// FuzzParseLine: a line of a store that is damaged is an error.
func FuzzParseLine(f *testing.F) {
	line, err := formatLine([]Record{{Issuer: "x", JTI: "j", Done: true, Forget: time.Unix(1, 0)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := parseLine(b)
		if err != nil {
			return
		}
		if _, err := formatLine(records); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDeepSubjectsCostLittle: they are read before anything is known of the sender.
func TestDeepSubjectsCostLittle(t *testing.T) {
	const depth = 4000
	deep := strings.Repeat(`{"format":"aliases","identifiers":[`, depth) + strings.Repeat(`]}`, depth)
	allocated := testing.AllocsPerRun(1, func() {
		var id SubjectIdentifier
		_ = json.Unmarshal([]byte(deep), &id)
	})
	if allocated > 200 {
		t.Errorf("%v allocations", allocated)
	}
}
