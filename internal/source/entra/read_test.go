package entra

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

func TestT1ToT6_TimesInEveryForm(t *testing.T) {
	for text, want := range map[any]string{
		"2026-03-04T08:17:55.1043377Z": "2026-03-04T08:17:55.104Z",
		"2026-03-04T03:17:55-05:00":    "2026-03-04T08:17:55.000Z",
		"2026-03-04 08:17:55.104":      "2026-03-04T08:17:55.104Z",
		"3/4/2026 2:42:35 PM":          "2026-03-04T14:42:35.000Z",
		"2026-03-04T08:15:35":          "2026-03-04T08:15:35.000Z",
		int64(1772612135123):           "2026-03-04T08:15:35.123Z",
	} {
		e := hub(t, func(r, p object) { r["time"], p["createdDateTime"] = text, text })
		if e.Time.String() != want || e.Emitted.String() != want {
			t.Errorf("%v: happened %v, emitted %v, want %v", text, e.Time, e.Emitted, want)
		}
	}
	got := decode(EventHub(), diagnostic(t, property("createdDateTime", "soon")))
	if got[0].err == nil || !strings.Contains(got[0].err.Error(), `createdDateTime: "soon"`) {
		t.Errorf("error %v, want one that names the field", got[0].err)
	}
}

func TestT7_EmissionIsNotTheEvent(t *testing.T) {
	e := hub(t, nil)
	if lag := e.Emitted - e.Time; lag != 143860 {
		t.Errorf("lag of %d ms, want 143860", lag)
	}
	if e := hub(t, func(r, _ object) { r["time"] = "whenever" }); e.Emitted != 0 {
		t.Error("a broken emission time must be unknown and cost nothing")
	}
}

