package entra

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

const (
	riskID    = "ef7868bd7e94b06ecd6cc965fc826c85d367bb5b9b083da9a26686786a791080"
	programID = "8d7c6b5a-1111-4222-8333-944455556666"
)

// riskProperties are those of a risk detection.
func riskProperties(change func(object)) object {
	return edited(object{
		"id": riskID, "requestId": strings.ToUpper(signInID), "correlationId": "a2c4e6f8-1b3d-4f5a-8c7e-9d0b1a2c3e4f", "riskEventType": "unfamiliarFeatures",
		"riskState": "atRisk", "riskLevel": "medium", "riskDetail": "none", "detectionTimingType": "offline", "activity": "signin", "ipAddress": "203.0.113.80",
		"location":         object{"city": "Lyon", "state": "Rhone", "countryOrRegion": "FR", "geoCoordinates": object{"latitude": 45.76, "longitude": 4.83}},
		"activityDateTime": "2026-03-04T08:15:31.2442191Z", "detectedDateTime": "2026-03-04T14:42:35.104Z", "lastUpdatedDateTime": "2026-03-04T14:43:00Z",
		"userId": userID, "userDisplayName": "Example", "userPrincipalName": userID + "@example.com",
		"additionalInfo": `[{"Key":"userAgent","Value":"Mozilla/5.0 Example/1.0"},{"Key":"mitreTechniques","Value":["T1078"]}]`,
	}, change)
}

// riskyUserProperties are those of a user's risk altogether. The id is the user's.
func riskyUserProperties(change func(object)) object {
	return edited(object{
		"id": strings.ToUpper(userID), "isDeleted": false, "isProcessing": false, "riskLastUpdatedDateTime": "2026-03-04T14:43:00.5Z", "riskLevel": "high",
		"riskState": "atRisk", "riskDetail": "none", "userDisplayName": "Example", "userPrincipalName": userID + "@example.com",
	}, change)
}

func TestRiskDetection(t *testing.T) {
	want := &events.Event{
		ID: events.EventID(tenantID, "entra", riskID+"@1772635380000"), Kind: events.RiskReport, Tenant: tenantID,
		User: events.User{ID: userID, Name: userID + "@example.com"}, Time: 1772635380000, Emitted: 1772612275104,
		Source: events.Source{Family: "entra", ID: riskID + "@1772635380000", Category: "UserRiskEvents"},
		IP:     "203.0.113.80", UserAgent: "Mozilla/5.0 Example/1.0", Correlation: "a2c4e6f8-1b3d-4f5a-8c7e-9d0b1a2c3e4f",
		ProviderPlace: events.Place{Lat: 45.76, Lon: 4.83, City: "Lyon", Region: "Rhone", Country: "FR"},
		Risk:          events.Risk{Level: events.RiskMedium, State: events.RiskOpen, Detections: []string{"unfamiliarFeatures"}, SignIn: signInID, Happened: 1772612131244},
	}
	for way, e := range map[string]*events.Event{
		"hub": one(t, EventHub(), around(t, "UserRiskEvents", riskProperties(nil))),
		"row": one(t, LogAnalytics(), asRow(t, "AADUserRiskEvents", riskProperties(nil))),
	} {
		if diff := cmp.Diff(want, e); diff != "" {
			t.Errorf("%s: %s", way, diff)
		}
	}
	got := decode(Graph(), text(t, riskProperties(nil)))[0]
	if got.err != nil || got.event.Source != want.Source || !cmp.Equal(got.event.Risk, want.Risk) || got.event.Time != want.Time {
		t.Errorf("Graph: %+v", got)
	}
}

func TestT4_RiskEventsHaveAmericanTimes(t *testing.T) {
	value := around(t, "UserRiskEvents", riskProperties(func(p object) { p["lastUpdatedDateTime"] = "3/4/2026 2:43:00 PM" }))
	value = strings.Replace(value, "2026-03-04T08:17:55.1043377Z", "3/4/2026 2:44:00 PM", 1)
	if e := one(t, EventHub(), value); e.Time != 1772635380000 || e.Emitted != 1772635440000 {
		t.Errorf("%v, emitted %v", e.Time, e.Emitted)
	}
}

