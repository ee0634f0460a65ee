package dialect

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/set/settest"
	"github.com/countersign-io/countersign/internal/ssf"
)

var updating = flag.Bool("update", false, "write the golden files")

var now = time.Unix(1767226000, 999e6)

func streamOf(d ssf.Dialect, requested ...string) ssf.Stream {
	s := ssf.Stream{
		ID: "st-1", Tenant: "acme", Receiver: "app", Issuer: "https://courier.example.com/acme", Audience: []string{"https://app.example.com/ssf"},
		Dialect: d, Requested: requested,
	}
	if d == ssf.DialectGoogle {
		s.Audience = []string{ssf.GoogleAudience}
	}
	if d == ssf.DialectAppleSSE {
		s.Audience, s.SubjectIssuer = []string{"https://federation.apple.com/feeds/business/caep/org/uuid"}, "https://idp.example.com"
	}
	return s
}

func decided(action events.Action, status revocation.Status) *revocation.Claims {
	c := &revocation.Claims{
		Issuer: "https://countersign.example", IssuedAt: 1767225600, JTI: "5f1c1cf4f9b2a2f6a6b1c0d9e8f70123", Tenant: "acme", User: "u1", Status: status,
		Requirement: revocation.Requirement{
			ID: "9a3e5d7c1b2f40618293a4b5c6d7e8f9", Action: action, Session: "s9", ACRValues: []string{"phr", "mfa", "c1"},
			NotBefore: 1767225600, Expires: 1767268800, Severity: events.High,
			ReasonAdmin: "LOC-01 Impossible travel (high); policy travel v1: step_up", ReasonUser: map[string]string{"en": "Please confirm it is you.", "de": "Bitte bestätigen Sie."},
			Policy: "travel", PolicyVersion: "1-894fd3c95302",
			Findings: []revocation.Cause{
				{ID: "f1", Detection: "LOC-01", Severity: events.High, Summary: "Utrecht to Tokyo, 9300 km in an hour."},
				{ID: "f2", Detection: "LOC-01", Severity: events.High},
				{ID: "f3", Detection: "NET-01", Severity: events.Low},
			},
			EventID: "e1", EventTime: 1767225599, UserName: "Ana.Visser@example.com",
		},
	}
	if action == events.RevokeAll {
		c.Session, c.CredentialChange = "", true
	}
	if status != revocation.Open {
		c.JTI, c.ClosedAt, c.IssuedAt = "60f1c1cf4f9b2a2f6a6b1c0d9e8f7012", 1767225900, 1767225900
	}
	return c
}

// checked signs a token and holds it against what the conformance suite demands.
func checked(t testing.TB, s ssf.Stream, token set.Token) *settest.Token {
	t.Helper()
	compact, err := set.Sign(t.Context(), settest.Key(t), &token)
	if err != nil {
		t.Fatal(err)
	}
	return settest.Check(t, compact, settest.JWKS(t, settest.Key(t)), settest.Want{
		Issuer: s.Issuer, Audience: s.Audience, StreamID: s.ID, Types: Delivered(s), JTI: token.JTI, Txn: token.Txn, Now: now,
	})
}

// golden compares the claims of a token, or their absence, with a file.
func golden(t *testing.T, name string, claims []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden.json")
	var got bytes.Buffer
	if claims == nil {
		got.WriteString("null")
	} else if err := json.Indent(&got, claims, "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	if *updating {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; -update writes it", err)
	}
	if diff := cmp.Diff(got.String(), string(want)); diff != "" {
		t.Errorf("%s (-got, +want)\n%s", name, diff)
	}
}

// short names a request in a file's name.
func short(requested []string) string {
	if len(requested) == 0 {
		return "default"
	}
	var names []string
	for _, kind := range requested {
		names = append(names, kind[strings.LastIndexByte(kind, '/')+1:])
	}
	return strings.Join(names, "+")
}

