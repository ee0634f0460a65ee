package entra

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

const (
	tenantID = "0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80"
	userID   = "5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315"
	signInID = "1e2d3c4b-5a69-4788-9a7b-6c5d4e3f2a10"
)

type object = map[string]any

// diagnostic is a record of Event Hubs; change edits it before it is written.
func diagnostic(t testing.TB, change func(record, properties object)) string {
	t.Helper()
	properties := object{
		"id": signInID, "createdDateTime": "2026-03-04T08:15:31.2442191+00:00", "userId": userID,
		"userPrincipalName": userID + "@example.com", "appId": "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00", "appDisplayName": "Example Portal",
		"ipAddress": "192.0.2.10", "isInteractive": true, "status": object{"errorCode": 0},
		"userAgent": "Mozilla/5.0 (X11; Linux x86_64) Example/1.0", "correlationId": "a2c4e6f8-1b3d-4f5a-8c7e-9d0b1a2c3e4f",
		"signInIdentifier":          "hunter2",
		"deviceDetail":              object{"deviceId": "d-1", "operatingSystem": "Windows10", "browser": "Edge 131.0.0", "isCompliant": true, "isManaged": false},
		"location":                  object{"city": "Utrecht", "state": "Utrecht", "countryOrRegion": "NL", "geoCoordinates": object{"altitude": nil, "latitude": 52.09, "longitude": 5.12}},
		"authenticationRequirement": "singleFactorAuthentication", "authenticationProtocol": "none",
		"sessionId": "3c2b1a09-f8e7-4d6c-b5a4-938271605f4e", "uniqueTokenIdentifier": "QmFzZTY0RXhhbXBsZQ", "autonomousSystemNumber": 64500,
	}
	record := object{
		"time": "2026-03-04T08:17:55.1043377Z", "resourceId": "/tenants/" + tenantID + "/providers/Microsoft.aadiam",
		"operationName": "Sign-in activity", "category": "SignInLogs", "tenantId": tenantID, "resultType": "0",
		"callerIpAddress": "198.51.100.99", "Level": 4, "location": "NL", "properties": properties,
	}
	if change != nil {
		change(record, properties)
	}
	return text(t, record)
}

