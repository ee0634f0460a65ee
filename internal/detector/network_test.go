package detector

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mailru/easyjson"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/profile"
	"github.com/countersign-io/countersign/internal/stream"
)

// tried is an attempt on a user from one source, so many seconds after the first.
func tried(i int, seconds int) *events.Event {
	at := events.Millis(1767225600000 + seconds*events.Second)
	id := fmt.Sprint("tried-", i, "-", seconds)
	return &events.Event{
		ID: events.EventID("acme", "t", id), Kind: events.SignIn, Tenant: "acme", User: events.User{ID: fmt.Sprint("user-", i)}, Time: at,
		Ingested: at + 300, Source: events.Source{Family: "t", ID: id}, Outcome: events.Failure, Cause: events.BadPassword, IP: "203.0.113.9",
		Network: events.Network{Prefix: "203.0.113.0/24", ASN: 64511}, Device: events.Device{OS: "Linux", Browser: "Firefox"},
	}
}

func sightingsOf(t testing.TB, res stream.Result) []stream.Record {
	t.Helper()
	var out []stream.Record
	for _, o := range res.Outputs {
		if o.Topic != events.TopicSightings {
			continue
		}
		if !o.Rekeyed {
			t.Error("sightings do not go to the partition of their tenant")
		}
		for i, r := range o.Records {
			r.Topic, r.Offset, r.Value = events.TopicSightings, int64(i), bytes.Clone(r.Value)
			out = append(out, r)
		}
	}
	return out
}

// internalOf are the events in a result of the network stage.
func internalOf(t testing.TB, res stream.Result) []*events.Event {
	t.Helper()
	var out []*events.Event
	for _, o := range res.Outputs {
		if o.Topic != events.TopicEvents {
			continue
		}
		for _, r := range o.Records {
			e, err := events.Decode(r.Value)
			if err == nil {
				err = e.Validate()
			}
			if err != nil || string(r.Key) != e.Key() || !e.Kind.Internal() || !o.Rekeyed {
				t.Fatalf("record %s of key %q: %v", r.Value, r.Key, err)
			}
			out = append(out, e)
		}
	}
	return out
}

func spray(t testing.TB, users int) []stream.Record {
	t.Helper()
	var list []*events.Event
	for i := range users {
		list = append(list, tried(i, 10*i))
	}
	return recordsOf(t, list...)
}

// The loop by hand: events, sightings, verdicts, findings of users who did not know of each other.
func TestSprayIsToldToItsVictims(t *testing.T) {
	t.Parallel()
	const partitions = 8
	users := newProcessor(rules(t), newMetrics(nil), newContexts())
	res, err := users.Process(t.Context(), spray(t, 30))
	if err != nil {
		t.Fatal(err)
	}
	sightings := sightingsOf(t, res)
	if len(sightings) != 30 {
		t.Fatalf("%d sightings of 30 failures", len(sightings))
	}
	users.Commit()
	config := org.DefaultConfig()
	network := newNetwork(&config, partitions, newMetrics(nil))
	if res, err = network.Process(t.Context(), sightings); err != nil || !res.Deferred {
		t.Fatalf("deferred %v, %v", res.Deferred, err)
	}
	told := internalOf(t, res)
	names := map[string]bool{}
	var back []stream.Record
	for _, e := range told {
		if e.Verdict.Detection == "CRD-03" {
			names[e.User.ID] = true
		}
		back = append(back, recordsOf(t, e)...)
	}
	if len(names) != 30 {
		t.Errorf("%d users were told of the spray", len(names))
	}
	if res, err = users.Process(t.Context(), back); err != nil {
		t.Fatal(err)
	}
	findings := 0
	for _, o := range res.Outputs {
		if o.Topic == events.TopicFindings {
			findings += len(o.Records)
		}
	}
	if findings < 30 {
		t.Errorf("%d findings of %d verdicts", findings, len(back))
	}
}

