package stepup

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseTokenError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body  string
		want  *InteractionRequiredError
		unmet bool
	}{
		"claims in a string":  {`{"error":"interaction_required","claims":"{\"access_token\":{}}"}`, &InteractionRequiredError{Code: "interaction_required", Claims: `{"access_token":{}}`, MaxAge: NoMaxAge}, false},
		"claims as an object": {`{"error":"invalid_grant","suberror":"bad_token","claims":{"access_token":{}}}`, &InteractionRequiredError{Code: "invalid_grant", Suberror: "bad_token", Claims: `{"access_token":{}}`, MaxAge: NoMaxAge}, false},
		"claims unreadable":   {`{"error":"login_required","claims":"{"}`, &InteractionRequiredError{Code: "login_required", MaxAge: NoMaxAge}, false},
		"no claims":           {`{"error":"consent_required","error_description":"a\u0000b"}`, &InteractionRequiredError{Code: "consent_required", Description: "a b", MaxAge: NoMaxAge}, false},
		"unmet":               {`{"error":"unmet_authentication_requirements"}`, nil, true},
		"another error":       {`{"error":"invalid_client"}`, nil, false},
		"no JSON":             {`<html>`, nil, false},
		"nothing":             {``, nil, false},
		"large":               {`{"error":"interaction_required","x":"` + strings.Repeat("x", MaxClaims) + `"}`, nil, false},
	} {
		err := ParseTokenError([]byte(c.body))
		got, _ := errors.AsType[*InteractionRequiredError](err)
		if diff := cmp.Diff(c.want, got); diff != "" || errors.Is(err, ErrUnmetRequirements) != c.unmet || (c.want == nil && !c.unmet) != (err == nil) {
			t.Errorf("%s: %v (-want, +got):\n%s", name, err, diff)
		}
	}
}

func TestMergeClaims(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   []string
		want string
	}{
		"none":              {nil, ""},
		"empty":             {[]string{"", ""}, ""},
		"one":               {[]string{"", `{"access_token": {"x": null}}`}, `{"access_token": {"x": null}}`},
		"members":           {[]string{`{"access_token":{"a":{"essential":true}}}`, `{"access_token":{"b":null},"id_token":{"c":null}}`}, `{"access_token":{"a":{"essential":true},"b":null},"id_token":{"c":null}}`},
		"values":            {[]string{`{"access_token":{"x":{"values":["a","b"]}}}`, `{"access_token":{"x":{"values":["b","c",1,"1"]}}}`}, `{"access_token":{"x":{"values":["a","b","c",1,"1"]}}}`},
		"voluntary":         {[]string{`{"access_token":{"x":null}}`, `{"access_token":{"x":{"value":"a"}}}`}, `{"access_token":{"x":{"value":"a"}}}`},
		"voluntary, behind": {[]string{`{"access_token":{"x":{"value":"a"}}}`, `{"access_token":{"x":null}}`}, `{"access_token":{"x":{"value":"a"}}}`},
		"one value, later":  {[]string{`{"access_token":{"x":{"value":"a","essential":true}}}`, `{"access_token":{"x":{"value":"b"}}}`}, `{"access_token":{"x":{"essential":true,"value":"b"}}}`},
	} {
		got, err := MergeClaims(c.in...)
		if err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, c.want)
		}
	}
	for _, bad := range []string{`[]`, `null`, `{`, `"x"`, `{"x":"` + strings.Repeat("x", MaxClaims) + `"}`} {
		if got, err := MergeClaims(`{}`, bad); err == nil {
			t.Errorf("%.40s: merged to %s", bad, got)
		}
	}
}

// Whatever is merged, every claim and every acceptable value of each request is still asked for.
func TestMergeClaimsLosesNothing(t *testing.T) {
	t.Parallel()
	type claims map[string]map[string]map[string][]string
	some := rapid.Custom(func(t *rapid.T) claims {
		name, value := rapid.SampledFrom([]string{"a", "b", "c"}), rapid.SampledFrom([]string{"1", "2", "3", "4"})
		member := rapid.SampledFrom([]string{"access_token", "id_token"})
		values := rapid.MapOfN(rapid.Just("values"), rapid.SliceOf(value), 1, 1)
		return rapid.MapOf(member, rapid.MapOf(name, values)).Draw(t, "claims")
	})
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(some, 1, 4).Draw(t, "parts")
		var texts []string
		for _, p := range parts {
			text, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(text))
		}
		merged, err := MergeClaims(texts...)
		if err != nil {
			t.Fatal(err)
		}
		var got claims
		if err := json.Unmarshal([]byte(merged), &got); err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			for member, names := range p {
				for name, want := range names {
					have := got[member][name]["values"]
					for _, v := range want["values"] {
						if !slices.Contains(have, v) {
							t.Fatalf("%s.%s lost %s: %v became %s", member, name, v, texts, merged)
						}
					}
				}
			}
		}
	})
}

func FuzzTokenError(f *testing.F) {
	f.Add(`{"error":"interaction_required","claims":"{}"}`, `{"access_token":{"xms_cc":{"values":["cp1"]}}}`)
	f.Fuzz(func(t *testing.T, body, claims string) {
		needed, ok := errors.AsType[*InteractionRequiredError](ParseTokenError([]byte(body)))
		if !ok {
			return
		}
		if strings.ContainsAny(needed.Error(), "\r\n\x00") && !strings.ContainsAny(needed.Code, "\r\n\x00") {
			t.Errorf("%q is several lines", needed.Error())
		}
		if merged, err := MergeClaims(claims, needed.Claims); err == nil && merged != "" && !json.Valid([]byte(merged)) {
			t.Errorf("%q and %q merged to %q", claims, needed.Claims, merged)
		}
	})
}
