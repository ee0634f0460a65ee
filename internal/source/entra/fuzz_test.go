package entra

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// reversed writes JSON with the members of every object in the reverse of their order.
func reversed(out *bytes.Buffer, v any) {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		slices.Reverse(keys)
		out.WriteByte('{')
		for n, k := range keys {
			if n > 0 {
				out.WriteByte(',')
			}
			reversed(out, k)
			out.WriteByte(':')
			reversed(out, v[k])
		}
		out.WriteByte('}')
	case []any:
		out.WriteByte('[')
		for n, element := range v {
			if n > 0 {
				out.WriteByte(',')
			}
			reversed(out, element)
		}
		out.WriteByte(']')
	default:
		raw, _ := json.Marshal(v) // texts, numbers, true, false and null are always JSON
		out.Write(raw)
	}
}

// lawful checks what must hold of every result, whatever the value.
func lawful(t *testing.T, value string, r result) {
	t.Helper()
	if (r.event == nil) == (r.err == nil) {
		t.Fatalf("event %v and error %v", r.event, r.err)
	}
	if !strings.Contains(value, r.record) {
		t.Errorf("%q is no part of the value", r.record)
	}
	if r.err != nil {
		skip := new(foreign.Skipped)
		if text := r.err.Error(); text == "" || len(text) > 1000 {
			t.Errorf("an error of %d bytes", len(text))
		}
		if errors.As(r.err, &skip) && !slices.Contains([]string{"category", "first_party", "hidden", "no_user"}, skip.Skip()) {
			t.Errorf("skipped for %q", skip.Skip())
		}
		return
	}
	e := r.event
	if e.User.ID == "" || e.Source.ID == "" || e.Time == 0 || e.Source.Family != Family {
		t.Errorf("an event of nobody: %+v", e)
	}
	if e.Tenant == "" {
		e.Tenant = "acme" // the source's
	}
	e.Clean()
	if err := e.Validate(); err != nil {
		// What an id or tenant may not hold is for the dead letters; everything else the decoder sees to.
		for problem := range strings.Lines(err.Error()) {
			if field, _, found := strings.Cut(problem, ": "); !found || field != "tenant" && !strings.HasSuffix(problem, "has control characters or invalid UTF-8") &&
				!strings.HasSuffix(strings.TrimSpace(problem), "has control characters or invalid UTF-8") {
				t.Errorf("%s", problem)
			}
		}
		return
	}
	if _, err := events.Decode(events.Encode(e)); err != nil {
		t.Errorf("an event that cannot be read back: %v", err)
	}
}

// told is what became of a value, to compare.
func told(results []result) string {
	var out strings.Builder
	for _, r := range results {
		if r.err != nil {
			out.WriteString("error\n") // its text may name another of the problems first
			continue
		}
		out.Write(events.Encode(r.event))
		out.WriteByte('\n')
	}
	return out.String()
}

func fuzz(f *testing.F, d *Decoder) {
	f.Fuzz(func(t *testing.T, value string) {
		results := decode(d, value)
		// The order of members means nothing.
		var v any
		if numbers := json.NewDecoder(strings.NewReader(value)); json.Valid([]byte(value)) {
			numbers.UseNumber()
			if err := numbers.Decode(&v); err != nil {
				t.Fatal(err)
			}
			var sorted, backwards bytes.Buffer
			raw, _ := json.Marshal(v)
			if sorted.Write(raw); len(raw) <= maxValue {
				reversed(&backwards, v)
				if a, b := told(decode(d, sorted.String())), told(decode(d, backwards.String())); a != b {
					t.Errorf("in order\n%s\nand backwards\n%s", a, b)
				}
			}
		}
		for _, r := range results {
			lawful(t, value, r)
		}
	})
}

func FuzzEventHub(f *testing.F) {
	f.Add(diagnostic(f, nil))
	f.Add(`{"records":[` + diagnostic(f, property("authenticationDetails", steps("Password|true|Primary authentication", "SMS|false|MFA|denied"))) + `,5]}`)
	f.Add(string(hubBatch(f, 1, 1)))
	f.Add(around(f, "AuditLogs", auditProperties(nil)))
	f.Add(around(f, "UserRiskEvents", riskProperties(nil)))
	f.Add(around(f, "RiskyServicePrincipals", riskyUserProperties(nil)))
	f.Add(around(f, "ServicePrincipalSignInLogs", object{"id": "x", "createdDateTime": "2026-03-04T08:15:31Z", "appId": "y"}))
	fuzz(f, EventHub())
}

func FuzzLogAnalytics(f *testing.F) {
	f.Add(row(f, nil))
	f.Add("[" + row(f, func(r object) { r["Status"] = object{"errorCode": 500121} }) + "]")
	f.Add(asRow(f, "AuditLogs", auditProperties(activityWith("Add member to role", by(adminID, "a"), user(userID, "Role.DisplayName||x"), user("z")))))
	f.Add(asRow(f, "AADUserRiskEvents", riskProperties(nil)))
	fuzz(f, LogAnalytics())
}

func FuzzGraph(f *testing.F) {
	f.Add(`{"value":[` + graphSignIn(f, nil) + `]}`)
	f.Add(text(f, auditProperties(activityWith("Consent to application", by(userID, "a"), aim("ServicePrincipal", programID, "x",
		"ConsentAction.Permissions||[] => [[Id: 1, ConsentType: Principal, Scope: a b]]; ")))))
	f.Add(text(f, riskProperties(nil)))
	f.Add(text(f, riskyUserProperties(nil)))
	fuzz(f, Graph())
}