// A verdict that is told again, however late, is not heard again; one of a network stage that has lost its memory is.
func TestRepeatedNoticesAreNotHeard(t *testing.T) {
	t.Parallel()
	verdict := func(life events.Millis, number uint64, incident string) stream.Record {
		m := &events.Sighting{Tenant: "acme", Time: 1767225600000 + 13*events.Hour, Ingested: 1767225600000 + 13*events.Hour}
		e := verdictEvent(m, &org.Notice{User: "ana", Verdict: &events.Verdict{Detection: "CRD-03", Severity: events.Medium, Incident: incident}})
		rec := recordsOf(t, e)[0]
		rec.Headers = []stream.Header{{Key: headerNotice, Value: heard{life, number}.header()}}
		return rec
	}
	var many []*events.Event
	for i := range 200 {
		many = append(many, use(1000+i, 14+float64(i)/100, "home", 64500, "laptop", "Windows"))
	}
	p := newProcessor(rules(t), newMetrics(nil), newContexts())
	findings := func(batch ...stream.Record) (n int) {
		res, err := p.Process(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range res.Outputs {
			for _, r := range o.Records {
				if o.Topic == events.TopicFindings && bytes.Contains(r.Value, []byte("CRD-03")) {
					n++
				}
			}
		}
		state := res.State
		p.Commit()
		again := newProcessor(rules(t), newMetrics(nil), newContexts())
		for key := range p.users {
			if err := again.Restore([]byte(key), p.Encode([]byte(key))); err != nil {
				t.Fatal(err)
			}
		}
		for _, kv := range state {
			if err := again.Restore(kv.Key, kv.Value); err != nil {
				t.Fatal(err)
			}
		}
		p = again
		return n
	}
	for i, step := range []struct {
		batch []stream.Record
		want  int
	}{
		{[]stream.Record{verdict(5, 7, "a")}, 1},
		{append(recordsOf(t, many...), verdict(5, 8, "b")), 1},
		{[]stream.Record{verdict(5, 7, "a"), verdict(5, 8, "b"), verdict(5, 9, "c")}, 1},
		{[]stream.Record{verdict(4, 100, "d")}, 0},
		{[]stream.Record{verdict(6, 1, "e"), verdict(5, 10, "f")}, 1},
	} {
		if got := findings(step.batch...); got != step.want {
			t.Errorf("step %d: %d findings, want %d", i, got, step.want)
		}
	}
}

// A stage that dies between its outputs and its state repeats them with the same bytes, whatever the batches.
func TestNetworkStageRepeatsItself(t *testing.T) {
	t.Parallel()
	config := org.DefaultConfig()
	users := newProcessor(rules(t), newMetrics(nil), newContexts())
	res, err := users.Process(t.Context(), spray(t, 60))
	if err != nil {
		t.Fatal(err)
	}
	sightings := sightingsOf(t, res)
	run := func(batch int) (out []string) {
		state := map[string][]byte{}
		for part := range slices.Chunk(sightings, batch) {
			n := newNetwork(&config, 4, newMetrics(nil))
			for key, value := range state {
				if err := n.Restore([]byte(key), value); err != nil {
					t.Fatal(err)
				}
			}
			res, err := n.Process(t.Context(), part)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range internalOf(t, res) {
				out = append(out, string(events.Encode(e)))
			}
			for _, kv := range n.Changed() {
				if state[string(kv.Key)] = kv.Value; kv.Value == nil {
					delete(state, string(kv.Key))
				}
			}
		}
		return out
	}
	want := run(len(sightings))
	if len(want) < 60 {
		t.Fatalf("%d verdicts", len(want))
	}
	for _, batch := range []int{1, 7, 25} {
		if diff := cmp.Diff(run(batch), want); diff != "" {
			t.Errorf("batches of %d (-got, +want)\n%s", batch, diff)
		}
	}
}

// State is written before it outgrows a record batch, in the middle of a batch of sightings if need be.
func TestNetworkStateFitsARecordBatch(t *testing.T) {
	t.Parallel()
	config := org.DefaultConfig()
	n := newNetwork(&config, 4, newMetrics(nil))
	random := rand.New(rand.NewPCG(1, 1))
	var batch []stream.Record
	for i := range 8000 {
		m := events.Sighting{
			EventID: fmt.Sprint(i), Tenant: []string{"acme", "globex"}[i%2], User: fmt.Sprint("user-", random.IntN(5000)), Kind: events.SignIn,
			Time: 1767225600000 + events.Millis(i)*20, Offset: int64(i), Outcome: events.Failure, Cause: events.BadPassword,
			IP:      fmt.Sprintf("10.%d.%d.%d", random.IntN(200), random.IntN(200), random.IntN(200)),
			Network: events.Network{Prefix: fmt.Sprintf("10.%d.%d.0/24", random.IntN(200), random.IntN(200)), ASN: uint32(1 + random.IntN(9000))},
			Agent:   fmt.Sprintf("%016x", i), Device: events.Device{ID: fmt.Sprint("device-", i)},
		}
		batch = append(batch, stream.Record{Key: []byte(m.Tenant), Value: events.Encode(&m), Offset: int64(i)})
	}
	writes := 0
	for rest := batch; len(rest) > 0; {
		res, err := n.Process(t.Context(), rest)
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[res.Taken:]
		state := res.State
		if res.Deferred {
			state = n.Changed()
		}
		size := 0
		for _, kv := range state {
			size += len(kv.Key) + len(kv.Value) + stream.StateOverhead
		}
		if size > stream.MaxStateBytes || len(state) > stream.MaxStateRecords {
			t.Errorf("%d bytes in %d records", size, len(state))
		}
		writes++
		n.Commit()
	}
	t.Logf("%d writes", writes)
	if writes < 5 {
		t.Errorf("%d writes: the batch was not split", writes)
	}
}

func TestBadSightingsBecomeDeadLetters(t *testing.T) {
	t.Parallel()
	good := events.Sighting{EventID: "e", Tenant: "acme", User: "u", Kind: events.SignIn, Time: 1767225600000}
	record := func(key string, change func(*events.Sighting)) stream.Record {
		m := good
		change(&m)
		return stream.Record{Topic: events.TopicSightings, Key: []byte(key), Value: events.Encode(&m)}
	}
	misplaced := record("acme", func(*events.Sighting) {})
	misplaced.Misplaced = true
	bad := []stream.Record{
		{Topic: events.TopicSightings, Key: []byte("acme"), Value: []byte(`{"tenant":"ac`)},
		{Topic: events.TopicSightings, Key: []byte("acme"), Value: bytes.Repeat([]byte("x"), events.MaxRecord+1)},
		{Topic: events.TopicSightings, Key: []byte("acme")},
		misplaced,
		record("globex", func(*events.Sighting) {}),
		record("a/b", func(m *events.Sighting) { m.Tenant = "a/b" }),
		record("acme", func(m *events.Sighting) { m.User = "" }),
		record("acme", func(m *events.Sighting) { m.User = strings.Repeat("u", 300) }),
		record("acme", func(m *events.Sighting) { m.Time = 0 }),
		record("acme", func(m *events.Sighting) { m.Offset = -1 }),
		record("acme", func(m *events.Sighting) { m.Partition = org.MaxPartitions }),
		record("acme", func(m *events.Sighting) { m.EventID = strings.Repeat("e", 600) }),
		record("acme", func(m *events.Sighting) { m.Network.Prefix = "192.0.2.7/24" }),
		record("acme", func(m *events.Sighting) { m.Network.Prefix = strings.Repeat("p", 600) }),
		record("acme", func(m *events.Sighting) { m.Device.ID = strings.Repeat("d", 600) }),
		record("acme", func(m *events.Sighting) { m.Agent = strings.Repeat("a", 600) }),
		record("acme", func(m *events.Sighting) { m.IP = strings.Repeat("1", 600) }),
		record("acme", func(m *events.Sighting) { m.Revoked = make([]string, org.MaxRevoked+1) }),
	}
	config := org.DefaultConfig()
	m := newMetrics(nil)
	n := newNetwork(&config, 4, m)
	res, err := n.Process(t.Context(), append(slices.Clone(bad), record("acme", func(*events.Sighting) {})))
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Outputs) != 1 || res.Outputs[0].Topic != events.TopicDeadLetter || len(res.Outputs[0].Records) != len(bad) {
		t.Fatalf("outputs %+v, want %d dead letters", res.Outputs, len(bad))
	}
	for _, r := range res.Outputs[0].Records {
		if d, err := events.DecodeDeadLetter(r.Value); err != nil || d.Stage != "network" || d.Reason == "" {
			t.Errorf("%s: %v", r.Value, err)
		}
	}
	if len(n.tenants) != 1 || testutil.ToFloat64(m.rejected.WithLabelValues("invalid")) != 14 {
		t.Errorf("%d tenants, %v invalid", len(n.tenants), testutil.ToFloat64(m.rejected.WithLabelValues("invalid")))
	}
}

