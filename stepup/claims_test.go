package stepup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func seconds(s int64) time.Time { return time.Unix(s, 0).UTC() }

func TestParseClaimsReadsEveryForm(t *testing.T) {
	for name, want := range map[string]Claims{
		"open-user.json": {
			Issuer: "https://countersign.example", IssuedAt: seconds(1767225600), JTI: "5f1c1cf4f9b2a2f6a6b1c0d9e8f70123", Status: StatusOpen,
			Requirement: Requirement{
				ID: "9a3e5d7c1b2f40618293a4b5c6d7e8f9", JTI: "5f1c1cf4f9b2a2f6a6b1c0d9e8f70123", Subject: Subject{Tenant: "acme", User: "u1"},
				Action: ActionStepUp, ACRValues: []string{"phr", "mfa"}, NotBefore: seconds(1767225600), Expires: seconds(1767268799),
				Severity: "high", Policy: "travel", Reason: "We noticed a sign-in from an unusual place. Please confirm it is you.",
			},
		},
		"satisfied-session.json": {
			Issuer: "https://countersign.example", IssuedAt: seconds(1767225700), JTI: "60f1c1cf4f9b2a2f6a6b1c0d9e8f7012", Status: StatusSatisfied,
			ClosedAt: seconds(1767225700),
			Requirement: Requirement{
				ID: "aa3e5d7c1b2f40618293a4b5c6d7e8f9", JTI: "60f1c1cf4f9b2a2f6a6b1c0d9e8f7012", Subject: Subject{Tenant: "acme", User: "u1", Session: "s9"},
				Action: ActionRevokeSession, NotBefore: seconds(1767225600).Add(500 * time.Millisecond), Expires: seconds(1767268799),
				Severity: "critical", Policy: "session", Reason: "Bitte melden Sie sich neu an.",
			},
		},
		"caep-session-revoked.json": {
			Issuer: "https://idp.example.com/", IssuedAt: seconds(1615305159), JTI: "756E69717565206964656E746966696572", Status: StatusOpen,
			Requirement: Requirement{
				ID: "fee39665be277b7eea663200bdf44c23", JTI: "756E69717565206964656E746966696572", Subject: Subject{Tenant: "acme", User: "u2", Session: "dMTlD"},
				Action: ActionRevokeSession, NotBefore: seconds(1615305159), Expires: seconds(1615305159).Add(DefaultLifetime),
			},
		},
	} {
		got, err := ParseClaims(fixture(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got, +want):\n%s", name, diff)
		}
	}
}

