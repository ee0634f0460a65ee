package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

// small is a log that, as Kafka does, takes no record that cannot fit a batch.
type small struct{ log }

func (l *small) Publish(ctx context.Context, topic string, records []stream.Record) error {
	for _, r := range records {
		if len(r.Value) > stream.MaxBatchBytes {
			return stream.ErrTooLarge
		}
	}
	return l.log.Publish(ctx, topic, records)
}

// No value, whatever is in it, becomes a record that the log cannot take: that would be tried for ever.
func TestNothingTooLargeForTheLogComesOfAnything(t *testing.T) {
	t.Parallel()
	var groups strings.Builder
	for n := range 60_000 {
		fmt.Fprintf(&groups, "%d,", n%10)
	}
	controls := strings.Repeat(`"`+strings.Repeat("<", 250)+`",`, 60)
	policies := strings.Repeat(`{"controls":[`+strings.TrimSuffix(controls, ",")+`]},`, 15)
	for name, value := range map[string]string{
		"a reason of megabytes":   line("a", `,"user":{"groups":[`+strings.TrimSuffix(groups.String(), ",")+`]}`),
		"an event that grows":     line("b", `,"access":{"policies":[`+strings.TrimSuffix(policies, ",")+`]}`),
		"a value that is rubbish": strings.Repeat("<", events.MaxRecord),
	} {
		if len(value) > events.MaxRecord {
			t.Fatalf("%s: the value itself is too large", name)
		}
		var l small
		p := newPipeline(t, &l)
		r, err := p.Take(t.Context(), Source{Name: "test", Decoder: decoders()[FormatEvent], Format: FormatEvent}, [][]byte{[]byte(value), []byte(line("good", ""))})
		if err != nil || r.Accepted != 1 || r.Rejected != 1 || len(l.dead) != 1 || string(l.dead[0].Bytes) != value {
			t.Errorf("%s: %d accepted, %d refused, %d letters, %v", name, r.Accepted, r.Rejected, len(l.dead), err)
		}
		if len(l.dead) == 1 && len(l.dead[0].Reason) > 2*maxReason {
			t.Errorf("%s: a reason of %d bytes", name, len(l.dead[0].Reason))
		}
	}
}

// A value of a million records of nothing costs as much as it is long, not a thousand times that.
func TestManyBrokenRecordsInOneValueHaveOneLetterMore(t *testing.T) {
	t.Parallel()
	const n = 300_000
	value := `{"records":[` + strings.TrimSuffix(strings.Repeat("{},", n), ",") + `]}`
	var l log
	p := newPipeline(t, &l)
	src := Source{Name: "test", Decoder: &manyRecords{n}, Format: "many"}
	r, err := p.Take(t.Context(), src, [][]byte{[]byte(value)})
	if err != nil || r.Rejected != n || len(l.dead) > maxLetters+1 || len(r.Rejections) != MaxRejections {
		t.Errorf("%d refused, %d letters, %d rejections, %v", r.Rejected, len(l.dead), len(r.Rejections), err)
	}
	whole := false
	for _, d := range l.dead {
		whole = whole || d.Size == len(value) && strings.Contains(d.Reason, "more than 1000")
	}
	if !whole {
		t.Error("no letter tells of the rest")
	}
}

// manyRecords finds broken records, each its own, in any value.
type manyRecords struct{ n int }

func (d *manyRecords) MaxValue() int { return 4 << 20 }

func (d *manyRecords) Decode(value []byte, emit func(record []byte, e *events.Event, err error)) {
	for n := range d.n {
		emit(value[n%100:n%100+2+n%1000], nil, errors.New("is empty"))
	}
}

func TestRecordsOfOneValueCountAgainstTheLimit(t *testing.T) {
	t.Parallel()
	server := newServer(t, &log{}, func(c *Config) { c.MaxRecords = 3 })
	record := `{"category":"AuditLogs","properties":{}}`
	r := send(t, server, strings.NewReader(`{"records":[`+strings.Repeat(record+",", 9)+record+`]}`), "query", "format=entra-eventhub")
	if r.status != http.StatusRequestEntityTooLarge {
		t.Errorf("answered %d %+v", r.status, r.answer)
	}
}