// A user's sessions have no more prefixes than a revocation may name.
func TestARevocationMayNameAllSessions(t *testing.T) {
	t.Parallel()
	if most := 2*profile.MaxSessions + 1; most > org.MaxRevoked {
		t.Errorf("a user's sessions have %d prefixes, a sighting at most %d", most, org.MaxRevoked)
	}
}

func TestTooManyPartitionsAreRefused(t *testing.T) {
	t.Parallel()
	if err := countable(org.MaxPartitions); err != nil {
		t.Error(err)
	}
	if err := countable(org.MaxPartitions + 1); err == nil || !strings.Contains(err.Error(), events.TopicEvents) {
		t.Errorf("more than can be told apart: %v", err)
	}
}

// A day that ends for many tenants at once does not fill the memory with their contexts, and their bytes are those of the events.
func TestToldContextsAreBounded(t *testing.T) {
	t.Parallel()
	const tenants, partitions = 8, 512
	config := org.DefaultConfig()
	for i := range 1000 {
		config.Egress.Pin = append(config.Egress.Pin, fmt.Sprintf("2001:db8:%x::/48", i))
	}
	n := newNetwork(&config, partitions, newMetrics(nil))
	var batch []stream.Record
	for round := range 2 {
		for i := range tenants {
			m := events.Sighting{
				EventID: "e", Tenant: fmt.Sprint("tenant-", i), User: "u", Kind: events.SignIn, Offset: int64(round), Outcome: events.Success,
				Time: 1767225600000 + events.Millis(round)*events.Day, Country: "NL", App: events.Ref{ID: "a"}, IP: "192.0.2.1",
			}
			batch = append(batch, stream.Record{Key: []byte(m.Tenant), Value: events.Encode(&m), Offset: int64(len(batch))})
		}
	}
	contexts := 0
	for rest := batch; len(rest) > 0; {
		res, err := n.Process(t.Context(), rest)
		if err != nil || res.Taken == 0 {
			t.Fatalf("%d taken: %v", res.Taken, err)
		}
		rest = rest[res.Taken:]
		size, last := 0, 0
		for _, o := range res.Outputs {
			for i := range o.Records {
				last = len(o.Records[i].Value)
				size += last
			}
		}
		for _, e := range internalOf(t, res) {
			if e.Org != nil {
				contexts++
			}
		}
		if size > maxToldBytes+partitions*last {
			t.Errorf("%d bytes told at once", size)
		}
		if !res.Deferred {
			n.Commit()
		}
	}
	if contexts != tenants*partitions {
		t.Errorf("%d contexts, want %d", contexts, tenants*partitions)
	}
}

