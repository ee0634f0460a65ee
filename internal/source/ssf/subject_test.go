package ssf_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
	"github.com/countersign-io/countersign/internal/source/ssf"
)

// configured is the decoder of a transmitter with the given mapping of subjects.
func configured(t *testing.T, subjects ssf.SubjectsConfig, dialect ssf.Dialect) *ssf.Decoder {
	t.Helper()
	tr, err := ssf.New(ssf.Config{
		Name: "idp", Tenant: tenant, Issuer: issuer, Audience: []string{audience}, Dialect: dialect, Subjects: subjects,
		Push: ssf.PushConfig{TokenFile: file(t, pushToken)},
	}, ssf.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return tr.Decoder()
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	unresolved := func(name, shown string) events.User {
		return events.User{ID: "name:" + name, Type: events.Unresolved, Name: shown}
	}
	strict := configured(t, ssf.SubjectsConfig{}, "")
	wide := configured(t, ssf.SubjectsConfig{Issuers: []string{issuer, "https://login.example.com/"}, Opaque: "user"}, "")
	for _, c := range []struct {
		name, subject string
		decoder       *ssf.Decoder
		want          events.User
	}{
		{"iss_sub", simple, strict, events.User{ID: "u1"}},
		{"GUIDs are as other sources write them", `{"format":"iss_sub","iss":"https://idp.example.com","sub":"5B9E1F04-8C2D-4A76-B3F1-2D60C7A9E315"}`, strict, events.User{ID: userID}},
		{"what is no GUID keeps its case", `{"format":"iss_sub","iss":"https://idp.example.com","sub":"00uEXAMPLE0000000001"}`, strict, events.User{ID: "00uEXAMPLE0000000001"}},
		{"another issuer's users that are ours", `{"format":"iss_sub","iss":"https://login.example.com/","sub":"u2"}`, wide, events.User{ID: "u2"}},
		{"opaque", `{"format":"opaque","id":"u3"}`, wide, events.User{ID: "u3"}},
		{"T24 an address of e-mail", `{"format":"email","email":"Jane.Roe@example.com"}`, strict, unresolved("jane.roe@example.com", "Jane.Roe@example.com")},
		{"an account", `{"format":"account","uri":"acct:jane.roe@example.com"}`, strict, unresolved("jane.roe@example.com", "jane.roe@example.com")},
		{"a telephone", `{"format":"phone_number","phone_number":"+12065550100"}`, strict, unresolved("+12065550100", "+12065550100")},
		{"a telephone as an example of SSF writes it", `{"format":"phone","phone":"+12065550100"}`, strict, unresolved("+12065550100", "+12065550100")},
		{"a DID", `{"format":"did","url":"did:example:123456"}`, strict, unresolved("did:example:123456", "did:example:123456")},
		{"a URI", `{"format":"uri","uri":"urn:uuid:4e851e98-83c4-4743-a5da-150ecb53042f"}`, strict, unresolved("urn:uuid:4e851e98-83c4-4743-a5da-150ecb53042f", "urn:uuid:4e851e98-83c4-4743-a5da-150ecb53042f")},
		{"aliases: the stable id", `{"format":"aliases","identifiers":[{"format":"email","email":"j@example.com"},{"format":"iss_sub","iss":"https://idp.example.com","sub":"u1"},{"format":"phone_number","phone_number":"+1"}]}`, strict, events.User{ID: "u1"}},
		{"aliases: the name we may take", `{"format":"aliases","identifiers":[{"format":"iss_sub","iss":"https://elsewhere.example","sub":"u1"},{"format":"email","email":"j@example.com"}]}`, strict, unresolved("j@example.com", "j@example.com")},
		{"complex", `{"format":"complex","user":` + simple + `,"tenant":{"format":"opaque","id":"t"}}`, strict, events.User{ID: "u1"}},
		{"complex without a format, as drafts had it", `{"user":` + simple + `,"device":{"format":"opaque","id":"d"}}`, strict, events.User{ID: "u1"}},
		{"complex with aliases", `{"format":"complex","user":{"format":"aliases","identifiers":[` + simple + `]}}`, strict, events.User{ID: "u1"}},
		{"dashes", `{"subject_type":"iss-sub","iss":"https://idp.example.com","sub":"u1"}`, strict, events.User{ID: "u1"}},
		{"claims of an ID token", `{"subject_type":"id_token_claims","iss":"https://idp.example.com","sub":"u1","email":"j@example.com"}`, strict, events.User{ID: "u1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			all := decode(c.decoder, set(caep+"session-revoked", c.subject, `{}`))
			if len(all) != 1 || all[0].err != nil {
				t.Fatalf("%+v", all)
			}
			if diff := cmp.Diff(c.want, all[0].event.User); diff != "" {
				t.Error(diff)
			}
			if all[0].event.Tenant != tenant {
				t.Errorf("tenant %q", all[0].event.Tenant)
			}
		})
	}
}

// What names nobody here becomes a dead letter, and is no fault of the transmitter; users of others are.
func TestSubjectsThatAreNobodyHere(t *testing.T) {
	t.Parallel()
	strict := configured(t, ssf.SubjectsConfig{}, "")
	for subject, want := range map[string]string{
		`{"format":"iss_sub","iss":"https://elsewhere.example","sub":"u1"}`:                            "access_denied",
		`{"format":"iss_sub","iss":"https://idp.example.com/","sub":"u1"}`:                             "access_denied",
		`{"format":"opaque","id":"u3"}`:                                                                "set subjects.opaque",
		`{"format":"complex","device":{"format":"opaque","id":"d"}}`:                                   `names no user, only ["device"]`,
		`{"format":"complex","tenant":{"format":"opaque","id":"t"}}`:                                   `names no user, only ["tenant"]`,
		`{"format":"complex","user":{"format":"complex","user":` + simple + `}}`:                       "names no user",
		`{"format":"jwt_id","iss":"https://idp.example.com","jti":"B70BA622"}`:                         "names no user",
		`{"format":"saml_assertion_id","issuer":"https://idp.example.com","assertion_id":"_8e8dc5f6"}`: "names no user",
		`{"format":"ip-addresses","ip-addresses":["198.51.100.1"]}`:                                    "names no user",
		`{"format":"aliases","identifiers":[]}`:                                                        "names no user",
		`{"format":"aliases","identifiers":[{"format":"aliases","identifiers":[` + simple + `]}]}`:     "names no user",
		`{"format":"iss_sub","iss":"https://idp.example.com"}`:                                         "names no user",
		`{}`: "names no user",
	} {
		all := decode(strict, set(caep+"session-revoked", subject, `{}`))
		if len(all) != 1 || all[0].err == nil || !strings.Contains(all[0].err.Error(), want) {
			t.Errorf("%s: %+v, want %q", subject, all, want)
			continue
		}
		if refusal := (&ssf.Refusal{}); errors.As(all[0].err, &refusal) != (want == "access_denied") {
			t.Errorf("%s: %v", subject, all[0].err)
		}
	}
	skip := configured(t, ssf.SubjectsConfig{Names: "skip"}, "")
	all := decode(skip, set(caep+"session-revoked", `{"format":"email","email":"j@example.com"}`, `{}`))
	skipped := &foreign.Skipped{}
	if len(all) != 1 || !errors.As(all[0].err, &skipped) || skipped.Skip() != "subject" {
		t.Errorf("names that are skipped: %+v", all)
	}
}

func TestSessionsAndDevices(t *testing.T) {
	t.Parallel()
	user := `"user":` + simple
	for subject, want := range map[string]events.Event{
		`{"format":"complex",` + user + `,"session":{"format":"iss_sub","iss":"https://idp.example.com","sub":"dMTlD|1600802906337.16"}}`: {Session: events.Session{ID: "dMTlD|1600802906337.16"}},
		`{"format":"complex",` + user + `,"session":{"format":"jwt_id","iss":"https://idp.example.com","jti":"B70BA622"}}`:                {Session: events.Session{Token: "B70BA622"}},
		`{"format":"complex",` + user + `,"session":{"format":"saml_assertion_id","issuer":"i","assertion_id":"_8e8d"}}`:                  {Session: events.Session{Token: "_8e8d"}},
		`{"format":"complex",` + user + `,"device":{"format":"aliases","identifiers":[{"format":"email","email":""},{"format":"opaque","id":"d1"}]}}`: {
			Device: events.Device{ID: "d1"},
		},
		`{"format":"complex",` + user + `,"application":{"format":"opaque","id":"app-1"},"session":{"format":"opaque","id":"s1"}}`: {App: events.Ref{ID: "app-1"}, Session: events.Session{ID: "s1"}},
		`{"format":"complex",` + user + `,"session":{"format":"ip-addresses","ip-addresses":["nonsense","::ffff:198.51.100.1"]}}`:  {IP: "198.51.100.1"},
	} {
		e := only(t, set(caep+"session-revoked", subject, `{}`))
		got := events.Event{Session: e.Session, Device: e.Device, App: e.App, IP: e.IP}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", subject, diff)
		}
	}
	sid := strings.Replace(set(caep+"session-revoked", simple, `{}`), `"jti"`, `"sid":"s7","jti"`, 1)
	if e := only(t, sid); e.Session.ID != "s7" {
		t.Errorf("sid: %q", e.Session.ID)
	}
	if e := only(t, set(caep+"session-revoked", simple, `{"sid":"s8"}`)); e.Session.ID != "s8" {
		t.Errorf("sid in the event: %q", e.Session.ID)
	}
}