func TestT13_HiddenIsNotNone(t *testing.T) {
	for text, want := range map[string]events.RiskLevel{
		"hidden": "", "none": events.RiskNone, "low": events.RiskLow, "Medium": events.RiskMedium, "HIGH": events.RiskHigh, "unknownFutureValue": "", "": "",
	} {
		e := hub(t, func(_, p object) { p["riskLevelDuringSignIn"], p["riskLevelAggregated"] = text, text })
		if e.Risk.Level != want || e.Risk.User != want {
			t.Errorf("%q: %+v, want %q", text, e.Risk, want)
		}
	}
	for text, want := range map[string]events.RiskState{
		"hidden": "", "none": events.RiskNotReported, "atRisk": events.RiskOpen, "confirmedCompromised": events.RiskConfirmed,
		"ConfirmedSafe": events.RiskSafe, "remediated": events.RiskRemediated, "dismissed": events.RiskDismissed,
	} {
		if e := hub(t, property("riskState", text)); e.Risk.State != want {
			t.Errorf("%q: %+v, want %q", text, e.Risk, want)
		}
	}
	e := hub(t, func(_, p object) {
		p["riskLevelDuringSignIn"], p["riskState"], p["riskDetail"] = "hidden", "hidden", "hidden"
		p["userDisplayName"], p["appDisplayName"], p["sessionId"] = "hidden", "Hidden", "hidden"
	})
	if e.App.Name != "" || e.Session.ID != "" || e.Outcome != events.Success || e.Risk.IsDefined() {
		t.Errorf("%+v", e)
	}
	// A tenant without the licence is told of detections, but not what they are.
	nothing := func(p object) { p["riskLevel"], p["riskState"], p["riskDetail"] = "hidden", "hidden", "hidden" }
	if reason, category := skipped(t, EventHub(), around(t, "UserRiskEvents", riskProperties(nothing))); reason != "hidden" || category != "UserRiskEvents" {
		t.Errorf("%q %q", reason, category)
	}
}

func TestRiskOfASignIn(t *testing.T) {
	want := events.Risk{
		Level: events.RiskHigh, User: events.RiskMedium, State: events.RiskConfirmed, Detail: "adminConfirmedSigninCompromised",
		Detections: []string{"anonymizedIPAddress", "unfamiliarFeatures"},
	}
	properties := object{
		"riskLevelDuringSignIn": "high", "riskLevelAggregated": "medium", "riskState": "confirmedCompromised", "riskDetail": want.Detail,
		"riskEventTypes": []string{"unlikelyTravel"}, "riskEventTypes_v2": want.Detections,
	}
	e := hub(t, func(_, p object) {
		maps.Copy(p, properties)
	})
	if diff := cmp.Diff(want, e.Risk); diff != "" {
		t.Error(diff)
	}
	e = one(t, LogAnalytics(), row(t, func(r object) {
		for key, v := range properties {
			if key != "riskEventTypes_v2" {
				r[strings.ToUpper(key[:1])+key[1:]] = v
			}
		}
		r["RiskEventTypes"], r["RiskEventTypes_V2"] = "[]", text(t, want.Detections)
	}))
	if diff := cmp.Diff(want, e.Risk); diff != "" {
		t.Errorf("row: %s", diff)
	}
	e = hub(t, property("riskEventTypes", []string{"unlikelyTravel"}))
	if !slices.Equal(e.Risk.Detections, []string{"unlikelyTravel"}) {
		t.Errorf("only the older list: %+v", e.Risk)
	}
}

