package o365

import (
	"reflect"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

// Whatever comes: something is said of every value, an event is one that can go on the log, decoding is a function of the
// bytes, and an array is its elements.
func FuzzAudit(f *testing.F) {
	record := signIn(f, nil)
	for _, seed := range []string{
		record, "[" + record + "]", asJSON(f, object{"AuditData": record}), csvRow(f, "x", record), "#TYPE x", `"AuditData"`, `{"records":[` + record + `,5]}`,
		directory(f, "Update user.", modified(property("AccountEnabled", "true", "false"), property("StrongAuthenticationMethod", "[]", "[1]"))),
		directory(f, "Consent to application.", modified(property("ConsentAction.Permissions", "", "[] => [[Scope: a b, x"))),
		directory(f, "Add member to role.", modified(property("Role.ObjectID", "", "\x00"))),
		`{"RecordType":15,"Id":"\ud800","CreationTime":"1772612135123","UserId":"\ud800\u0000"}`, signIn(f, set("ErrorNumber", 50074)), `{"RecordType":15,"Id":"a`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := decode(value)
		if value != "[]" && len(got) == 0 && len(value) > 0 && value[0] != '[' && value[0] != '{' {
			t.Fatal("nothing is said of the value")
		}
		for _, r := range got {
			if (r.event == nil) == (r.err == nil) {
				t.Fatalf("an event and an error, or none: %+v", r)
			}
			if r.err != nil && len(r.err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(r.err.Error()))
			}
			if r.event != nil {
				e := *r.event
				e.Tenant = "acme" // a record may name any, which ingest checks
				if e.Clean(); e.Validate() != nil {
					t.Errorf("%+v: %v", e, e.Validate())
				}
				if e.Source.Family != Family || e.Kind == events.RiskReport {
					t.Errorf("%+v", e)
				}
			}
		}
		if again := decode(value); !reflect.DeepEqual(got, again) {
			t.Errorf("first %+v, then %+v", got, again)
		}
		if len(got) == 1 && got[0].err == nil && value[0] == '{' {
			if twice := decode("[" + value + "," + value + "]"); len(twice) != 2 || !reflect.DeepEqual(twice[0].event, got[0].event) || !reflect.DeepEqual(twice[1].event, got[0].event) {
				t.Errorf("alone %+v, in an array %+v", got, twice)
			}
		}
	})
}