// text is a value in JSON.
func text(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

type result struct {
	record string
	event  *events.Event
	err    error
}

// decode decodes a value whose memory is used for something else right after.
func decode(d *Decoder, value string) []result {
	var out []result
	raw := []byte(value)
	d.Decode(raw, func(record []byte, e *events.Event, err error) {
		r := result{record: string(record), err: err}
		if e != nil {
			kept := *e
			r.event = &kept
		}
		out = append(out, r)
	})
	for i := range raw {
		raw[i] = '#'
	}
	return out
}

func one(t testing.TB, d *Decoder, value string) *events.Event {
	t.Helper()
	got := decode(d, value)
	if len(got) != 1 || got[0].err != nil {
		t.Fatalf("%.300s\ngives %+v", value, got)
	}
	e := got[0].event
	e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	if e.Clean(); e.Validate() != nil {
		t.Errorf("the event is not valid: %v", e.Validate())
	}
	return e
}

func hub(t testing.TB, change func(record, properties object)) *events.Event {
	t.Helper()
	return one(t, EventHub(), diagnostic(t, change))
}

func property(key string, value any) func(record, properties object) {
	return func(_, p object) { p[key] = value }
}

func steps(list ...string) []object {
	out := []object{}
	for i, s := range list {
		f := append(strings.Split(s, "|"), "", "", "")
		out = append(out, object{
			"authenticationStepDateTime": "2026-03-04T08:15:31+00:00", "authenticationMethod": f[0], "succeeded": f[1] == "true",
			"authenticationStepRequirement": f[2], "authenticationStepResultDetail": f[3], "StatusSequence": i, "RequestSequence": 1,
		})
	}
	return out
}

func row(t testing.TB, change func(object)) string {
	t.Helper()
	r := object{
		"TenantId": "64d5c4b3-a291-4807-8f6e-5d4c3b2a1908", "AADTenantId": tenantID, "Type": "AADNonInteractiveUserSignInLogs",
		"TimeGenerated": "2026-03-04T08:17:55.104", "CreatedDateTime": "2026-03-04T08:15:31.244", "Id": signInID, "UserId": userID,
		"UserPrincipalName": userID + "@example.com", "IPAddress": "192.0.2.10", "Level": "4", "ResultType": "0", "Location": "NL",
		"LocationDetails": `{"city":"Utrecht","state":"Utrecht","countryOrRegion":"NL","geoCoordinates":{"latitude":52.09,"longitude":5.12}}`,
		"DeviceDetail":    `{"deviceId":"d-1","operatingSystem":"Windows10","browser":"Edge 131.0.0","isCompliant":true,"isManaged":false}`,
		"Status":          `{"errorCode":0}`, "AuthenticationDetails": "[]", "AutonomousSystemNumber": "64500",
		"CorrelationId": "A2C4E6F8-1b3d-4f5a-8c7e-9d0b1a2c3e4f",
		"SessionId":     "3c2b1a09-f8e7-4d6c-b5a4-938271605f4e", "UniqueTokenIdentifier": "QmFzZTY0RXhhbXBsZQ",
		"AppId": "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00", "AppDisplayName": "Example Portal", "AuthenticationRequirement": "singleFactorAuthentication",
		"UserAgent": "Mozilla/5.0 (X11; Linux x86_64) Example/1.0",
	}
	if change != nil {
		change(r)
	}
	return text(t, r)
}

// skipped decodes one record that must be skipped, and returns why and its category.
func skipped(t testing.TB, d *Decoder, value string) (reason, category string) {
	t.Helper()
	got := decode(d, value)
	skip := new(foreign.Skipped)
	if len(got) != 1 || got[0].event != nil || !errors.As(got[0].err, &skip) {
		t.Fatalf("%.300s\ngives %+v, want it skipped", value, got)
	}
	return skip.Skip(), skip.Category
}

// refused decodes one record that must be refused, and returns why.
func refused(t testing.TB, d *Decoder, value string) string {
	t.Helper()
	got := decode(d, value)
	skip := new(foreign.Skipped)
	if len(got) != 1 || got[0].event != nil || got[0].err == nil || errors.As(got[0].err, &skip) {
		t.Fatalf("%.300s\ngives %+v, want it refused", value, got)
	}
	return got[0].err.Error()
}

// graphSignIn is the v1.0 record of the sign-in that diagnostic has: much poorer.
func graphSignIn(t testing.TB, change func(object)) string {
	t.Helper()
	p := object{
		"id": signInID, "createdDateTime": "2026-03-04T08:15:31.244Z", "userId": userID, "userPrincipalName": userID + "@example.com", "userDisplayName": "Example",
		"appId": "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00", "appDisplayName": "Example Portal", "clientAppUsed": "Browser", "ipAddress": "192.0.2.10", "isInteractive": true,
		"conditionalAccessStatus": "success", "appliedConditionalAccessPolicies": []object{}, "riskDetail": "none", "riskLevelAggregated": "none",
		"riskLevelDuringSignIn": "none", "riskState": "none", "riskEventTypes": []string{}, "riskEventTypes_v2": []string{},
		"status":       object{"errorCode": 0, "failureReason": nil, "additionalDetails": nil},
		"deviceDetail": object{"deviceId": "", "displayName": nil, "operatingSystem": "Windows10", "browser": "Edge 131.0.0", "isCompliant": nil, "isManaged": nil, "trustType": nil},
		"location":     object{"city": "Utrecht", "state": "Utrecht", "countryOrRegion": "NL", "geoCoordinates": object{"altitude": nil, "latitude": 52.09, "longitude": 5.12}},
	}
	if change != nil {
		change(p)
	}
	return text(t, p)
}

// around is the diagnostic record around the properties of a category.
func around(t testing.TB, category string, properties object) string {
	t.Helper()
	return text(t, object{
		"time": "2026-03-04T08:17:55.1043377Z", "resourceId": "/tenants/" + tenantID + "/providers/Microsoft.aadiam", "category": category, "tenantId": tenantID,
		"callerIpAddress": "198.51.100.99", "Level": 4, "properties": properties,
	})
}

// asRow is the row of a table that has the properties as columns, with nested ones as text.
func asRow(t testing.TB, table string, properties object) string {
	t.Helper()
	r := object{"Type": table, "TenantId": "64d5c4b3-a291-4807-8f6e-5d4c3b2a1908", "AADTenantId": tenantID, "TimeGenerated": "2026-03-04T08:17:55.104"}
	for key, v := range properties {
		switch v.(type) {
		case object, []object, []string:
			v = text(t, v)
		}
		r[strings.ToUpper(key[:1])+key[1:]] = v
	}
	return text(t, r)
}

// edited returns properties after a change.
func edited(p object, change func(object)) object {
	if change != nil {
		change(p)
	}
	return p
}

func samples(t testing.TB) []string {
	t.Helper()
	root := os.Getenv("COUNTERSIGN_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	file, err := os.Open(filepath.Join(root, "signin", "entra-signinlogs-msticpy.jsonl"))
	if err != nil {
		if os.Getenv("CI_REQUIRE_SERVICES") == "1" {
			t.Fatalf("the shared samples are required: %v", err)
		}
		t.Skipf("the shared samples are absent: %v", err)
	}
	defer file.Close()
	var rows []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		rows = append(rows, lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}
