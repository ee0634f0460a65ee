package ssf

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/set"
)

const secretText = "Bearer very-secret"

func termsOf(s Stream) terms {
	return terms{
		pollURL: "https://courier.example.com/poll/" + s.ID, supported: supported(s), delivered: delivered(s), minVerification: 5, checkURL: checkURL,
	}
}

func existing(d Delivery) Stream {
	return Stream{ID: "s-1", Issuer: "https://courier.example.com/acme", Audience: []string{"a"}, Delivery: d, Status: Enabled, DefaultSubjects: SubjectsAll}
}

func parsed(t *testing.T, body string) configurationRequest {
	t.Helper()
	q, err := parseConfiguration([]byte(body), DefaultConfig().Limits)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestTheSecretOfAPush goes through what becomes of authorization_header, by PATCH and by PUT alike.
func TestTheSecretOfAPush(t *testing.T) {
	t.Parallel()
	const at = "https://app.example.com/push"
	push := Delivery{Method: MethodPush, URL: at, Authorization: secretText}
	for name, tc := range map[string]struct {
		before   Delivery
		delivery string
		want     Delivery
	}{
		"left out":        {push, `"endpoint_url":"` + at + `"`, push},
		"cleared":         {push, `"endpoint_url":"` + at + `","authorization_header":""`, Delivery{MethodPush, at, ""}},
		"replaced":        {push, `"endpoint_url":"` + at + `","authorization_header":"x"`, Delivery{MethodPush, at, "x"}},
		"null":            {push, `"endpoint_url":"` + at + `","authorization_header":null`, push},
		"same origin":     {push, `"endpoint_url":"https://APP.example.com:443/2"`, Delivery{MethodPush, "https://APP.example.com:443/2", secretText}},
		"other host":      {push, `"endpoint_url":"https://evil.example.com/push"`, Delivery{MethodPush, "https://evil.example.com/push", ""}},
		"other port":      {push, `"endpoint_url":"https://app.example.com:8443/push"`, Delivery{MethodPush, "https://app.example.com:8443/push", ""}},
		"moved with it":   {push, `"endpoint_url":"https://b.example.com/","authorization_header":"x"`, Delivery{MethodPush, "https://b.example.com/", "x"}},
		"was poll before": {Delivery{Method: MethodPoll}, `"endpoint_url":"` + at + `"`, Delivery{MethodPush, at, ""}},
	} {
		for verb, change := range map[string]func(*Stream, configurationRequest, terms) error{"PATCH": (*Stream).update, "PUT": (*Stream).replace} {
			s := existing(tc.before)
			q := parsed(t, `{"stream_id":"s-1","delivery":{"method":"`+MethodPush+`",`+tc.delivery+`}}`)
			if err := change(&s, q, termsOf(s)); err != nil || s.Delivery != tc.want {
				t.Errorf("%s, %s: %v, %+v", name, verb, err, s.Delivery)
			}
		}
	}
	s := existing(push)
	if err := s.update(parsed(t, `{"delivery":{"method":"`+MethodPoll+`","authorization_header":"x"}}`), termsOf(s)); err != nil || s.Delivery != (Delivery{Method: MethodPoll}) {
		t.Errorf("a poll stream keeps a secret: %v, %+v", err, s.Delivery)
	}
}

func TestPatchLeavesAndPutDeletesWhatIsAbsent(t *testing.T) {
	t.Parallel()
	full := existing(Delivery{Method: MethodPush, URL: "https://app.example.com/", Authorization: secretText})
	full.Requested, full.Description = []string{typeRisk}, "text"

	s := full
	if err := s.update(parsed(t, `{"stream_id":"s-1"}`), termsOf(s)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full, s); diff != "" {
		t.Error(diff)
	}
	s = full
	if err := s.replace(parsed(t, `{"stream_id":"s-1"}`), termsOf(s)); err != nil {
		t.Fatal(err)
	}
	want := existing(Delivery{Method: MethodPoll})
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
}

// TestReceiversDoNotStartWhatOperatorsStop goes through every change of a status by the receiver, whoever set it before.
func TestReceiversDoNotStartWhatOperatorsStop(t *testing.T) {
	t.Parallel()
	for _, by := range []Party{"", ByReceiver, ByOperator, ByCourier} {
		for _, from := range []Status{Enabled, Paused, Disabled} {
			for _, to := range []Status{Enabled, Paused, Disabled} {
				s := existing(Delivery{Method: MethodPoll})
				s.Status, s.StatusBy, s.Reason = from, by, "before"
				before := s
				err := s.setStatus(statusRequest{status: to, reason: "now"})
				want := before
				stopped := by == ByOperator && from != Enabled
				refused := stopped && (to == Enabled || to == Paused && from == Disabled)
				switch {
				case !stopped:
					want.Status, want.StatusBy, want.Reason = to, ByReceiver, "now"
				case !refused && to != from:
					want.Status, want.Reason = to, "now"
				}
				if diff := cmp.Diff(want, s); diff != "" || errors.Is(err, errHeld) != refused {
					t.Errorf("%s by %q, then %s: %v (-want, +got):\n%s", from, by, to, err, diff)
				}
			}
		}
	}
}

func TestDescriptionIsCutAtACharacter(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "äö": "äö", "äöü": "äöü", "äöü€": "äöü"} {
		if got := cut(text, 3); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// drawRequest draws the body of an update that is right.
func drawRequest(t *rapid.T) string {
	m := map[string]any{"stream_id": "s-1", "unknown": 1}
	if rapid.Bool().Draw(t, "delivery") {
		d := map[string]any{"method": MethodPoll, "endpoint_url": ""}
		if rapid.Bool().Draw(t, "push") {
			d = map[string]any{"method": MethodPush, "endpoint_url": rapid.SampledFrom([]string{"https://a.example.com/x", "https://a.example.com/y", "https://b.example.com/"}).Draw(t, "url")}
		}
		if rapid.Bool().Draw(t, "secret") {
			d["authorization_header"] = secretText
		}
		m["delivery"] = d
	}
	if rapid.Bool().Draw(t, "requested") {
		m["events_requested"] = rapid.SliceOfN(rapid.SampledFrom([]string{typeRevoked, typeRisk, typeOwn, typeUnknown}), 0, 6).Draw(t, "types")
	}
	if rapid.Bool().Draw(t, "description") {
		m["description"] = rapid.String().Draw(t, "text")
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestLawsOfConfiguration: what was read can be written back and changes nothing; PUT is idempotent; nothing that is
// read holds the secret; a change touches nothing but what is the receiver's.
func TestLawsOfConfiguration(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := existing(Delivery{Method: MethodPoll})
		for range rapid.IntRange(1, 5).Draw(t, "changes") {
			q, err := parseConfiguration([]byte(drawRequest(t)), DefaultConfig().Limits)
			if err != nil {
				t.Fatal(err)
			}
			change := (*Stream).update
			put := rapid.Bool().Draw(t, "put")
			if put {
				change = (*Stream).replace
			}
			before := s
			if err := change(&s, q, termsOf(s)); err != nil {
				t.Fatal(err)
			}
			again := s
			if err := change(&again, q, termsOf(again)); err != nil || cmp.Diff(s, again) != "" {
				t.Fatalf("not idempotent: %v\n%s", err, cmp.Diff(s, again))
			}
			kept := s
			kept.Delivery, kept.Requested, kept.Description = before.Delivery, before.Requested, before.Description
			if diff := cmp.Diff(before, kept); diff != "" {
				t.Fatalf("changed what is not the receiver's:\n%s", diff)
			}
			if !put && q.delivery == nil && before.Delivery != s.Delivery {
				t.Fatal("an absent delivery is changed")
			}
		}
		shown, err := json.Marshal(s.show(termsOf(s)))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(shown), secretText) || strings.Contains(string(shown), "authorization_header") {
			t.Fatalf("the secret can be read: %s", shown)
		}
		back, err := parseConfiguration(shown, DefaultConfig().Limits)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range []func(*Stream, configurationRequest, terms) error{(*Stream).update, (*Stream).replace} {
			written := s
			if err := change(&written, back, termsOf(written)); err != nil || cmp.Diff(s, written) != "" {
				t.Fatalf("written back it is another: %v\n%s", err, cmp.Diff(s, written))
			}
		}
	})
}

func subject(t testing.TB, raw string) set.Subject {
	t.Helper()
	s, err := set.ParseSubject([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSubjectsOfAStreamWithAll(t *testing.T) {
	t.Parallel()
	alice := subject(t, `{"format":"email","email":"alice@example.com"}`)
	s := existing(Delivery{Method: MethodPoll})
	if err := s.addSubject(alice, 1); err != nil || len(s.Subjects) != 0 {
		t.Errorf("what is in anyhow is kept: %v, %v", err, s.Subjects)
	}
	if err := s.removeSubject(alice, 100, 1); err != nil {
		t.Fatal(err)
	}
	before := s.Subjects
	if err := s.removeSubject(alice, 200, 1); err != nil || s.Subjects[0].Removed != 100 {
		t.Errorf("the time of the first removal counts: %v, %v", err, s.Subjects)
	}
	if err := s.addSubject(alice, 1); err != nil || s.Subjects[0].Removed != 0 {
		t.Errorf("%v, %v", err, s.Subjects)
	}
	if before[0].Removed != 100 {
		t.Error("the version before has changed")
	}
	full := existing(Delivery{Method: MethodPoll})
	for i := range 3 {
		err := full.removeSubject(subject(t, fmt.Sprintf(`{"format":"opaque","id":"u%d"}`, i)), 100, 2)
		if (err != nil) != (i == 2) {
			t.Errorf("removal %d: %v", i, err)
		}
	}
}

func TestSubjectsOfAStreamWithNone(t *testing.T) {
	t.Parallel()
	named := func(i int) set.Subject { return subject(t, fmt.Sprintf(`{"format":"opaque","id":"u%d"}`, i)) }
	s := existing(Delivery{Method: MethodPoll})
	s.DefaultSubjects = SubjectsNone
	if err := s.removeSubject(named(9), 100, 2); err != nil || len(s.Subjects) != 0 {
		t.Errorf("%v, %v", err, s.Subjects)
	}
	for i := range 2 {
		if err := s.addSubject(named(i), 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.addSubject(named(2), 2); err == nil {
		t.Error("more than there may be")
	}
	if err := s.addSubject(named(1), 2); err != nil || len(s.Subjects) != 2 {
		t.Errorf("one that is there: %v, %v", err, s.Subjects)
	}
	if err := s.removeSubject(named(0), 100, 2); err != nil {
		t.Fatal(err)
	}
	if err := s.addSubject(named(2), 2); err != nil || len(s.Subjects) != 2 || s.findSubject(named(0)) >= 0 {
		t.Errorf("there is no room for one that was removed: %v, %v", err, s.Subjects)
	}
}

// A stream goes by the configuration of its client as it is now; an audience that the receiver chose stays while it may.
func TestConform(t *testing.T) {
	t.Parallel()
	apple := Receiver{Dialect: DialectAppleSSE, Audience: []string{"https://a.example.com", "https://a.example.com/*"}, SubjectIssuer: "https://idp.example.com"}
	s := Stream{Dialect: DialectAppleSSE, Audience: []string{"https://a.example.com/7"}, SubjectIssuer: apple.SubjectIssuer}
	if s.Conform(apple) || s.Audience[0] != "https://a.example.com/7" {
		t.Errorf("nothing has changed: %+v", s)
	}
	apple.Audience = []string{"https://b.example.com"}
	if !s.Conform(apple) || !slices.Equal(s.Audience, apple.Audience) {
		t.Errorf("the audience is not allowed any more: %+v", s)
	}
	plain := Receiver{Audience: []string{"https://c.example.com"}, Interop: true, RevokeForStepUp: true, SubjectFormat: FormatEmail}
	want := Stream{Audience: plain.Audience, Interop: true, RevokeForStepUp: true, SubjectFormat: FormatEmail}
	if !s.Conform(plain) || cmp.Diff(want, s) != "" || s.Conform(plain) {
		t.Errorf("(-want, +got):\n%s", cmp.Diff(want, s))
	}
}
