package detector

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

func rules(t testing.TB) Rules {
	t.Helper()
	r, err := LoadRules(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// use is a sign-in of ana, hours after the first, in a session from a network and on a device.
func use(n int, hours float64, session string, asn uint32, device, os string) *events.Event {
	at := events.Millis(1767225600000 + hours*events.Hour)
	return &events.Event{
		ID: events.EventID("acme", "t", fmt.Sprint(n)), Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "ana"},
		Time: at, Ingested: at + 300, Source: events.Source{Family: "t", ID: fmt.Sprint(n)}, Outcome: events.Success,
		Interactive: events.Yes, Session: events.Session{ID: session}, IP: fmt.Sprintf("192.0.2.%d", asn%250),
		Network: events.Network{Prefix: fmt.Sprintf("198.51.%d.0/24", asn%250), ASN: asn},
		Place:   events.Place{Lat: 52.1, Lon: 5.1, RadiusKm: 20, City: "Utrecht", Country: "NL"},
		Device:  events.Device{ID: device, OS: os, Browser: "Edge"},
		Auth:    events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, ACR: "mfa"},
	}
}

func recordsOf(t testing.TB, list ...*events.Event) []stream.Record {
	t.Helper()
	var out []stream.Record
	for i, e := range list {
		out = append(out, stream.Record{
			Topic: events.TopicEvents, Partition: 3, Offset: int64(100 + i), Time: time.UnixMilli(1767225601000),
			Key: []byte(e.Key()), Value: events.Encode(e),
		})
	}
	return out
}

// stolen is a session that is used from a second network and a second device.
func stolen() []*events.Event {
	list := []*events.Event{}
	for i := range 12 {
		list = append(list, use(i, float64(i), "home", 64500, "laptop", "Windows"))
	}
	return append(list, use(99, 11.5, "home", 64510, "", "Linux"))
}

func outputs(res stream.Result) map[string][]string {
	out := map[string][]string{}
	for _, o := range res.Outputs {
		for _, r := range o.Records {
			out[o.Topic] = append(out[o.Topic], string(r.Key)+" "+string(r.Value))
		}
	}
	return out
}

func TestStolenSessionIsRevokedWithItsReason(t *testing.T) {
	p := newProcessor(rules(t), newMetrics(nil), newContexts())
	res, err := p.Process(t.Context(), recordsOf(t, stolen()...))
	if err != nil {
		t.Fatal(err)
	}
	p.Commit()
	var claims revocation.Claims
	for _, o := range res.Outputs {
		if o.Topic != events.TopicRevocations {
			continue
		}
		if len(o.Records) != 1 {
			t.Fatalf("%d revocations", len(o.Records))
		}
		if claims, err = revocation.ParseClaims(o.Records[0].Value); err != nil {
			t.Fatal(err)
		}
		if current, ok := p.Current(events.TopicRevocations, o.Records[0].Key); !ok || !bytes.Equal(current.Value, o.Records[0].Value) {
			t.Errorf("the committed state has another record:\n%s\n%s", current.Value, o.Records[0].Value)
		}
	}
	if claims.Status != revocation.Open || claims.Session != "home" || len(claims.Findings) == 0 {
		t.Errorf("claims %+v", claims)
	}
	if gone, ok := p.Current(events.TopicRevocations, []byte(revocation.Key("acme", "ana", strings.Repeat("0", 32)))); !ok || gone.Value != nil {
		t.Errorf("a requirement that is not open must be deleted, got %q, %v", gone.Value, ok)
	}
}

