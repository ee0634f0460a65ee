package pull

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/source/native"
	"github.com/countersign-io/countersign/internal/stream"
)

func TestEventIDIsFoundWithoutDecoding(t *testing.T) {
	t.Parallel()
	e := &events.Event{ID: "0123456789abcdef0123456789abcdef", Kind: events.SignIn, Tenant: "acme"}
	for text, want := range map[string]string{
		string(events.Encode(e)):                     e.ID,
		`{"user":{"id":"u"},"list":["id"],"id":"x"}`: "x",
		`{"user":{"id":"u"}}`:                        "",
		`{"id":7}`:                                   "",
		`{"id":"x`:                                   "",
		`[1]`:                                        "",
		``:                                           "",
		"\x00\x00":                                   "",
	} {
		if got := eventID([]byte(text)); got != want {
			t.Errorf("%q: id %q, want %q", text, got, want)
		}
	}
}

// A pipeline that was warmed up knows the newest events of the log, as many as it was told, whoever wrote them; and a
// second look finds those that came since.
func TestWarmUpRemembersTheNewestEvents(t *testing.T) {
	t.Parallel()
	i := install(t)
	cluster := i.connect(t)
	const total, most = 300, 90
	take := func(p *ingest.Pipeline, from, to int) ingest.Result {
		t.Helper()
		var list [][]byte
		for n := from; n < to; n++ {
			list = append(list, fmt.Appendf(nil, `{"kind":"sign_in","tenant":"acme","user":{"id":"u%d"},"time":%q,"source":{"id":"%d"}}`, n, events.MillisOf(time.Now()), n))
		}
		result, err := p.Take(t.Context(), ingest.Source{Name: "s", Format: "event", Decoder: native.Decoder{}}, list)
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	writer := i.runner(t, nil).deps.Pipeline
	if got := take(writer, 0, total); got.Accepted != total {
		t.Fatalf("%+v, want %d accepted", got, total)
	}
	junk := []stream.Record{{Key: []byte("k"), Value: []byte("no event")}, {Key: []byte("k")}}
	if err := cluster.Publisher(stream.PublisherConfig{}).Publish(t.Context(), events.TopicEvents, junk); err != nil {
		t.Fatal(err)
	}
	cold := i.runner(t, nil).deps.Pipeline
	if err := WarmUp(t.Context(), cluster, cold, 10*total); err != nil {
		t.Fatal(err)
	}
	if got := take(cold, 0, total); got.Duplicates != total {
		t.Errorf("%+v, want %d duplicates", got, total)
	}
	some := i.runner(t, nil).deps.Pipeline
	seen := &tail{cluster: cluster, pipeline: some, most: most}
	if err := seen.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	take(writer, total, total+20)
	if err := seen.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := take(some, total, total+20); got.Duplicates != 20 {
		t.Errorf("%+v of the newest, want 20 duplicates", got)
	}
	if got := take(some, 0, total); got.Duplicates > most+20 || got.Duplicates < most-3 {
		t.Errorf("%+v of all, want about %d duplicates", got, most)
	}
}
