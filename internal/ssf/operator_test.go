package ssf

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOperatorsMakeStreams: a stream that an operator makes is under the same rules as one that its receiver makes.
func TestOperatorsMakeStreams(t *testing.T) {
	t.Parallel()
	c := goodConfig()
	c.Clients = append(c.Clients,
		Client{ID: "phone", Tenant: "acme", Dialect: DialectAppleSSE, Audience: []string{"https://example.com/org1/*"}, SubjectIssuer: "https://idp.example.com"},
		Client{ID: "plain", Tenant: "acme", Audience: []string{"x"}, Interop: true},
	)
	c.Limits.Description, c.Limits.EventsRequested = 3, 2
	const poll = `"delivery":{"method":"urn:ietf:rfc:8936"}`
	push := func(more string) string {
		return `"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://app.example.com/"` + more + `}`
	}
	made := func(s Stream) Stream {
		s.Status = Enabled
		s.Tenant, s.Issuer = "acme", "https://courier.example.com/acme"
		if s.Receiver == "b" {
			s.Tenant, s.Issuer = "quiet", "https://courier.example.com/quiet"
		}
		return s
	}
	for body, want := range map[string]Stream{
		`{"receiver":"a",` + push(`,"authorization_header":"k"`) + `,"events_requested":["x","x"],"description":"12345"}`: {
			Receiver: "a", Audience: []string{"x"}, Dialect: DialectSSF1, DefaultSubjects: SubjectsAll, Requested: []string{"x"}, Description: "123",
			Delivery: Delivery{Method: MethodPush, URL: "https://app.example.com/", Authorization: "k"},
		},
		`{"receiver":"b",` + poll + `}`: {
			Receiver: "b", Audience: []string{"x"}, Dialect: DialectSSF1, DefaultSubjects: SubjectsNone, Delivery: Delivery{Method: MethodPoll},
		},
		`{"receiver":"b",` + poll + `,"default_subjects":"ALL"}`: {
			Receiver: "b", Audience: []string{"x"}, Dialect: DialectSSF1, DefaultSubjects: SubjectsAll, Delivery: Delivery{Method: MethodPoll},
		},
		`{"receiver":"phone","delivery":{"method":"` + legacyPoll + `"},"aud":"https://example.com/org1/2"}`: {
			Receiver: "phone", Audience: []string{"https://example.com/org1/2"}, Dialect: DialectAppleSSE, DefaultSubjects: SubjectsAll,
			Delivery: Delivery{Method: MethodPoll}, SubjectIssuer: "https://idp.example.com",
		},
	} {
		got, err := c.NewStream([]byte(body), checkURL)
		if diff := cmp.Diff(made(want), got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want, +got):\n%s", body, err, diff)
		}
	}
	for body, want := range map[string]string{
		`[]`:                                 "no JSON object",
		`{` + poll + `}`:                     "receiver: is \"\"",
		`{"receiver":1,` + poll + `}`:        "receiver: is not a string",
		`{"receiver":"nobody",` + poll + `}`: "receiver: is \"nobody\"",
		`{"receiver":"a"}`:                   "delivery: is missing",
		`{"receiver":"a","Delivery":{"method":"urn:ietf:rfc:8936"}}`:                                         `"Delivery": is not known`,
		`{"receiver":"a",` + poll + `,"status":"paused"}`:                                                    `"status": is not known`,
		`{"receiver":"a",` + push(`,"header":"k"`) + `}`:                                                     `delivery."header": is not known`,
		`{"receiver":"a",` + push(`,"authorization_header":" k"`) + `}`:                                      "delivery.authorization_header: ",
		`{"receiver":"a",` + push(`,"authorization_header":"`+strings.Repeat("k", maxHeader+1)+`"`) + `}`:    "delivery.authorization_header: ",
		`{"receiver":"a","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://127.0.0.1/"}}`:     "delivery.endpoint_url: ",
		`{"receiver":"a","delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":"https://a.example.com/"}}`: "delivery: has an address",
		`{"receiver":"a","delivery":{"method":"urn:ietf:rfc:8936","authorization_header":""}}`:               "delivery: has an address",
		`{"receiver":"a","delivery":7}`:                                                                      "delivery: is no object",
		`{"receiver":"a",` + poll + `,"events_requested":["x","y","z"]}`:                                     "events_requested: has 3 entries",
		`{"receiver":"a",` + poll + `,"default_subjects":"SOME"}`:                                            "default_subjects: is \"SOME\"",
		`{"receiver":"plain",` + poll + `,"default_subjects":"NONE"}`:                                        "default_subjects: is NONE",
		`{"receiver":"phone",` + poll + `}`:                                                                  "aud: is missing",
		`{"receiver":"phone",` + poll + `,"aud":["https://example.com/org2"]}`:                               "aud: ",
	} {
		_, err := c.NewStream([]byte(body), checkURL)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}
