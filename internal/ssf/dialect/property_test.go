package dialect

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/set/settest"
	"github.com/countersign-io/countersign/internal/ssf"
)

// anyText may hold everything that JSON may, also what has to be escaped, and may be long.
func anyText(limit int) *rapid.Generator[string] {
	return rapid.OneOf(rapid.StringN(0, limit/4, limit), rapid.SampledFrom([]string{"", "<script>&\"\\", "\u2028é", strings.Repeat("x", limit)}))
}

// anyClaims are those that revocation.ParseClaims accepts.
func anyClaims(t *rapid.T) *revocation.Claims {
	name := rapid.StringN(1, 40, events.MaxID)
	c := &revocation.Claims{
		Issuer: "https://countersign.example", JTI: name.Draw(t, "jti"), Tenant: "acme",
		User: name.Filter(func(s string) bool {
			return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
		}).Draw(t, "user"),
		Status: rapid.SampledFrom(revocation.Statuses).Draw(t, "status"), IssuedAt: rapid.Int64Range(1, 1<<33).Draw(t, "iat"),
		Requirement: revocation.Requirement{
			ID: name.Draw(t, "requirement"), Action: rapid.SampledFrom(events.Actions[2:]).Draw(t, "action"),
			ACRValues: rapid.SliceOfN(rapid.SampledFrom([]string{"phr", "mfa", "c1", "c99", "c100", "c01", "urn:x"}), 0, 4).Draw(t, "acr_values"),
			MaxAge:    rapid.IntRange(0, 1<<20).Draw(t, "max_age"), NotBefore: rapid.Int64Range(1, 1<<33).Draw(t, "not_before"),
			Severity:    rapid.SampledFrom(events.Severities).Draw(t, "severity"),
			ReasonAdmin: "Ana Visser from Utrecht", ReasonUser: rapid.MapOfN(rapid.SampledFrom([]string{"", "en", "de"}), anyText(1200), 0, 3).Draw(t, "reason_user"),
			Policy: anyText(events.MaxID).Draw(t, "policy"), PolicyVersion: anyText(64).Draw(t, "version"),
			EventTime: rapid.Int64Range(1, 1<<33).Draw(t, "event_timestamp"), EventID: "e1",
			UserName:           rapid.SampledFrom([]string{"", "ana", "ana@example.com", "@", "ana visser@example.com"}).Draw(t, "user_name"),
			NoncompliantDevice: rapid.Bool().Draw(t, "noncompliant"),
		},
	}
	for range rapid.IntRange(0, 8).Draw(t, "findings") {
		c.Findings = append(c.Findings, revocation.Cause{
			ID: "f", Detection: rapid.SampledFrom([]string{"", "LOC-01", "DEV-04", "SES-01"}).Draw(t, "detection"), Summary: "Ana Visser from Utrecht",
		})
	}
	c.Expires = c.NotBefore + rapid.Int64Range(1, 1<<20).Draw(t, "life")
	if c.Action == events.RevokeAll {
		c.CredentialChange = rapid.Bool().Draw(t, "credential_change")
	} else {
		c.Session = rapid.SampledFrom([]string{"", "s9", "<s>"}).Draw(t, "session")
	}
	if c.NoncompliantDevice {
		c.Device = rapid.SampledFrom([]string{"", "d-7"}).Draw(t, "device")
	}
	if c.Status != revocation.Open {
		c.ClosedAt = rapid.Int64Range(1, 1<<33).Draw(t, "closed_at")
	}
	return c
}

