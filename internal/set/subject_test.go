package set_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/set"
)

func TestSubjectsOfEveryFormat(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		`{"format":"account","uri":"acct:ana@example.com"}`:                                                                                 "",
		`{"format":"did","url":"did:example:123456/did/url/path"}`:                                                                          "",
		`{"email":"Ana@Example.com","format":"email"}`:                                                                                      `{"email":"ana@example.com","format":"email"}`,
		`{"format":"iss_sub","iss":"https://idp.example.com/","sub":"u1"}`:                                                                  "",
		"{\t\"format\" : \"opaque\",\n\"id\" : \"11112222333344445555\"}":                                                                   `{"format":"opaque","id":"11112222333344445555"}`,
		`{"format":"phone_number","phone_number":"+12065550100"}`:                                                                           "",
		`{"format":"phone","phone":"+12065550100"}`:                                                                                         `{"format":"phone_number","phone_number":"+12065550100"}`,
		`{"format":"phone","phone_number":"+12065550100"}`:                                                                                  `{"format":"phone_number","phone_number":"+12065550100"}`,
		`{"format":"uri","uri":"urn:uuid:4e851e98-83c4-4743-a5da-150ecb53042f"}`:                                                            "",
		`{"format":"jwt_id","iss":"https://idp.example.com","jti":"B70BA622"}`:                                                              "",
		`{"assertion_id":"_8e8dc5f6","format":"saml_assertion_id","issuer":"https://idp.example.com"}`:                                      "",
		`{"format":"ip-addresses","ip-addresses":["2001:DB8::1","10.29.37.75","10.29.37.75"]}`:                                              `{"format":"ip-addresses","ip-addresses":["10.29.37.75","2001:db8::1"]}`,
		`{"format":"aliases","identifiers":[{"format":"phone","phone":"+12065550101"},{"email":"a@example.com","format":"email"}]}`:         `{"format":"aliases","identifiers":[{"email":"a@example.com","format":"email"},{"format":"phone_number","phone_number":"+12065550101"}]}`,
		`{"user":{"sub":"u1","format":"iss_sub","iss":"https://idp.example.com"},"format":"complex","x_team":{"format":"opaque","id":"t"}}`: `{"format":"complex","user":{"format":"iss_sub","iss":"https://idp.example.com","sub":"u1"},"x_team":{"format":"opaque","id":"t"}}`,
	} {
		if want == "" {
			want = given
		}
		got, err := set.ParseSubject([]byte(given))
		if diff := cmp.Diff(string(got), want); err != nil || diff != "" {
			t.Errorf("%s: %v (-got, +want)\n%s", given, err, diff)
		}
	}
}