func TestGolden(t *testing.T) {
	interop := []string{SessionRevoked, CredentialChange, DeviceComplianceChange}
	written := map[string]bool{}
	for dialect, requests := range map[ssf.Dialect][][]string{
		ssf.DialectSSF1:   {nil, {StepUpRequired, SessionRevoked}, {RiskLevelChange}, interop},
		ssf.DialectGoogle: {nil}, ssf.DialectOkta: {nil, {DeviceComplianceChange, SessionRevoked}}, ssf.DialectAppleSSE: {nil},
	} {
		for _, requested := range requests {
			for _, status := range revocation.Statuses {
				for _, action := range []events.Action{events.StepUp, events.RevokeSession, events.RevokeAll} {
					s := streamOf(dialect, requested...)
					c := decided(action, status)
					if slices.Contains(requested, DeviceComplianceChange) {
						c.NoncompliantDevice, c.Device, s.Interop = true, "d-7", true
					}
					name := strings.Join([]string{string(dialect), string(action), string(status), short(requested)}, "-")
					token, ok, err := Encode(s, c, now)
					if err != nil {
						t.Errorf("%s: %v", name, err)
						continue
					}
					written[name+".golden.json"] = true
					if !ok {
						golden(t, name, nil)
						continue
					}
					got := checked(t, s, token)
					golden(t, name, got.Claims)
					for _, personal := range []string{"Utrecht", "9300", "Impossible"} {
						if bytes.Contains(got.Claims, []byte(personal)) {
							t.Errorf("%s says %s", name, personal)
						}
					}
				}
			}
		}
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !written[filepath.Base(file)] {
			t.Errorf("%s belongs to no case", file)
		}
	}
}

// Each row: what a stream gets of a decision, by what it requested.
func TestOneEventOfADecision(t *testing.T) {
	t.Parallel()
	all := []string{StepUpRequired, AssuranceLevelChange, RiskLevelChange, DeviceComplianceChange, SessionRevoked, CredentialChange}
	for name, c := range map[string]struct {
		requested []string
		action    events.Action
		status    revocation.Status
		change    func(s *ssf.Stream, c *revocation.Claims)
		want      string
	}{
		"ours first":                 {all, events.StepUp, revocation.Open, nil, StepUpRequired},
		"ours has to be asked for":   {nil, events.StepUp, revocation.Open, nil, AssuranceLevelChange},
		"never on interop":           {all, events.StepUp, revocation.Open, func(s *ssf.Stream, _ *revocation.Claims) { s.Interop = true }, AssuranceLevelChange},
		"risk":                       {all[2:], events.StepUp, revocation.Open, nil, RiskLevelChange},
		"risk ends":                  {all[2:], events.StepUp, revocation.Expired, nil, RiskLevelChange},
		"device compliant":           {all[3:], events.StepUp, revocation.Open, nil, ""},
		"device":                     {all[3:], events.StepUp, revocation.Open, func(_ *ssf.Stream, c *revocation.Claims) { c.NoncompliantDevice = true }, DeviceComplianceChange},
		"device does not end":        {all[3:], events.StepUp, revocation.Satisfied, func(_ *ssf.Stream, c *revocation.Claims) { c.NoncompliantDevice = true }, ""},
		"no revocation for step-up":  {all[4:], events.StepUp, revocation.Open, nil, ""},
		"unless it may be":           {all[4:], events.StepUp, revocation.Open, func(s *ssf.Stream, _ *revocation.Claims) { s.RevokeForStepUp = true }, SessionRevoked},
		"which does not end":         {all[4:], events.StepUp, revocation.Expired, func(s *ssf.Stream, _ *revocation.Claims) { s.RevokeForStepUp = true }, ""},
		"finer before it":            {all[2:], events.StepUp, revocation.Open, func(s *ssf.Stream, _ *revocation.Claims) { s.RevokeForStepUp = true }, RiskLevelChange},
		"revocation":                 {all, events.RevokeSession, revocation.Open, nil, SessionRevoked},
		"not asked for":              {all[:4], events.RevokeSession, revocation.Open, nil, ""},
		"its end for those who know": {all, events.RevokeSession, revocation.Expired, nil, SessionRevoked},
		"its end for others":         {all[1:], events.RevokeSession, revocation.Expired, nil, ""},
		"credential":                 {all[1:], events.RevokeAll, revocation.Satisfied, nil, CredentialChange},
		"credential not changed":     {all[1:], events.RevokeAll, revocation.Expired, nil, ""},
		"credential not demanded":    {all[1:], events.RevokeAll, revocation.Satisfied, func(_ *ssf.Stream, c *revocation.Claims) { c.CredentialChange = false }, ""},
		"unknown types only":         {[]string{"https://example.com/x"}, events.RevokeAll, revocation.Open, nil, ""},
	} {
		s, claims := streamOf("", c.requested...), decided(c.action, c.status)
		if c.change != nil {
			c.change(&s, claims)
		}
		token, ok, err := Encode(s, claims, now)
		if err != nil || token.EventType != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %v, %v, must be %q", name, token.EventType, ok, err, c.want)
		}
	}
}

