package google_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

func TestT20_WhoIsConcerned(t *testing.T) {
	t.Parallel()
	const other = "other@example.com"
	unresolved := events.User{ID: "name:" + other, Type: events.Unresolved, Name: "Other@example.com"}
	for name, c := range map[string]struct {
		actor    any
		affected string
		want     events.User
	}{
		"person":             {object{"email": person, "profileId": userID}, "", events.User{ID: userID, Name: person}},
		"id as number":       {object{"email": person, "profileId": json.Number(userID)}, "", events.User{ID: userID, Name: person}},
		"id only":            {object{"profileId": userID}, person, events.User{ID: userID, Name: person}},
		"same in other case": {object{"email": person, "profileId": userID}, strings.ToUpper(person), events.User{ID: userID, Name: person}},
		"name only":          {object{"email": "Other@example.com"}, "", unresolved},
		"placeholder":        {object{"email": "Other@example.com", "profileId": "105250506097979753968"}, "", unresolved},
		"somebody else":      {object{"email": person, "profileId": userID}, "Other@example.com", unresolved},
		"affected only":      {nil, "Other@example.com", unresolved},
		"a program":          {object{"callerType": "KEY", "key": "robot-1"}, "", events.User{ID: "robot-1", Type: events.Workload}},
		"a name of great length": {
			object{"email": strings.Repeat("x", 300)},
			"",
			events.User{ID: events.ID("google", "name:"+strings.Repeat("x", 300)), Type: events.Unresolved, Name: strings.Repeat("x", 256)},
		},
	} {
		parameters := []any{}
		if c.affected != "" {
			parameters = []any{"affected_email_address", c.affected}
		}
		got := all(t, activity(t, "login", func(r object) { r["actor"] = c.actor }, happening("suspicious_login", parameters...)))
		if diff := cmp.Diff(c.want, got[0].User); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	got := decode(activity(t, "login", func(r object) { r["actor"] = object{"callerType": "USER"} }, happening("login_failure")))
	if len(got) != 1 || got[0].err == nil || !strings.Contains(got[0].err.Error(), "concerns nobody") {
		t.Errorf("%+v", got)
	}
}

func TestT25_AddressesAndPlaces(t *testing.T) {
	t.Parallel()
	with := func(change func(object)) *events.Event {
		return all(t, activity(t, "login", change, happening("login_failure")))[0]
	}
	for text, want := range map[string][2]string{
		"2001:db8::1": {"2001:db8::1", ""}, "::ffff:192.0.2.1": {"192.0.2.1", ""}, "": {"", ""}, "Google": {"", "Google"},
	} {
		if e := with(func(r object) { r["ipAddress"] = text }); e.IP != want[0] || e.AddressText != want[1] {
			t.Errorf("%q: %q and %q", text, e.IP, e.AddressText)
		}
	}
	for name, c := range map[string]struct {
		network any
		asn     uint32
		place   events.Place
	}{
		"absent":       {nil, 0, events.Place{}},
		"one number":   {object{"ipAsn": 64503}, 64503, events.Place{}},
		"as text":      {object{"ipAsn": []any{"64503", 64504}}, 64503, events.Place{}},
		"none":         {object{"ipAsn": []any{}, "regionCode": "ZZZ"}, 0, events.Place{}},
		"lower case":   {object{"regionCode": "be"}, 0, events.Place{Country: "BE"}},
		"out of range": {object{"ipAsn": []any{-1, 5e12}, "regionCode": "US", "subdivisionCode": "US-VA"}, 0, events.Place{Country: "US", Region: "US-VA"}},
	} {
		if e := with(func(r object) { r["networkInfo"] = c.network }); e.Network.ASN != c.asn || e.ProviderPlace != c.place {
			t.Errorf("%s: %d %+v", name, e.Network.ASN, e.ProviderPlace)
		}
	}
}

func TestT46_QualifiersAre64BitsWide(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		qualifier any
		want      string
	}{
		{"-9223372036854775808", "-9223372036854775808"},
		{json.Number("9223372036854775807"), "9223372036854775807"},
		{json.Number("-4815162342"), "-4815162342"},
		{"4815162343", "4815162343"},
	} {
		e := all(t, activity(t, "login", func(r object) { r["id"].(object)["uniqueQualifier"] = c.qualifier }, happening("login_failure")))[0]
		if e.Source.ID != "2026-03-04T08:15:32.060Z/"+c.want+"#0" {
			t.Errorf("%v: %q", c.qualifier, e.Source.ID)
		}
	}
	for _, qualifier := range []any{"9223372036854775808", json.Number("9.2e18"), "x\x00"} {
		got := decode(activity(t, "login", func(r object) { r["id"].(object)["uniqueQualifier"] = qualifier }, happening("login_failure")))
		if got[0].err == nil || !strings.Contains(got[0].err.Error(), "id.uniqueQualifier") {
			t.Errorf("%v: %v", qualifier, got[0].err)
		}
	}
}