func TestAContextIsEncodedAsItsEvent(t *testing.T) {
	t.Parallel()
	e := told(1767225600000, "192.0.2.0/24")
	e.Org.Apps = []events.OrgTerm{{Value: "<a>\"", Users: 3}}
	if got, want := encodeWith(e, events.Encode(e.Org)), events.Encode(e); !bytes.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if e.Org == nil {
		t.Error("the event has lost its context")
	}
}

func TestContextsReachEveryPartition(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 2, 7, 64, 1024} {
		reached := map[int]bool{}
		for _, name := range keysOfPartitions("acme", contextUser, partitions) {
			reached[stream.PartitionFor([]byte(events.Key("acme", name)), partitions)] = true
		}
		if len(reached) != partitions {
			t.Errorf("%d of %d partitions", len(reached), partitions)
		}
	}
}

// told is a context as the network stage tells it.
func told(until events.Millis, egress ...string) *events.Event {
	m := &events.Sighting{Tenant: "acme", Time: until, Ingested: until}
	return contextEvent(m, &events.OrgContext{Since: 1, Until: until, Egress: egress}, contextUser+"5")
}

// A partition keeps a tenant's context and breaker with the checkpoint, has them after a restore, and no user of the
// context's name. An older context that comes late changes nothing.
func TestTenantSurvivesARestore(t *testing.T) {
	t.Parallel()
	const at = 1767225600000
	p := newProcessor(rules(t), newMetrics(nil), newContexts())
	batch := append(recordsOf(t, told(at, "192.0.2.0/24")), recordsOf(t, stolen()...)...)
	batch = append(batch, recordsOf(t, told(at-5))...)
	res, err := p.Process(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string][]byte{}
	var order []string
	for _, kv := range res.State {
		keys[string(kv.Key)] = bytes.Clone(kv.Value)
		order = append(order, string(kv.Key))
	}
	if diff := cmp.Diff(order, []string{"acme/ana", "acme/", "acme/" + restKey}); diff != "" || res.Together != 3 {
		t.Errorf("%d together of the state (-got, +want)\n%s", res.Together, diff)
	}
	if p.Encode([]byte("acme/")) != nil {
		t.Error("a context is current before the commit")
	}
	p.Commit()
	again := newProcessor(rules(t), newMetrics(nil), newContexts())
	for key, value := range keys {
		if err := again.Restore([]byte(key), value); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range keys {
		for name, q := range map[string]*processor{"committed": p, "restored": again} {
			if !bytes.Equal(q.Encode([]byte(key)), value) {
				t.Errorf("%s %q: %q, was written as %q", name, key, q.Encode([]byte(key)), value)
			}
		}
	}
	mine := again.tenants.known["acme"]
	if !mine.Context.Egress("192.0.2.0/24") || mine.Context.Told().Until != at || mine.Breaker != p.tenants.known["acme"].Breaker {
		t.Errorf("restored %+v", mine.Context.Told())
	}
	// What does not change is not written again.
	if res, err = again.Process(t.Context(), recordsOf(t, told(at))); err != nil || len(res.State) != 0 {
		t.Errorf("a context that is known: state %+v, %v", res.State, err)
	}
	again.Commit()
	if err := again.Restore([]byte("acme/"), []byte{99}); err == nil {
		t.Error("a context of another version was accepted")
	}
	if err := again.Restore([]byte("acme/"), nil); err != nil || again.tenants.known["acme"].Context != nil {
		t.Errorf("deleted: %v", err)
	}
}

// All partitions of a process share one compiled context.
func TestPartitionsShareAContext(t *testing.T) {
	t.Parallel()
	shared := newContexts()
	var seen []*org.Context
	for range 3 {
		p := newProcessor(rules(t), newMetrics(nil), shared)
		if _, err := p.Process(t.Context(), recordsOf(t, told(1767225600000, "192.0.2.0/24"))); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, p.tenants.known["acme"].Context)
	}
	if seen[0] == nil || seen[0] != seen[1] || seen[1] != seen[2] {
		t.Errorf("contexts %p", seen)
	}
}

