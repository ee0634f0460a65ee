package cloudevents

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/native"
)

const data = `{"kind":"sign_in","tenant":"acme","user":{"id":"u1"},"source":{%s},"ip":"192.0.2.10"%s}`

func envelope(members string) string {
	return `{"specversion":"1.0","type":"com.example.signin","source":"/idp","id":"ce-1","time":"2026-03-04T08:15:31.244Z","datacontenttype":"application/json"` + members + `}`
}

func decodeAll(d Decoder, value string) (out []events.Event, errs []error) {
	d.Decode([]byte(value), func(_ []byte, e *events.Event, err error) {
		if err != nil {
			errs = append(errs, err)
			return
		}
		out = append(out, *e)
	})
	return out, errs
}

func TestAttributesFillWhatTheDataDoNotSay(t *testing.T) {
	t.Parallel()
	d := Structured(native.Decoder{})
	bare := fmt.Sprintf(data, "", "")
	for name, c := range map[string]struct {
		value, id string
		at        events.Millis
	}{
		"both from the envelope": {envelope(`,"data":` + bare), "ce-1", 1772612131244},
		"base64":                 {envelope(`,"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(bare)) + `"`), "ce-1", 1772612131244},
		"both from the data":     {envelope(`,"data":` + fmt.Sprintf(data, `"id":"own"`, `,"time":"2026-03-04T09:00:00Z"`)), "own", 1772614800000},
	} {
		got, errs := decodeAll(d, c.value)
		if len(got) != 1 || errs != nil || got[0].Source.ID != c.id || got[0].Time != c.at || got[0].IP != "192.0.2.10" {
			t.Errorf("%s: %+v, %v", name, got, errs)
		}
	}
	got, errs := decodeAll(Binary(native.Decoder{}, "ce-9", "2026-03-04T08:15:31Z"), bare)
	if len(got) != 1 || errs != nil || got[0].Source.ID != "ce-9" || got[0].Time != 1772612131000 {
		t.Errorf("binary: %+v, %v", got, errs)
	}
}

func TestWhatIsNoCloudEventIsRefused(t *testing.T) {
	t.Parallel()
	d := Structured(native.Decoder{})
	for value, want := range map[string]string{
		`{`:                     "is no JSON",
		`{"specversion":"1.0"}`: "is no valid CloudEvent",
		`{"specversion":"7","id":"x","type":"t","source":"/s"}`: "is no CloudEvent",
		envelope(""):                   "data: is missing",
		envelope(`,"data":"text"`):     "event",
		envelope(`,"data":{"kind":5}`): "kind",
		envelope(`,"data":"` + strings.Repeat("x", events.MaxRecord) + `"`): "at most",
	} {
		got, errs := decodeAll(d, value)
		if len(got) != 0 || len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("%.80s: %v, %v; want %q", value, got, errs, want)
		}
	}
}

func FuzzStructured(f *testing.F) {
	f.Add(envelope(`,"data":` + fmt.Sprintf(data, "", "")))
	f.Add(envelope(`,"data_base64":"eyJraW5kIjoic2lnbl9pbiJ9"`))
	f.Fuzz(func(t *testing.T, value string) {
		got, errs := decodeAll(Structured(native.Decoder{}), value)
		if len(got)+len(errs) != 1 {
			t.Errorf("%d events and %v: want one answer for one CloudEvent", len(got), errs)
		}
	})
}
