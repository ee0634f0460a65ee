package stepup

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChallengeForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		in   Challenge
		want string
	}{
		{
			"RFC 9470",
			Challenge{Error: ErrorInsufficientAuthentication, Description: "More recent authentication is required", ACRValues: []string{"phr", "mfa"}},
			`Bearer error="insufficient_user_authentication", error_description="More recent authentication is required", acr_values="phr mfa", max_age="0"`,
		},
		{"DPoP without age", Challenge{Scheme: "DPoP", Error: ErrorInvalidToken, MaxAge: NoMaxAge}, `DPoP error="invalid_token"`},
		{"no token", Challenge{MaxAge: NoMaxAge}, `Bearer`},
		{
			"Entra",
			Challenge{
				Error: ErrorInsufficientClaims, MaxAge: NoMaxAge, AuthorizationURI: "https://login.microsoftonline.com/common/oauth2/authorize",
				Claims: `{"access_token":{"nbf":{"essential":true,"value":"1767225599"}}}`,
			},
			`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", ` +
				`claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzY3MjI1NTk5In19fQ=="`,
		},
		{
			"hostile text",
			Challenge{
				Scheme: "Basic realm=x, Bearer", Error: "x\", evil=\"1", Description: "a\r\nSet-Cookie: a=b\x00\\ é",
				ACRValues: []string{"ok", `p"hr`, "two words", "line\nbreak", ""}, MaxAge: NoMaxAge,
			},
			`Bearer error="x\", evil=\"1", error_description="aSet-Cookie: a=b\\ ", acr_values="ok"`,
		},
	} {
		if got := c.in.String(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestParseChallengesReadsWhatOthersWrite(t *testing.T) {
	t.Parallel()
	const nbf = `{"access_token":{"nbf":{"essential":true,"value":"1767225599"}}}`
	for _, c := range []struct {
		name  string
		lines []string
		want  []Challenge
	}{
		{"own form", []string{`Bearer error="insufficient_user_authentication", acr_values="phr mfa", max_age="0"`}, []Challenge{
			{Scheme: "Bearer", Error: ErrorInsufficientAuthentication, ACRValues: []string{"phr", "mfa"}, MaxAge: 0},
		}},
		{"token values, odd case and blanks", []string{`bearer  ERROR = insufficient_user_authentication ,max_age=5`}, []Challenge{
			{Scheme: "Bearer", Error: ErrorInsufficientAuthentication, MaxAge: 5},
		}},
		{"several schemes in one line", []string{`Negotiate abc==, Basic realm="a, b", DPoP error="invalid_token", Bearer`}, []Challenge{
			{Scheme: "DPoP", Error: ErrorInvalidToken, MaxAge: NoMaxAge}, {Scheme: "Bearer", MaxAge: NoMaxAge},
		}},
		{"several lines", []string{`Negotiate`, `Bearer error="invalid_token"`}, []Challenge{{Scheme: "Bearer", Error: ErrorInvalidToken, MaxAge: NoMaxAge}}},
		{"Entra, unpadded and url-safe", []string{`Bearer client_id="x", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzY3MjI1NTk5In19fQ", authorization_uri="https://login.example/a"`}, []Challenge{
			{Scheme: "Bearer", Error: ErrorInsufficientClaims, Claims: nbf, MaxAge: NoMaxAge, AuthorizationURI: "https://login.example/a"},
		}},
		{"escapes", []string{`Bearer error_description="say \"hi\" \\", max_age="-3"`}, []Challenge{
			{Scheme: "Bearer", Description: `say "hi" \`, MaxAge: NoMaxAge},
		}},
		{"claims that are no JSON", []string{`Bearer claims="e30", error=insufficient_claims`, `Bearer claims="????"`}, []Challenge{
			{Scheme: "Bearer", Error: ErrorInsufficientClaims, Claims: "{}", MaxAge: NoMaxAge}, {Scheme: "Bearer", MaxAge: NoMaxAge},
		}},
		{"nonsense", []string{"", `=`, `"Bearer"`, `,,,`, "Basic realm=\"open"}, nil},
		{"unfinished", []string{`Bearer error="invalid_token", realm="open`}, []Challenge{{Scheme: "Bearer", Error: ErrorInvalidToken, MaxAge: NoMaxAge}}},
		{"too long", []string{"Bearer realm=\"" + strings.Repeat("x", maxHeader) + `"`}, nil},
		{"too many", []string{strings.Repeat("Bearer, ", maxChallenges+5)}, func() (all []Challenge) {
			for range maxChallenges {
				all = append(all, Challenge{Scheme: "Bearer", MaxAge: NoMaxAge})
			}
			return all
		}()},
	} {
		got := ParseChallenges(http.Header{"Www-Authenticate": c.lines})
		for i := range got {
			if len(got[i].ACRValues) == 0 {
				got[i].ACRValues = nil
			}
		}
		if diff := cmp.Diff(got, c.want); diff != "" {
			t.Errorf("%s (-got, +want):\n%s", c.name, diff)
		}
	}
}

// FuzzChallenge checks that no content of a challenge can break out of its header line, and that a client reads back what
// was meant.
func FuzzChallenge(f *testing.F) {
	f.Add("insufficient_user_authentication", "text", "phr mfa", 0, `{"a":"b"}`, "https://x", "")
	f.Add("x\"\r\n", "\\", "a\"b \x00", -1, "{}", "\xff", "r\n")
	f.Fuzz(func(t *testing.T, code, description, acr string, maxAge int, claims, uri, realm string) {
		c := Challenge{
			Error: code, Description: description, ACRValues: strings.Split(acr, " "), MaxAge: maxAge, Claims: claims,
			AuthorizationURI: uri, Realm: realm,
		}
		text := c.String()
		for _, ch := range []byte(text) {
			if ch < ' ' || ch >= 0x7f {
				t.Fatalf("%q holds %#x", text, ch)
			}
		}
		if len(text) > maxHeader {
			return
		}
		got := ParseChallenges(http.Header{"Www-Authenticate": {text}})
		if len(got) != 1 {
			t.Fatalf("%q reads as %d challenges", text, len(got))
		}
		if again := got[0].String(); maxAge >= 0 && strings.Count(again, "max_age=") != 1 {
			t.Errorf("%q was read as %q", text, again)
		}
		if printable(code) && got[0].Error != code || printable(description) && got[0].Description != description {
			t.Errorf("%q was read as %+v", text, got[0])
		}
	})
}

func printable(s string) bool {
	for _, ch := range []byte(s) {
		if ch < ' ' || ch >= 0x7f {
			return false
		}
	}
	return true
}

func FuzzParseChallenges(f *testing.F) {
	f.Add(`Bearer error="insufficient_claims", claims="e30="`)
	f.Add(`Negotiate abc==, Basic realm="a, b", DPoP x=y`)
	f.Fuzz(func(_ *testing.T, line string) {
		for _, c := range ParseChallenges(http.Header{"Www-Authenticate": {line, line}}) {
			_ = c.String()
		}
	})
}