// Where the subject stands differs: sub_id, the event's own subject, and for older transmitters the token's sub.
func TestWhereTheSubjectStands(t *testing.T) {
	t.Parallel()
	other := strings.Replace(simple, "u1", "u2", 1)
	value := func(top, inside string) string {
		return `{"iss":"https://idp.example.com","iat":1772612131,"jti":"j"` + top + `,"events":{"` + caep + `session-revoked":{` + inside + `}}}`
	}
	legacy := configured(t, ssf.SubjectsConfig{}, ssf.Google)
	modern := configured(t, ssf.SubjectsConfig{}, ssf.SSF1)
	for _, c := range []struct {
		value        string
		google, ssf1 string
	}{
		{value(`,"sub_id":`+simple, ``), "u1", "u1"},
		{value(``, `"subject":`+simple), "u1", "u1"},
		{value(`,"sub_id":`+simple, `"subject":`+other), "u1", "u1"},
		{value(`,"sub":"u3"`, ``), "u3", ""},
		{value(`,"sub":"u3"`, `"subject":`+simple), "u1", ""},
		{value(``, ``), "", ""},
	} {
		for name, d := range map[string]*ssf.Decoder{"google": legacy, "ssf1": modern} {
			want := c.google
			if name == "ssf1" {
				want = c.ssf1
			}
			all := decode(d, c.value)
			if len(all) != 1 || (all[0].err == nil) != (want != "") || want != "" && all[0].event.User.ID != want {
				t.Errorf("%s, %s: %+v, want %q", name, c.value, all, want)
			}
		}
	}
}