func TestEngineTellsTheVictims(t *testing.T) {
	t.Parallel()
	g := NewEngine(rules(t))
	users := map[string]bool{}
	for i := range 30 {
		list := g.Decide(tried(i, 10*i))
		if list[0].Event.Kind != events.SignIn {
			t.Fatalf("the first is %+v", list[0].Event)
		}
		for _, d := range list[1:] {
			if len(d.Outcome.Findings) > 0 {
				users[d.Event.User.ID] = true
			}
		}
	}
	if len(users) != 30 {
		t.Errorf("%d users have a finding", len(users))
	}
	if g.Context("acme") != nil {
		t.Error("a context after five minutes")
	}
	g.Decide(tried(0, 4000))
	if g.Context("acme") == nil || g.Context("acme").Told().Users != 30 {
		t.Errorf("context %+v", g.Context("acme").Told())
	}
}

// Peeking changes nothing, and users that were put away are as they were.
func TestEngineRemembersWhatItPutsAway(t *testing.T) {
	t.Parallel()
	cfg := company.DefaultConfig()
	cfg.Users, cfg.Days, cfg.QuietDays, cfg.AttacksPerDay, cfg.Ingested = 120, 12, 2, 10, true
	run := func(hot int, peek bool) (out []string) {
		g := NewEngine(rules(t))
		g.room = hot
		for e := range company.New(cfg).Events() {
			if peek {
				g.Peek(&e)
			}
			for _, d := range g.Decide(&e) {
				for i := range d.Outcome.Findings {
					out = append(out, string(events.Encode(&d.Outcome.Findings[i])))
				}
			}
		}
		return out
	}
	want := run(maxHot, false)
	if len(want) < 50 {
		t.Fatalf("%d findings only", len(want))
	}
	for name, got := range map[string][]string{"put away": run(7, false), "peeked at": run(50, true)} {
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got, +want)\n%s", name, diff)
		}
	}
}