func anyStream(t *rapid.T) ssf.Stream {
	kinds := []string{StepUpRequired, AssuranceLevelChange, RiskLevelChange, DeviceComplianceChange, SessionRevoked, CredentialChange, UserRiskChange, "https://example.com/x"}
	return ssf.Stream{
		ID: "st-1", Tenant: "acme", Issuer: "https://courier.example.com/acme",
		Audience: rapid.SampledFrom([][]string{{"a"}, {"a", "b"}}).Draw(t, "aud"),
		Dialect:  rapid.SampledFrom([]ssf.Dialect{"", ssf.DialectSSF1, ssf.DialectGoogle, ssf.DialectOkta, ssf.DialectAppleSSE}).Draw(t, "dialect"),
		Interop:  rapid.Bool().Draw(t, "interop"), RevokeForStepUp: rapid.Bool().Draw(t, "revoke_for_step_up"),
		SubjectFormat: rapid.SampledFrom([]string{"", ssf.FormatEmail, ssf.FormatIssSub, ssf.FormatOpaque}).Draw(t, "subject_format"),
		SubjectIssuer: rapid.SampledFrom([]string{"", "https://idp.example.com"}).Draw(t, "subject_issuer"),
		Requested:     rapid.SliceOfN(rapid.SampledFrom(kinds), 0, 4).Draw(t, "requested"),
	}
}

// Of every decision a stream gets nothing, or one token as the conformance suite demands it, or the reason why its subject
// cannot be named. The same decision gives the same token.
func TestEveryTokenIsLawful(t *testing.T) {
	t.Parallel()
	key := settest.Key(t)
	jwks := settest.JWKS(t, key)
	rapid.Check(t, func(t *rapid.T) {
		s, c := anyStream(t), anyClaims(t)
		if _, err := revocation.ParseClaims(c.Encode()); err != nil {
			t.Fatalf("the test makes bad claims: %v", err)
		}
		now := time.Unix(rapid.Int64Range(1, 1<<33).Draw(t, "now"), 0)
		delivered := Delivered(s)
		if s.Interop && slices.Contains(slices.Concat(Supported(s), delivered), StepUpRequired) {
			t.Fatal("our own type on an interop stream")
		}
		for _, kind := range delivered {
			if !slices.Contains(Supported(s), kind) || len(s.Requested) > 0 && !slices.Contains(s.Requested, kind) {
				t.Fatalf("%s is delivered, supported are %v, requested %v", kind, Supported(s), s.Requested)
			}
		}
		token, ok, err := Encode(s, c, now)
		switch {
		case err != nil && ok:
			t.Fatal("both a token and an error")
		case err != nil:
			email := s.SubjectFormat == ssf.FormatEmail || s.Dialect == ssf.DialectGoogle || s.Dialect == ssf.DialectOkta && s.SubjectFormat == ""
			issuer := s.SubjectFormat == ssf.FormatIssSub || s.Dialect == ssf.DialectAppleSSE
			if (!email || c.UserName == "ana@example.com") && (!issuer || s.SubjectIssuer != "") {
				t.Fatal(err)
			}
			return
		case !ok:
			if c.Status == revocation.Open && c.Action != events.StepUp && slices.Contains(delivered, SessionRevoked) {
				t.Fatal("a revocation is kept from a stream that gets them")
			}
			return
		}
		if again, _, _ := Encode(s, c, now); string(again.Event) != string(token.Event) || string(again.Subject) != string(token.Subject) {
			t.Fatal("the same decision gives another token")
		}
		compact, err := set.Sign(t.Context(), key, &token)
		if err != nil {
			t.Fatal(err)
		}
		got, err := settest.Verify(compact, jwks, settest.Want{
			Issuer: s.Issuer, Audience: s.Audience, Types: delivered, JTI: c.JTI, Txn: c.ID, Now: now,
		})
		if err != nil {
			t.Fatalf("%v\n%s", err, got.Claims)
		}
		if strings.Contains(string(got.Claims), "Utrecht") {
			t.Fatalf("personal data in %s", got.Claims)
		}
		if got.Type == SessionRevoked && c.Status != revocation.Open && !slices.Contains(delivered, StepUpRequired) {
			t.Fatalf("the end of a revocation would be one more to this receiver: %s", got.Claims)
		}
	})
}