// The same broken record, fetched again and again, is one dead letter.
func TestABrokenRecordIsOneDeadLetter(t *testing.T) {
	t.Parallel()
	var l log
	p := newPipeline(t, &l)
	src := Source{Name: "test", Decoder: decoders()[FormatEvent], Format: FormatEvent}
	for range 5 {
		if r, err := p.Take(t.Context(), src, [][]byte{[]byte(`{"kind":5}`), []byte(`{"kind":5}`)}); err != nil || r.Rejected != 2 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if len(l.dead) != 1 {
		t.Errorf("%d dead letters", len(l.dead))
	}
}

func TestOneUserHasOneKeyWhateverTheCase(t *testing.T) {
	t.Parallel()
	const tenant, user = "0F6C2B1E-3a57-4d0c-9d5e-7b1a2c4d6e80", "5B9E1F04-8C2D-4a76-b3f1-2d60c7a9e315"
	var l log
	p := newPipeline(t, &l)
	value := `{"kind":"sign_in","user":{"id":"` + user + `"},"time":"2026-03-04T08:15:30Z","source":{"id":"1"}}`
	r, err := p.Take(t.Context(), Source{Name: "test", Decoder: decoders()[FormatEvent], Format: FormatEvent, Tenants: []string{tenant}}, [][]byte{[]byte(value)})
	if err != nil || r.Accepted != 1 || l.events[0].Key() != strings.ToLower(tenant+"/"+user) {
		t.Errorf("%+v, %v, events %+v", r, err, l.events)
	}
}

// Who sends events of its own cannot take the place of a provider's record that is still on its way.
func TestSendersKeepToTheirOwnFamilies(t *testing.T) {
	t.Parallel()
	for trusted, want := range map[bool]int{false: 0, true: 1} {
		var l log
		p := newPipeline(t, &l)
		p.reserved = map[string]bool{"entra": true}
		value := line("a", "")
		value = strings.Replace(value, `"source":{`, `"source":{"family":"entra",`, 1)
		r, err := p.Take(t.Context(), Source{Name: "test", Decoder: decoders()[FormatEvent], Format: FormatEvent, TrustedPlaces: trusted}, [][]byte{[]byte(value)})
		if err != nil || r.Accepted != want {
			t.Errorf("trusted %v: %+v, %v", trusted, r, err)
		}
	}
}

// What the network stage concludes is not for senders to say, however much they are trusted.
func TestNobodyElseWritesVerdicts(t *testing.T) {
	t.Parallel()
	verdict := `"verdict":{"detection":"CRD-03","severity":"medium"},`
	for name, c := range map[string]struct {
		edit func(string) string
		want int
	}{
		"a sign-in": {func(s string) string { return s }, 1},
		"with cause and flow": {func(s string) string {
			return strings.Replace(s, `{`, `{"cause":"bad_password","correlation":"f-1",`, 1)
		}, 1},
		"a cause that is none": {func(s string) string { return strings.Replace(s, `{`, `{"cause":"bad luck",`, 1) }, 0},
		"a verdict": {func(s string) string {
			return strings.Replace(strings.Replace(s, "sign_in", "verdict", 1), `{`, `{`+verdict, 1)
		}, 0},
		"a sign-in with one":      {func(s string) string { return strings.Replace(s, `{`, `{`+verdict, 1) }, 0},
		"a sign-in with contexts": {func(s string) string { return strings.Replace(s, `{`, `{"org":{"users":3},`, 1) }, 0},
		"a context": {func(s string) string {
			return strings.Replace(strings.Replace(s, "sign_in", "context", 1), `{`, `{"org":{"until":"2026-03-04T08:15:30Z"},`, 1)
		}, 0},
	} {
		var l log
		p := newPipeline(t, &l)
		src := Source{Name: "test", Decoder: decoders()[FormatEvent], Format: FormatEvent, TrustedPlaces: true}
		r, err := p.Take(t.Context(), src, [][]byte{[]byte(c.edit(line("a", "")))})
		if err != nil || r.Accepted != c.want {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if name == "with cause and flow" && (len(l.events) != 1 || l.events[0].Cause != events.BadPassword || l.events[0].Correlation != "f-1") {
			t.Errorf("%s: %+v", name, l.events)
		}
	}
}

func TestATokenSendsItsFormatsOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		token  TokenConfig
		format string
		want   int
	}{
		"its own":        {TokenConfig{Format: FormatSession}, "", 400}, // an empty report
		"another":        {TokenConfig{Format: FormatSession}, "event", 403},
		"the default":    {TokenConfig{}, "entra-eventhub", 403},
		"one more":       {TokenConfig{Formats: []string{"entra-eventhub"}}, "entra-eventhub", 400},
		"everything":     {TokenConfig{Formats: []string{"*"}}, "entra-eventhub", 400},
		"unknown to all": {TokenConfig{Formats: []string{"*"}}, "smoke", 400},
	} {
		server := newServer(t, &log{}, func(cfg *Config) {
			c.token.File, c.token.Source, c.token.Tenants = cfg.Tokens[0].File, "test", []string{"acme"}
			cfg.Tokens[0] = c.token
		})
		if r := send(t, server, strings.NewReader(`{}`), "query", "format="+c.format); r.status != c.want {
			t.Errorf("%s: %d %s", name, r.status, r.Detail)
		}
	}
}