func TestSubjectsAreRefusedWithThePlace(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", set.MaxSubject)
	for given, want := range map[string]string{
		``: "must be an object", `[]`: "must be an object", `null`: "must be an object", `{`: "reading JSON", `{}`: "format: is missing",
		`{"format":7}`: "format: must be text", `{"format":"x"}`: "must be one of account,", `{"format":"opaque"}`: "id: is missing",
		`{"format":"opaque","id":""}`: "must not be empty", `{"format":"opaque","id":null}`: "must be text", `{"format":"opaque","id":7}`: "must be text",
		`{"format":"opaque","id":"a\u0000"}`: "control", `{"format":"opaque","id":"a","x":1}`: `"x": format opaque has no such member`,
		`{"format":"email","email":"ana"}`: "is no email", `{"format":"email","email":"a b@c"}`: "is no email", `{"format":"email","email":"@c"}`: "is no email",
		`{"format":"phone_number","phone_number":"0206"}`: "is no phone_number", `{"format":"account","uri":"ana"}`: "is no account",
		`{"format":"did","url":"x"}`: "is no did", `{"format":"uri","uri":"no uri"}`: "is no uri",
		`{"format":"ip-addresses","ip-addresses":[]}`: "has 0 elements", `{"format":"ip-addresses","ip-addresses":["x"]}`: "ip-addresses: [0]: is",
		`{"format":"ip-addresses","ip-addresses":"10.0.0.1"}`: "must be a list",
		`{"format":"aliases","identifiers":[]}`:               "has 0 elements", `{"format":"aliases","identifiers":{}}`: "must be a list",
		`{"format":"aliases","identifiers":[{"format":"aliases","identifiers":[{"format":"opaque","id":"a"}]}]}`: "must not be nested",
		`{"format":"aliases","identifiers":[{"format":"complex","user":{"format":"opaque","id":"a"}}]}`:          "must be a simple one",
		`{"format":"complex"}`: "has 0 members", `{"format":"complex","user":{"format":"complex","user":{"format":"opaque","id":"a"}}}`: "subject.user: format: is complex",
		`{"format":"complex","user":"u1"}`:                                                     "subject.user: must be an object",
		`{"format":"complex","a b":{"format":"opaque","id":"a"}}`:                              "is no name of a member",
		`{"format":"opaque","id":"` + long + `"}`:                                              "at most 4096 are allowed",
		"{\"format\":\"opaque\",\"id\":\"\xff\"}":                                              "UTF-8",
		`{"format":"ip-addresses","ip-addresses":[` + strings.Repeat(`"::1",`, 40) + `"::1"]}`: "has 41 elements",
	} {
		if got, err := set.ParseSubject([]byte(given)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %s, %v, must say %q", given, got, err, want)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`{"format":"opaque","id":"a"}`, `{"id":"a","format":"opaque"}`, true},
		{`{"format":"opaque","id":"a"}`, `{"format":"opaque","id":"A"}`, false},
		{`{"format":"email","email":"ana@example.com"}`, `{"format":"email","email":"Ana@example.COM"}`, true},
		{`{"format":"opaque","id":"a"}`, `{"format":"complex","user":{"format":"opaque","id":"a"}}`, false},
		{`{"format":"complex","user":{"format":"opaque","id":"a"}}`, `{"format":"complex","user":{"format":"opaque","id":"a"},"device":{"format":"opaque","id":"d"}}`, true},
		{`{"format":"complex","user":{"format":"opaque","id":"a"},"device":{"format":"opaque","id":"e"}}`, `{"format":"complex","user":{"format":"opaque","id":"a"},"device":{"format":"opaque","id":"d"}}`, false},
		{`{"format":"complex","user":{"format":"opaque","id":"a"}}`, `{"format":"complex","user":{"format":"opaque","id":"b"}}`, false},
		{`{"format":"complex","user":{"format":"opaque","id":"a"}}`, `{"format":"complex","tenant":{"format":"opaque","id":"b"}}`, true},
		{`{"format":"x"}`, `{"format":"x"}`, false},
	} {
		if got, back := set.Match(set.Subject(c.a), set.Subject(c.b)), set.Match(set.Subject(c.b), set.Subject(c.a)); got != c.want || back != c.want {
			t.Errorf("%s and %s: %v, %v, must be %v", c.a, c.b, got, back, c.want)
		}
	}
}

// Writing canonically is stable, keeps the meaning, and who is identical matches, whatever the order of members.
func TestCanonicalFormIsStable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-zA-Z0-9 "\\<é:/.-]{1,12}`)
		one := rapid.Custom(func(t *rapid.T) map[string]any {
			switch rapid.IntRange(0, 3).Draw(t, "format") {
			case 0:
				return map[string]any{"format": "opaque", "id": text.Draw(t, "id")}
			case 1:
				return map[string]any{"format": "iss_sub", "iss": text.Draw(t, "iss"), "sub": text.Draw(t, "sub")}
			case 2:
				return map[string]any{"format": "email", "email": fmt.Sprintf("%s@example.com", rapid.StringMatching(`[a-zA-Z+.]{1,9}`).Draw(t, "email"))}
			}
			return map[string]any{"format": "phone_number", "phone_number": rapid.StringMatching(`\+[1-9][0-9]{6,9}`).Draw(t, "phone")}
		})
		subject := one.Draw(t, "simple")
		if rapid.Bool().Draw(t, "complex") {
			subject = map[string]any{"format": "complex"}
			for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"user", "device", "session", "tenant"}), 1, 4, rapid.ID).Draw(t, "members") {
				subject[name] = one.Draw(t, name)
			}
		}
		b, err := json.MarshalIndent(subject, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		first, err := set.ParseSubject(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if again, err := set.ParseSubject(first); err != nil || string(again) != string(first) {
			t.Fatalf("%s, then %s, %v", first, again, err)
		}
		if !set.Match(b, first) {
			t.Fatalf("%s does not match %s", b, first)
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	for _, seed := range []string{
		`{"format":"email","email":"a@example.com"}`, `{"format":"aliases","identifiers":[{"format":"opaque","id":"a"}]}`,
		`{"format":"complex","user":{"format":"opaque","id":"a"},"device":{"format":"ip-addresses","ip-addresses":["::1"]}}`, `{"format":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := set.ParseSubject(b)
		if err != nil {
			return
		}
		again, err := set.ParseSubject(first)
		if err != nil || string(again) != string(first) {
			t.Errorf("%q became %q, then %q: %v", b, first, again, err)
		}
		if !set.Match(b, first) {
			t.Errorf("%q does not match %q", b, first)
		}
	})
}