func TestBatchesAndRestoresDoNotChangeDecisions(t *testing.T) {
	list := recordsOf(t, stolen()...)
	whole := newProcessor(rules(t), newMetrics(nil), newContexts())
	res, err := whole.Process(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	want := outputs(res)
	whole.Commit()

	got := map[string][]string{}
	state := map[string][]byte{}
	for _, rec := range list {
		// Each record is a batch of its own, in a processor that knows nothing but what was written.
		p := newProcessor(rules(t), newMetrics(nil), newContexts())
		for key, value := range state {
			if err := p.Restore([]byte(key), value); err != nil {
				t.Fatal(err)
			}
		}
		res, err := p.Process(t.Context(), []stream.Record{rec})
		if err != nil {
			t.Fatal(err)
		}
		for topic, values := range outputs(res) {
			got[topic] = append(got[topic], values...)
		}
		for _, kv := range res.State {
			state[string(kv.Key)] = bytes.Clone(kv.Value)
		}
		p.Commit()
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("outputs (-single records, +one batch)\n%s", diff)
	}
	if diff := cmp.Diff(state["acme/ana"], whole.Encode([]byte("acme/ana"))); diff != "" {
		t.Errorf("state (-single records, +one batch)\n%s", diff)
	}
}

func TestAnUncommittedBatchLeavesNoTrace(t *testing.T) {
	p := newProcessor(rules(t), newMetrics(nil), newContexts())
	if _, err := p.Process(t.Context(), recordsOf(t, stolen()...)); err != nil {
		t.Fatal(err)
	}
	if got := p.Encode([]byte("acme/ana")); got != nil {
		t.Errorf("state before the commit: %d bytes", len(got))
	}
}

func TestBadRecordsBecomeDeadLettersAndStopNothing(t *testing.T) {
	good := recordsOf(t, stolen()...)
	bad := func(value string) stream.Record {
		return stream.Record{Topic: events.TopicEvents, Partition: 3, Offset: 7, Key: []byte("acme/ana"), Value: []byte(value)}
	}
	misplaced := good[0]
	misplaced.Misplaced = true
	foreign := good[0]
	foreign.Key = []byte("acme/bob")
	batch := []stream.Record{
		bad(`{"kind":"sign_in","ten`), bad(`{"user":17}`), bad("{\"tenant\":\"\xff\"}"), bad(strings.Repeat("x", 10<<20)), bad(""), bad("null"),
		bad(`{"kind":"dance","tenant":"acme","user":{"id":"ana"},"time":"2026-01-01T00:00:00Z","source":{"id":"1"}}`),
		bad(`{"id":"` + strings.Repeat("i", 600) + `","kind":"sign_in","tenant":"acme","user":{"id":"ana"},"time":"2026-01-01T00:00:00Z","source":{"id":"1"}}`),
		bad(`{"id":"1","kind":"sign_in","tenant":"acme","user":{"id":"ana"},"time":"2026-01-01T00:00:00Z","source":{"id":"1"},"network":{"prefix":"office"}}`),
		misplaced, foreign,
	}
	reasons := len(batch)
	p := newProcessor(rules(t), newMetrics(nil), newContexts())
	res, err := p.Process(t.Context(), append(batch, good...))
	if err != nil {
		t.Fatal(err)
	}
	byTopic := map[string]int{}
	for _, o := range res.Outputs {
		byTopic[o.Topic] = len(o.Records)
		if o.Topic != events.TopicDeadLetter {
			continue
		}
		for i, rec := range o.Records {
			d, err := events.DecodeDeadLetter(rec.Value)
			if err != nil {
				t.Fatal(err)
			}
			if d.Reason == "" || d.Topic != events.TopicEvents || d.Partition != 3 || d.Size != len(batch[i].Value) {
				t.Errorf("dead letter %d: %.200s", i, rec.Value)
			}
			if len(batch[i].Value) <= events.MaxRecord && !bytes.Equal(d.Bytes, batch[i].Value) {
				t.Errorf("dead letter %d has other bytes", i)
			}
		}
	}
	if byTopic[events.TopicDeadLetter] != reasons || byTopic[events.TopicRevocations] != 1 {
		t.Errorf("outputs %v, want %d dead letters and one revocation", byTopic, reasons)
	}
}

func FuzzDecodeUser(f *testing.F) {
	u := NewUser()
	r := rules(f)
	for _, e := range stolen() {
		r.Fold(&Tenant{}, u, e)
	}
	f.Add(u.AppendBinary(nil))
	f.Add([]byte{userFormat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		u, err := DecodeUser(in)
		if err != nil {
			return
		}
		again, err := DecodeUser(u.AppendBinary(nil))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.AppendBinary(nil), u.AppendBinary(nil)) {
			t.Error("not stable")
		}
	})
}

func TestAnErasedUserLeavesNoState(t *testing.T) {
	t.Parallel()
	p := newProcessor(rules(t), newMetrics(nil), newContexts())
	list := stolen()
	erasure := events.NewErasure("acme", "ana", list[len(list)-1].Time+1)
	process := func(list ...*events.Event) stream.Result {
		res, err := p.Process(t.Context(), recordsOf(t, list...))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range res.Outputs {
			if o.Topic == events.TopicDeadLetter {
				t.Fatalf("a dead letter: %s", o.Records[0].Value)
			}
		}
		p.Commit()
		return res
	}
	process(list...)
	if p.Encode([]byte("acme/ana")) == nil {
		t.Fatal("nothing is remembered of ana before")
	}
	res := process(erasure)
	if len(res.State) != 1 || string(res.State[0].Key) != "acme/ana" || res.State[0].Value != nil {
		t.Errorf("the erasure wrote %v, want a deletion of acme/ana", res.State)
	}
	if state := p.Encode([]byte("acme/ana")); state != nil || len(p.users) != 0 {
		t.Errorf("%d bytes are remembered of ana, and %d users", len(state), len(p.users))
	}
	// In one batch with what came before and after it: only what came after counts.
	fresh := newProcessor(rules(t), newMetrics(nil), newContexts())
	after := use(200, 13, "new", 64500, "laptop", "Windows")
	if _, err := fresh.Process(t.Context(), recordsOf(t, after)); err != nil {
		t.Fatal(err)
	}
	fresh.Commit()
	process(append(append(slices.Clone(list), erasure), after)...)
	if diff := cmp.Diff(fresh.Encode([]byte("acme/ana")), p.Encode([]byte("acme/ana"))); diff != "" {
		t.Errorf("the state differs from that of a user who began after the erasure: %s", diff)
	}
}