// TestParseClaimsReadsTheGoldenMessages reads what was promised to be readable for ever.
func TestParseClaimsReadsTheGoldenMessages(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		status Status
		action Action
	}{
		"revocation-step-up-open": {StatusOpen, ActionStepUp}, "revocation-step-up-satisfied": {StatusSatisfied, ActionStepUp},
		"revocation-all-revoked-open":        {StatusOpen, ActionRevokeAll},
		"revocation-session-revoked-open":    {StatusOpen, ActionRevokeSession},
		"revocation-session-revoked-expired": {StatusExpired, ActionRevokeSession},
	} {
		b, err := os.ReadFile(filepath.Join("..", "schemas", "testdata", name+".v1.golden.json"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseClaims(b)
		if err != nil || c.Status != want.status || c.Requirement.Action != want.action || c.ClosedAt.IsZero() != (want.status == StatusOpen) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestParseClaimsRefusesWithThePlace(t *testing.T) {
	good := string(fixture(t, "open-user.json"))
	if _, err := ParseClaims([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"truncated", "}}}}", "}}}", "unexpected end"},
		{"no issuer", `"iss":"https://countersign.example",`, "", "iss:"},
		{"no iat", `"iat":1767225600,`, "", "iat: is missing"},
		{"iat as text", `"iat":1767225600`, `"iat":"1767225600"`, "not a numeric date"},
		{"iat before 1970", `"iat":1767225600`, `"iat":-5`, "not a numeric date"},
		{"iat huge", `"iat":1767225600`, `"iat":1e300`, "not a numeric date"},
		{"no jti", `"jti":"5f1c1cf4f9b2a2f6a6b1c0d9e8f70123",`, "", "jti: is missing"},
		{"sub present", `"iat"`, `"sub":"x","iat"`, "sub, exp"},
		{"exp present", `"iat"`, `"exp":1,"iat"`, "sub, exp"},
		{"no subject", `"sub_id"`, `"sub_idx"`, "sub_id: is missing"},
		{"simple subject", `"format":"complex"`, `"format":"email"`, "sub_id.format"},
		{"no tenant", `"tenant":`, `"tenantx":`, "sub_id.tenant: is missing"},
		{"no user", `"user":{`, `"userx":{`, "sub_id.user: is missing"},
		{"user by email", `"user":{"format":"opaque"`, `"user":{"format":"email"`, "sub_id.user.format"},
		{"empty user", `"id":"u1"`, `"id":""`, "sub_id.user.id: is missing"},
		{"long user", `"id":"u1"`, `"id":"` + strings.Repeat("u", 257) + `"`, "sub_id.user.id: has 257 bytes"},
		{"control character", `"id":"u1"`, `"id":"u\u0000"`, "control characters"},
		{"two events", `"events":{`, `"events":{"urn:x":{},`, "has 2 members"},
		{"event is null", `step-up-required":{`, `step-up-required":null,"x":{`, "has 2 members"},
		{"unknown status", `"status":"open"`, `"status":"ajar"`, "status:"},
		{"wrong action", `"action":"step_up"`, `"action":"revoke_session"`, "action:"},
		{"all under the wrong type", `"action":"step_up"`, `"action":"revoke_all"`, "action:"},
		{"a change without revoke_all", `"max_age":0`, `"max_age":0,"credential_change":true`, "credential_change:"},
		{"acr with quote", `["phr","mfa"]`, `["p\"hr"]`, "acr_values[0]"},
		{"acr with space", `["phr","mfa"]`, `["phr","m fa"]`, "acr_values[1]"},
		{"acr with line break", `["phr","mfa"]`, `["phr\r\nSet-Cookie: x"]`, "acr_values[0]"},
		{"many acrs", `["phr","mfa"]`, `[` + strings.TrimSuffix(strings.Repeat(`"x",`, 17), ",") + `]`, "acr_values: has 17"},
		{"acr not a list", `["phr","mfa"]`, `"phr"`, "acr_values"},
		{"negative max_age", `"max_age":0`, `"max_age":-1`, "max_age:"},
		{"no not_before", `"not_before":1767225600,`, "", "not_before: is missing"},
		{"no expires", `"expires":1767268799,`, "", "expires: must be after"},
		{"expires first", `"expires":1767268799`, `"expires":1767225600`, "expires: must be after"},
		{"unknown scope", `"scope":"user"`, `"scope":"world"`, "scope:"},
		{"session scope without session", `"scope":"user"`, `"scope":"session"`, "sub_id.session: is missing"},
		{"no id at all", `"requirement":"9a3e5d7c1b2f40618293a4b5c6d7e8f9",`, `"requirement":"",`, ""},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		if text == good {
			t.Fatalf("%s: nothing replaced", c.name)
		}
		_, err := ParseClaims([]byte(text))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v, want none: txn names the requirement too", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "null": "null", "list": "[]", "number": "7", "deep": strings.Repeat("[", 100_000),
		"too large": `{"x":"` + strings.Repeat("x", MaxClaims) + `"}`, "not UTF-8": "{\"iss\":\"\xff\"}",
	} {
		if _, err := ParseClaims([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestParseClaimsTellsForeignEventTypesApart(t *testing.T) {
	text := strings.Replace(string(fixture(t, "caep-session-revoked.json")), "session-revoked", "credential-change", 1)
	if _, err := ParseClaims([]byte(text)); !errors.Is(err, ErrEventType) {
		t.Errorf("error %v, want ErrEventType", err)
	}
}

// TestParseClaimsReadsOurMembersInStandardTypes: a stream that did not ask for step-up-required gets the same members
// inside a standard type. Without them such an event is somebody else's, and opens nothing.
func TestParseClaimsReadsOurMembersInStandardTypes(t *testing.T) {
	t.Parallel()
	good := string(fixture(t, "open-user.json"))
	want, err := ParseClaims([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{EventAssuranceLevelChange, EventRiskLevelChange} {
		text := strings.Replace(good, EventStepUpRequired, kind, 1)
		got, err := ParseClaims([]byte(text))
		if diff := cmp.Diff(got, want); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", kind, err, diff)
		}
		if _, err := ParseClaims([]byte(strings.Replace(text, `"status"`, `"was"`, 1))); !errors.Is(err, ErrEventType) {
			t.Errorf("%s without our members: %v, want ErrEventType", kind, err)
		}
	}
}

func TestParseClaimsOfTakesAnySubject(t *testing.T) {
	t.Parallel()
	good := string(fixture(t, "open-user.json"))
	who := Subject{Tenant: "acme", User: "u7", Session: "s7"}
	email := strings.Replace(good, `"sub_id":{`, `"sub_id":{"format":"email","email":"u7@example.com"},"x":{`, 1)
	for text, want := range map[string]string{
		email: "", strings.Replace(email, `"scope":"user"`, `"scope":"session"`, 1): "s7", strings.Replace(email, `"scope":"user",`, "", 1): "s7",
		strings.Replace(email, `"sub_id":{`, `"was":{`, 1): "",
	} {
		c, err := ParseClaimsOf([]byte(text), who)
		if got := c.Requirement.Subject; err != nil || got.User != "u7" || got.Tenant != "acme" || got.Session != want {
			t.Errorf("%+v, %v, want session %q\n%s", got, err, want, text)
		}
	}
	for _, who := range []Subject{{}, {Tenant: "acme"}, {User: "u"}, {"acme", "u\x00", ""}, {"acme", "u", "s\n"}, {strings.Repeat("t", 65), "u", ""}} {
		if _, err := ParseClaimsOf([]byte(email), who); err == nil {
			t.Errorf("%+v: no error", who)
		}
	}
}

// TestParseClaimsReadsWhatTheCourierSends, of every type that it gives countersign's members.
func TestParseClaimsReadsWhatTheCourierSends(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "internal", "ssf", "dialect", "testdata", "ssf1-*.golden.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	read := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), `"requirement"`) {
			continue
		}
		c, err := ParseClaims(b)
		if err != nil || !strings.Contains(name, "-"+string(c.Status)+"-") || c.Requirement.ID != "9a3e5d7c1b2f40618293a4b5c6d7e8f9" {
			t.Errorf("%s: %+v, %v", filepath.Base(name), c, err)
		}
		read++
	}
	if read < 10 {
		t.Errorf("only %d files have requirements", read)
	}
}

// TestOneCauseMayRevokeSeveralSessions: tokens of one cause share their txn, and each is a requirement all the same.
func TestOneCauseMayRevokeSeveralSessions(t *testing.T) {
	t.Parallel()
	x := newIndex(t, IndexConfig{})
	text := strings.Replace(string(fixture(t, "caep-session-revoked.json")), `"iat":1615305159`, fmt.Sprintf(`"iat":%d`, time.Now().Unix()), 1)
	for _, other := range []string{text, strings.NewReplacer("dMTlD", "other", "756E69717565206964656E746966696572", "another").Replace(text)} {
		c, err := ParseClaims([]byte(other))
		if err != nil {
			t.Fatal(err)
		}
		if !x.Apply(c) || x.Apply(c) {
			t.Error("the first copy must change the index, the second not")
		}
	}
	if !isOpen(x, "u2", "dMTlD") || !isOpen(x, "u2", "other") {
		t.Error("one of the two sessions is not revoked")
	}
}

func FuzzParseClaims(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no fixtures", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add([]byte(`{"events":{"https://schemas.countersign.io/secevent/event-type/step-up-required":{"not_before":1e11}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseClaims(b)
		if err != nil {
			return
		}
		r := c.Requirement
		if r.ID == "" || r.Tenant == "" || r.User == "" || c.JTI == "" || !r.Expires.After(r.NotBefore) || r.MaxAge < 0 || len(r.Reason) > maxReason {
			t.Errorf("accepted nonsense: %+v", c)
		}
		for _, v := range r.ACRValues {
			if !validACR(v) {
				t.Errorf("accepted acr %q", v)
			}
		}
		// Whatever is accepted can be indexed.
		x, err := NewIndex(IndexConfig{MaxOpen: 4})
		if err != nil {
			t.Fatal(err)
		}
		x.Apply(c)
		if _, open := x.Check(r.Subject); open != (c.Status == StatusOpen && r.Expires.After(time.Now())) {
			t.Errorf("open %v: %+v", open, c)
		}
	})
}