func TestT44_RevisionsAreEventsOfTheirOwn(t *testing.T) {
	first := one(t, EventHub(), around(t, "UserRiskEvents", riskProperties(nil)))
	again := one(t, EventHub(), around(t, "UserRiskEvents", riskProperties(func(p object) { p["lastUpdatedDateTime"] = "2026-03-04T14:43:00.0000001Z" })))
	revised := one(t, EventHub(), around(t, "UserRiskEvents", riskProperties(func(p object) {
		p["lastUpdatedDateTime"], p["riskState"], p["riskDetail"] = "2026-03-05T09:00:00Z", "remediated", "userPerformedSecuredPasswordReset"
	})))
	if first.ID != again.ID || first.ID == revised.ID {
		t.Errorf("ids %s, %s and revised %s", first.ID, again.ID, revised.ID)
	}
	if revised.Risk.State != events.RiskRemediated || revised.Risk.SignIn != signInID || revised.Risk.Happened != first.Risk.Happened || revised.Risk.Detail == "" {
		t.Errorf("%+v", revised.Risk)
	}
	// Without a revision it is as old as the detection.
	e := one(t, EventHub(), around(t, "UserRiskEvents", riskProperties(func(p object) { delete(p, "lastUpdatedDateTime") })))
	if e.Time != 1772635355104 {
		t.Errorf("time %v", e.Time)
	}
	for field, change := range map[string]func(object){
		"id: is missing":     func(p object) { delete(p, "id") },
		"userId: is missing": func(p object) { delete(p, "userId") },
		"lastUpdatedDateTime: is missing": func(p object) {
			delete(p, "lastUpdatedDateTime")
			delete(p, "detectedDateTime")
			delete(p, "activityDateTime")
		},
		`lastUpdatedDateTime: "soon"`: func(p object) { p["lastUpdatedDateTime"] = "soon" },
	} {
		if why := refused(t, EventHub(), around(t, "UserRiskEvents", riskProperties(change))); !strings.Contains(why, field) {
			t.Errorf("%s: %s", field, why)
		}
	}
}

func TestRiskyUser(t *testing.T) {
	want := &events.Event{
		ID: events.EventID(tenantID, "entra", userID+"@1772635380500"), Kind: events.RiskReport, Tenant: tenantID, Time: 1772635380500, Emitted: 1772612275104,
		User: events.User{ID: userID, Name: userID + "@example.com"}, Source: events.Source{Family: "entra", ID: userID + "@1772635380500", Category: "RiskyUsers"},
		Risk: events.Risk{User: events.RiskHigh, State: events.RiskOpen},
	}
	for way, e := range map[string]*events.Event{
		"hub": one(t, EventHub(), around(t, "RiskyUsers", riskyUserProperties(nil))),
		"row": one(t, LogAnalytics(), asRow(t, "AADRiskyUsers", riskyUserProperties(nil))),
	} {
		if diff := cmp.Diff(want, e); diff != "" {
			t.Errorf("%s: %s", way, diff)
		}
	}
	if got := decode(Graph(), text(t, riskyUserProperties(nil)))[0]; got.err != nil || got.event.Source != want.Source {
		t.Errorf("Graph: %+v", got)
	}
	if why := refused(t, EventHub(), around(t, "RiskyUsers", riskyUserProperties(func(p object) { delete(p, "riskLastUpdatedDateTime") }))); !strings.Contains(why, "riskLastUpdatedDateTime: is missing") {
		t.Error(why)
	}
}

func TestT21_RisksOfPrograms(t *testing.T) {
	person := func(p object) {
		for _, key := range []string{"userId", "userPrincipalName", "userDisplayName"} {
			delete(p, key)
		}
	}
	seen := riskProperties(func(p object) {
		person(p)
		p["servicePrincipalId"], p["servicePrincipalDisplayName"], p["appId"], p["riskEventType"] = strings.ToUpper(programID), "Backup job", "c1a04e77", "leakedCredentials"
	})
	altogether := riskyUserProperties(func(p object) {
		person(p)
		p["id"], p["displayName"], p["appId"], p["servicePrincipalType"], p["isEnabled"] = programID, "Backup job", "c1a04e77", "Application", true
	})
	for category, properties := range map[string]object{"ServicePrincipalRiskEvents": seen, "RiskyServicePrincipals": altogether} {
		got := []result{
			decode(EventHub(), around(t, category, properties))[0], decode(LogAnalytics(), asRow(t, "AAD"+category, properties))[0],
			decode(Graph(), text(t, properties))[0],
		}
		for way, r := range got {
			if r.err != nil || !cmp.Equal(r.event.User, events.User{ID: programID, Type: events.Workload, Name: "Backup job"}) || r.event.Source.Category != category || r.event.Kind != events.RiskReport {
				t.Errorf("%s by way %d: %+v", category, way, r)
			}
		}
	}
}