// After a publish whose outcome nobody knows, what is on the log is read before anything else is taken in.
func TestAnUnknownOutcomeIsSettledFirst(t *testing.T) {
	t.Parallel()
	var l log
	recalled := 0
	server := front(t, &l, func(d *Deps) {
		d.Recall = func(context.Context) error {
			recalled++
			d.Pipeline.Remember(events.EventID("acme", "custom", "a")) // it had landed
			return nil
		}
	})
	l.fail(errors.New("no answer"))
	if status, _ := request(t, server, http.MethodPost, "/v1/events", line("a", ""), bearer...); status != 503 || recalled != 0 {
		t.Errorf("%d, recalled %d times", status, recalled)
	}
	l.fail(nil)
	for range 2 {
		if status, text := request(t, server, http.MethodPost, "/v1/events", line("a", ""), bearer...); status != 200 || !strings.Contains(text, `"duplicates":1`) || recalled != 1 {
			t.Errorf("%d %s, recalled %d times", status, text, recalled)
		}
	}
}

func TestPlainHTTPForOthersMustBeMeant(t *testing.T) {
	t.Parallel()
	for listen, c := range map[string]struct {
		tls  TLSConfig
		good bool
	}{
		"0.0.0.0:8081":   {TLSConfig{}, false},
		":8081":          {TLSConfig{TerminatedElsewhere: true}, true},
		"[::]:8081":      {TLSConfig{CertFile: "a", KeyFile: "b"}, true},
		"127.0.0.1:8081": {TLSConfig{}, true},
		"localhost:8081": {TLSConfig{}, true},
	} {
		cfg := DefaultConfig()
		cfg.Listen, cfg.TLS = listen, c.tls
		cfg.Tokens = []TokenConfig{{File: "f", Source: "s", Tenants: []string{"*"}}}
		if err := cfg.Validate(); (err == nil) != c.good {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

// What only countersign itself writes is refused, whoever sends it.
func TestInternalKindsAreRefused(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"verdict": `"kind":"verdict","verdict":{"detection":"CRD-03","incident":"i"}`,
		"breaker": `"kind":"verdict","verdict":{"detection":"BRK-00"}`,
		"context": `"kind":"context","org":{"until":"2026-03-04T08:00:00Z","egress":["192.0.2.0/24"]}`,
	} {
		for _, trusted := range []bool{false, true} {
			var l log
			p := newPipeline(t, &l)
			record := "{" + value + `,"tenant":"acme","user":{"id":"u1"},"time":"2026-03-04T08:15:30Z","source":{"id":"1"}}`
			src := Source{Name: "test", Decoder: decoders()[FormatEvent], Format: FormatEvent, TrustedPlaces: trusted}
			r, err := p.Take(t.Context(), src, [][]byte{[]byte(record)})
			if err != nil || r.Accepted != 0 || r.Rejected != 1 || len(l.events) != 0 || len(l.dead) != 1 {
				t.Fatalf("%s, trusted %v: %+v, %v, %d events, %d dead letters", name, trusted, r, err, len(l.events), len(l.dead))
			}
			if reason := l.dead[0].Reason; !strings.Contains(reason, "only countersign itself") {
				t.Errorf("%s: refused for %q", name, reason)
			}
		}
	}
}