// BenchmarkNetwork is the network stage's work for one sighting: decode, fold, and encode what changed once a batch.
func BenchmarkNetwork(b *testing.B) {
	config := org.DefaultConfig()
	n := newNetwork(&config, 8, newMetrics(nil))
	rules := rules(b)
	var batch []stream.Record
	cfg := company.DefaultConfig()
	cfg.Users, cfg.Days, cfg.Ingested = 2000, 3, true
	users := map[string]*User{}
	for e := range company.New(cfg).Events() {
		u := users[e.Key()]
		if u == nil {
			u = NewUser()
			users[e.Key()] = u
		}
		if m := rules.Fold(&Tenant{}, u, &e).Sighting; m != nil {
			m.Offset = int64(len(batch))
			batch = append(batch, stream.Record{Key: []byte(m.Tenant), Value: events.Encode(m), Offset: m.Offset, Time: time.UnixMilli(int64(m.Ingested))})
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	bytes, done := 0, 0
	for done < b.N {
		for part := range slices.Chunk(batch, 2000) {
			if _, err := n.Process(b.Context(), part); err != nil {
				b.Fatal(err)
			}
			for _, kv := range n.Changed() {
				bytes += len(kv.Key) + len(kv.Value)
			}
			n.Commit()
			if done += len(part); done >= b.N {
				break
			}
		}
		for i := range batch { // the same again, later on the log
			var m events.Sighting
			if err := easyjson.Unmarshal(batch[i].Value, &m); err != nil {
				b.Fatal(err)
			}
			m.Offset += int64(len(batch))
			m.Time += 3 * events.Day
			m.Ingested += 3 * events.Day
			batch[i].Value = events.Encode(&m)
		}
	}
	b.ReportMetric(float64(bytes)/float64(done), "B/sighting")
}
