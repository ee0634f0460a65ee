package ecs

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestCauses(t *testing.T) {
	t.Parallel()
	failed := func(changes ...func(object)) func(object) {
		return all(append(changes, set("event.outcome", "failure"))...)
	}
	for name, c := range map[string]struct {
		change func(object)
		want   events.Cause
	}{
		"success":               {set("event.outcome", "success"), ""},
		"unknown":               {all(set("event.outcome", "unknown"), set("event.reason", "invalid password")), ""},
		"not said":              {failed(), ""},
		"Entra's code":          {failed(set("event.code", "50126")), events.BadPassword},
		"Entra's code, error":   {failed(set("error.code", 50057)), events.AccountDisabled},
		"Entra's policy":        {failed(set("event.code", "53003")), events.PolicyBlock},
		"Entra's other factor":  {failed(set("event.code", "500121"), set("event.reason", "user declined the authentication")), events.MFARefused},
		"reason":                {failed(set("event.reason", "INVALID_CREDENTIALS")), events.BadPassword},
		"message":               {failed(set("error.message", "User not found")), events.UnknownUser},
		"Windows, password":     {failed(set("event.code", "4625"), set("winlog.event_data.SubStatus", "0xc000006a")), events.BadPassword},
		"Windows, nobody":       {failed(set("event.code", "4625"), set("winlog.event_data.SubStatus", "0xc0000064")), events.UnknownUser},
		"Windows, in words":     {failed(set("winlog.logon.failure.sub_status", "User logon with misspelled or bad user account"), set("winlog.logon.failure.reason", "Unknown user name or bad password.")), events.UnknownUser},
		"Windows, reason only":  {failed(set("winlog.logon.failure.reason", "Unknown user name or bad password.")), events.BadPassword},
		"Windows, disabled":     {failed(set("winlog.event_data.Status", "0xC0000072")), events.AccountDisabled},
		"denied":                {failed(kinds("authentication", "start", "denied")), events.PolicyBlock},
		"a token":               {failed(set("event.action", "token-refresh")), events.OtherCause},
		"over the network":      {failed(set("winlog.logon.type", "Network")), ""},
		"another system's code": {failed(set("event.code", "17")), ""},
	} {
		if e := of(t, c.change); e.Cause != c.want {
			t.Errorf("%s: %q, cause %q, want %q", name, e.Outcome, e.Cause, c.want)
		}
	}
	for _, code := range []string{"50074", "50140", "65001"} {
		if e := of(t, failed(set("event.code", code))); e.Outcome != events.Interrupt || e.Cause != "" {
			t.Errorf("Entra's step %s: %q, cause %q", code, e.Outcome, e.Cause)
		}
	}
	if e := of(t, set("trace.id", "f-1")); e.Correlation != "f-1" {
		t.Errorf("flow %q", e.Correlation)
	}
}