func TestSubjectsOfADecision(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(s *ssf.Stream, c *revocation.Claims)
		want   string // the subject, or what the error says
	}{
		"ours": {func(*ssf.Stream, *revocation.Claims) {}, `{"format":"complex","tenant":{"format":"opaque","id":"acme"},"user":{"format":"opaque","id":"u1"},"session":{"format":"opaque","id":"s9"}}`},
		"iss_sub": {
			func(s *ssf.Stream, _ *revocation.Claims) {
				s.SubjectFormat, s.SubjectIssuer = "iss_sub", "https://idp.example.com"
			},
			`{"format":"complex","user":{"format":"iss_sub","iss":"https://idp.example.com","sub":"u1"},"session":{"format":"opaque","id":"s9"}}`,
		},
		"email, user": {func(s *ssf.Stream, c *revocation.Claims) { s.SubjectFormat, c.Session = "email", "" }, `{"format":"email","email":"Ana.Visser@example.com"}`},
		"interop":     {func(s *ssf.Stream, _ *revocation.Claims) { s.SubjectFormat, s.Interop = "opaque", true }, `{"format":"opaque","id":"u1"}`},
		"no issuer":   {func(s *ssf.Stream, _ *revocation.Claims) { s.SubjectFormat = "iss_sub" }, "no subject_issuer"},
		"no email":    {func(s *ssf.Stream, c *revocation.Claims) { s.SubjectFormat, c.UserName = "email", "ana" }, "login name is unknown or is none"},
		"format":      {func(s *ssf.Stream, _ *revocation.Claims) { s.SubjectFormat = "x" }, "no way of naming users"},
		"no user":     {func(_ *ssf.Stream, c *revocation.Claims) { c.User = "" }, "names no user"},
	} {
		s, claims := streamOf(""), decided(events.StepUp, revocation.Open)
		c.change(&s, claims)
		token, ok, err := Encode(s, claims, now)
		switch {
		case err != nil && (ok || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, must say %q", name, err, c.want)
		case err == nil && string(token.Subject) != c.want:
			t.Errorf("%s: %s, must be %s", name, token.Subject, c.want)
		}
	}
	google := decided(events.RevokeAll, revocation.Open)
	google.UserName = ""
	if _, ok, err := Encode(streamOf(ssf.DialectGoogle), google, now); ok || err == nil {
		t.Errorf("google without an email address: %v, %v", ok, err)
	}
}

