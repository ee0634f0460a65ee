package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/source/ocsf"
)

// required are the attributes that OCSF 1.5 requires of a class, and anyOf those of which it wants one at least.
var required = map[float64][]string{
	2004: {"finding_info.uid", "finding_info.title"},
	3001: {"user"},
	3002: {"user"},
	6003: {"actor", "api.operation", "src_endpoint"},
	7001: {"command_uid"},
}

var ofAll = []string{
	"activity_id", "category_uid", "class_uid", "type_uid", "severity_id", "time", "metadata.version", "metadata.product.name", "metadata.product.vendor_name",
}

var anyOf = map[string][]string{
	"": nil, "user": {"uid", "name"}, "src_endpoint": {"ip", "name"}, "service": {"uid", "name"},
}

func lookup(o map[string]any, path string) (any, bool) {
	var v any = o
	for part := range strings.SplitSeq(path, ".") {
		inner, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = inner[part]; !ok {
			return nil, false
		}
	}
	return v, true
}

// check says what OCSF would not take.
func check(o map[string]any) []string {
	var problems []string
	class, _ := o["class_uid"].(float64)
	if required[class] == nil {
		return []string{fmt.Sprintf("class %v", o["class_uid"])}
	}
	for _, path := range append(append([]string{}, ofAll...), required[class]...) {
		if v, ok := lookup(o, path); !ok || v == "" || v == nil {
			problems = append(problems, path+" is missing")
		}
	}
	for path, parts := range anyOf {
		inner, ok := lookup(o, path)
		if !ok || path == "" {
			continue
		}
		found := false
		for _, part := range parts {
			_, there := inner.(map[string]any)[part]
			found = found || there
		}
		if !found {
			problems = append(problems, fmt.Sprintf("%s has none of %v", path, parts))
		}
	}
	if class == 3002 {
		_, service := o["service"]
		_, target := o["dst_endpoint"]
		if !service && !target {
			problems = append(problems, "neither service nor dst_endpoint")
		}
	}
	if activity, _ := o["activity_id"].(float64); o["type_uid"] != class*100+activity || o["category_uid"] != float64(int(class)/1000) {
		problems = append(problems, "type or category do not go with the class")
	} else if _, named := o["activity_name"]; activity == 99 && !named {
		problems = append(problems, "another activity without a name")
	}
	if severity, _ := o["severity_id"].(float64); severity < 0 || severity > 6 && severity != 99 {
		problems = append(problems, "severity")
	}
	if s, ok := o["status_id"].(float64); ok && s == 99 {
		if _, named := o["status"]; !named {
			problems = append(problems, "another status without a name")
		}
	}
	return problems
}

func TestEventsOfOCSFHaveWhatTheirClassesRequire(t *testing.T) {
	t.Parallel()
	bare := func(kind events.Kind) []byte {
		e := events.Event{ID: "e", Kind: kind, Tenant: "acme", User: events.User{ID: "u"}, Time: at}
		return events.Encode(&e)
	}
	records := map[string][][]byte{}
	for _, kind := range kinds {
		records[kind] = samples(t, kind, 1)
	}
	for _, kind := range events.Kinds {
		if !kind.Internal() {
			records[report.ExportEvents] = append(records[report.ExportEvents], bare(kind))
		}
	}
	for _, kind := range events.ChangeTypes {
		for _, action := range append([]events.ChangeAction{""}, events.ChangeActions...) {
			e := events.Event{ID: "e", Kind: events.AccountChange, Tenant: "acme", User: events.User{ID: "u"}, Time: at, Change: events.Change{Type: kind, Action: action}}
			records[report.ExportEvents] = append(records[report.ExportEvents], events.Encode(&e))
		}
	}
	for _, d := range events.Dispositions {
		f := events.Finding{ID: "f", Detection: "X", Tenant: "acme", User: events.User{ID: "u"}, Time: at, Severity: events.Low, Disposition: d, EventID: "e"}
		records[report.ExportFindings] = append(records[report.ExportFindings], events.Encode(&f))
	}
	for _, status := range []report.Status{report.Open, report.Expired} {
		for _, action := range events.Actions {
			r := report.Requirement{ID: "r", JTI: "j", Tenant: "acme", User: "u", Status: status, Action: action, Severity: events.Low, NotBefore: at}
			b, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			records[report.ExportRevocations] = append(records[report.ExportRevocations], b)
		}
	}
	for _, action := range []string{"me", "token.create", "user.timeline", "user.erase", "refused"} {
		e := events.AuditEntry{ID: "a", Time: at, Action: action, Outcome: events.AuditRefused, Request: "q"}
		records[report.ExportAudit] = append(records[report.ExportAudit], events.Encode(&e))
	}
	classes := map[float64]int{}
	for kind, list := range records {
		for line := range bytes.Lines(encode(t, kind, OCSF, list)) {
			var o map[string]any
			if err := json.Unmarshal(line, &o); err != nil {
				t.Fatal(err)
			}
			classes[o["class_uid"].(float64)]++
			for _, problem := range check(o) {
				t.Errorf("%s: %s in\n%s", kind, problem, line)
			}
		}
	}
	if len(classes) != len(required) {
		t.Errorf("not every class was written: %v", classes)
	}
}

// TestSignInsOfOCSFReadBack reads what is written with the decoder for what others write.
func TestSignInsOfOCSFReadBack(t *testing.T) {
	t.Parallel()
	want := sampleEvent(0)
	var got *events.Event
	ocsf.Events().Decode(encode(t, report.ExportEvents, OCSF, [][]byte{events.Encode(want)}), func(_ []byte, e *events.Event, err error) {
		if err != nil {
			t.Error(err)
		}
		got = e
	})
	if got == nil {
		t.Fatal("nothing was read")
	}
	pick := func(e *events.Event) map[string]any {
		return map[string]any{
			"kind": e.Kind, "tenant": e.Tenant, "user": e.User.ID, "name": e.User.Name, "time": e.Time, "outcome": e.Outcome, "app": e.App, "session": e.Session.ID,
			"ip": e.IP, "asn": e.Network.ASN, "interactive": e.Interactive, "agent": e.UserAgent, "device": e.Device.ID, "mfa": e.Auth.MFA != "",
		}
	}
	if diff := cmp.Diff(pick(got), pick(want)); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	if got.Source.ID != want.ID {
		t.Errorf("its id is %q, want %q", got.Source.ID, want.ID)
	}
}