func TestT9_NumbersAndStrings(t *testing.T) {
	want := hub(t, nil)
	for name, change := range map[string]func(r, p object){
		"strings": func(r, p object) {
			r["Level"], r["durationMs"], p["autonomousSystemNumber"], p["processingTimeInMilliseconds"] = "Informational", "12", "64500", "366"
			p["status"] = object{"errorCode": "0"}
		},
		"key in lower case": func(r, _ object) { delete(r, "Level"); r["level"] = "4" },
		"numbers":           func(r, _ object) { r["resultType"], r["durationMs"] = 0, 12 },
	} {
		if diff := cmp.Diff(want, hub(t, change)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for resultType, want := range map[any]events.Outcome{"Success": events.Success, "0": events.Success, 50126: events.Failure, nil: ""} {
		e := hub(t, func(r, p object) { delete(p, "status"); r["resultType"] = resultType })
		if e.Outcome != want {
			t.Errorf("resultType %v without status: %q, want %q", resultType, e.Outcome, want)
		}
	}
	if e := hub(t, func(r, p object) { delete(p, "status"); delete(r, "resultType") }); e.Outcome != "" || e.Code != "" {
		t.Errorf("no result at all: %q %q, want unknown", e.Outcome, e.Code)
	}
}

func TestT10_PlacesThatAreNone(t *testing.T) {
	country := events.Place{Country: "NL"}
	for name, c := range map[string]struct {
		location any
		want     events.Place
	}{
		"absent":          {nil, country},
		"empty":           {object{}, country},
		"no coordinates":  {object{"geoCoordinates": object{}}, country},
		"null island":     {object{"city": "", "state": "", "countryOrRegion": "", "geoCoordinates": object{"latitude": 0.0, "longitude": 0.0}}, country},
		"city at 0,0":     {object{"city": "Utrecht", "countryOrRegion": "nl", "geoCoordinates": object{"latitude": 0.0, "longitude": 0.0}}, events.Place{City: "Utrecht", Country: "NL"}},
		"centroid":        {object{"countryOrRegion": "US", "geoCoordinates": object{"latitude": 37.75, "longitude": -97.82}}, events.Place{Country: "US"}},
		"country by name": {object{"countryOrRegion": "Netherlands"}, country},
		"out of range":    {object{"city": "X", "geoCoordinates": object{"latitude": 99, "longitude": 5}}, events.Place{City: "X", Country: "NL"}},
		"altitude":        {object{"city": "X", "countryOrRegion": "BE", "geoCoordinates": object{"altitude": 3, "latitude": "50.85", "longitude": 4.35}}, events.Place{Lat: 50.85, Lon: 4.35, City: "X", Country: "BE"}},
		"a string":        {"NL", country},
	} {
		if diff := cmp.Diff(c.want, hub(t, property("location", c.location)).ProviderPlace); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestT11_AbsentIsNotFalse(t *testing.T) {
	for name, c := range map[string]struct {
		detail any
		want   events.Device
	}{
		"empty":          {object{}, events.Device{}},
		"null":           {nil, events.Device{}},
		"empty id":       {object{"deviceId": "", "isCompliant": nil, "operatingSystem": "Windows 10"}, events.Device{OS: "Windows 10"}},
		"explicit false": {object{"deviceId": "d", "isCompliant": false, "isManaged": "True"}, events.Device{ID: "d", Compliant: events.No, Managed: events.Yes}},
	} {
		if diff := cmp.Diff(c.want, hub(t, property("deviceDetail", c.detail)).Device); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestT15_JSONInsideStrings(t *testing.T) {
	want := hub(t, nil)
	got := hub(t, func(r, p object) {
		text := func(v any) string {
			raw, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return string(raw)
		}
		for _, key := range []string{"status", "deviceDetail", "location"} {
			p[key] = text(p[key])
		}
		p["additionalInfo"] = `[{"Key":"userAgent","Value":["a","b"]}]`
		p["conditionsSatisfied"] = 3
		r["properties"] = text(p)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestT25_AddressesInEveryForm(t *testing.T) {
	for text, want := range map[string][2]string{
		"192.0.2.1:443": {"192.0.2.1", ""}, "[2001:db8::1]:443": {"2001:db8::1", ""}, "::ffff:192.0.2.1": {"192.0.2.1", ""},
		"fe80::1%2": {"fe80::1", ""}, "2001:0db8:0:0:0:0:0:1": {"2001:db8::1", ""}, "10.0.0.1": {"10.0.0.1", ""},
		"AWS Internal": {"", "AWS Internal"}, "192.0.2.xxx": {"", "192.0.2.xxx"},
	} {
		if e := hub(t, property("ipAddress", text)); e.IP != want[0] || e.AddressText != want[1] {
			t.Errorf("%q: %q and %q, want %q", text, e.IP, e.AddressText, want)
		}
	}
}

func TestT26_CallerAddressFillsAGap(t *testing.T) {
	for _, ip := range []any{nil, "", "-"} {
		if e := hub(t, property("ipAddress", ip)); e.IP != "198.51.100.99" {
			t.Errorf("%v: %q", ip, e.IP)
		}
	}
}

func TestT28_ColumnsAsTextAndAsObjects(t *testing.T) {
	want := hub(t, func(r, p object) { r["category"], p["isInteractive"] = "NonInteractiveUserSignInLogs", nil })
	if diff := cmp.Diff(want, one(t, LogAnalytics(), row(t, nil))); diff != "" {
		t.Errorf("text: the row and the record of one sign-in differ: %s", diff)
	}
	got := one(t, LogAnalytics(), row(t, func(r object) {
		for _, column := range []string{"LocationDetails", "DeviceDetail", "Status", "AuthenticationDetails"} {
			var v any
			if err := json.Unmarshal([]byte(r[column].(string)), &v); err != nil {
				t.Fatal(err)
			}
			r[column] = v
		}
		r["NetworkLocationDetails"], r["MfaDetail"] = "", nil
	}))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects: %s", diff)
	}
	got = one(t, LogAnalytics(), row(t, func(r object) {
		r["DeviceDetail"], r["LocationDetails"], r["AuthenticationDetails"] = "{broken", "", ""
	}))
	if got.Device.IsDefined() || got.ProviderPlace != (events.Place{Country: "NL"}) {
		t.Errorf("broken text in a column must be unknown: %+v %+v", got.Device, got.ProviderPlace)
	}
}

func TestT30_KeysDifferByCase(t *testing.T) {
	e := one(t, LogAnalytics(), row(t, func(r object) {
		r["location"], r["Location"] = object{"city": "Elsewhere"}, "BE"
		delete(r, "LocationDetails")
	}))
	if e.ProviderPlace != (events.Place{Country: "BE"}) {
		t.Errorf("place %+v", e.ProviderPlace)
	}
}

func TestT47_TextsOfTheAttacker(t *testing.T) {
	e := hub(t, func(_, p object) {
		p["userAgent"] = "Mozilla\x00\x1b[31m" + strings.Repeat("A", 5000)
		p["appDisplayName"], p["userPrincipalName"] = "Portal\r\nSet-Cookie: x", strings.Repeat("é", 500)
	})
	if len(e.UserAgent) > events.MaxText || len(e.User.Name) > events.MaxName || strings.ContainsAny(e.UserAgent+e.App.Name, "\x00\x1b\r\n") {
		t.Errorf("user agent of %d bytes, name of %d, app %q", len(e.UserAgent), len(e.User.Name), e.App.Name)
	}
}