func TestIdentifiersMeetWhatReceiversAdd(t *testing.T) {
	t.Parallel()
	s := streamOf("")
	s.SubjectIssuer = "https://idp.example.com"
	all := Identifiers(s, decided(events.StepUp, revocation.Open))
	for subject, want := range map[string]bool{
		`{"format":"email","email":"ana.visser@example.com"}`:                                               true,
		`{"format":"iss_sub","iss":"https://idp.example.com","sub":"u1"}`:                                   true,
		`{"format":"opaque","id":"u1"}`:                                                                     true,
		`{"format":"complex","user":{"format":"email","email":"ana.visser@example.com"}}`:                   true,
		`{"format":"complex","user":{"format":"opaque","id":"u1"},"device":{"format":"opaque","id":"d"}}`:   true,
		`{"format":"complex","tenant":{"format":"opaque","id":"acme"}}`:                                     true,
		`{"format":"complex","user":{"format":"opaque","id":"u1"},"session":{"format":"opaque","id":"s8"}}`: false,
		`{"format":"complex","user":{"format":"opaque","id":"u2"}}`:                                         false,
		`{"format":"email","email":"bo@example.com"}`:                                                       false,
	} {
		i, err := set.ParseIdentifier([]byte(subject))
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.ContainsFunc(all, func(one set.Identifier) bool { return one.Matches(&i) }); got != want {
			t.Errorf("%s: %v", subject, got)
		}
	}
}

func TestControlEvents(t *testing.T) {
	t.Parallel()
	state, empty := `VGhpcyBpcyBhbiBleGFtcGxl "state"`, ""
	s := streamOf(ssf.DialectOkta)
	for want, token := range map[string]set.Token{
		`{}`: Verification(s, "j1", nil, now), `{"state":"VGhpcyBpcyBhbiBleGFtcGxl \"state\""}`: Verification(s, "j1", &state, now),
		`{"state":""}`: Verification(s, "j1", &empty, now), `{"status":"paused"}`: StreamUpdated(s, "j1", ssf.Paused, "", now),
		`{"status":"disabled","reason":"three days without an answer"}`: StreamUpdated(s, "j1", ssf.Disabled, "three days without an answer", now),
	} {
		if string(token.Event) != want || token.IssuedAt != now.Unix() || token.Txn != "" {
			t.Errorf("%s, %d, must be %s", token.Event, token.IssuedAt, want)
		}
		compact, err := set.Sign(t.Context(), settest.Key(t), &token)
		if err != nil {
			t.Fatal(err)
		}
		check := settest.Want{Issuer: s.Issuer, Audience: s.Audience, StreamID: s.ID, JTI: "j1", Now: now}
		var event struct{ State *string }
		if err := json.Unmarshal(token.Event, &event); err != nil {
			t.Fatal(err)
		}
		check.State = event.State
		settest.Check(t, compact, settest.JWKS(t, settest.Key(t)), check)
	}
}

// An operator can have every type that a stream gets, and no other.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, d := range []ssf.Dialect{ssf.DialectSSF1, ssf.DialectGoogle, ssf.DialectOkta, ssf.DialectAppleSSE} {
		s := streamOf(d, Supported(streamOf(d))...)
		if len(Delivered(s)) != len(Supported(s)) || len(Supported(s)) == 0 {
			t.Errorf("%s: %v", d, Delivered(s))
		}
		for _, kind := range Delivered(s) {
			token, err := Example(s, kind, "j-"+kind, now)
			if err != nil {
				t.Errorf("%s: %s: %v", d, kind, err)
				continue
			}
			got := checked(t, s, token)
			reasons, _ := got.Event["reason_admin"].(map[string]any)
			if text, _ := reasons["en"].(string); got.Type != kind || !strings.HasPrefix(text, "Synthetic event") {
				t.Errorf("%s", got.Claims)
			}
		}
		for _, kind := range []string{VerificationType, "x", ""} {
			if _, err := Example(s, kind, "j", now); err == nil {
				t.Errorf("%s: %q: written", d, kind)
			}
		}
	}
	if _, err := Example(streamOf(ssf.DialectSSF1), StepUpRequired, "j", now); err == nil {
		t.Error("our own type on a stream that did not ask for it: written")
	}
}

// A courier whose clock is behind that of the ingest still writes no token from the future.
func TestIssuedNeverAfterNow(t *testing.T) {
	t.Parallel()
	c := decided(events.StepUp, revocation.Open)
	token, _, err := Encode(streamOf(""), c, time.Unix(c.IssuedAt-2, 5e8))
	if err != nil || token.IssuedAt != c.IssuedAt-2 {
		t.Errorf("iat %d, %v", token.IssuedAt, err)
	}
}
