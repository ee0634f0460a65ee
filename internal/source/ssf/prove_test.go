package ssf_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/pull/pulltest"
	"github.com/countersign-io/countersign/internal/source/ssf"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
	"github.com/countersign-io/countersign/internal/stream"
)

var (
	_ pull.Fetcher   = (*ssf.Transmitter)(nil)
	_ ingest.Decoder = (*ssf.Decoder)(nil)
)

func TestMain(m *testing.M) {
	pulltest.Main(m, map[string]pulltest.Factory{
		"ssf": func(upstream string) (pulltest.Source, error) {
			tr, err := ssf.New(ssf.Config{
				Name: "ssf", Tenant: tenant, Issuer: upstream, Audience: []string{audience},
				Poll: ssf.PollConfig{URL: upstream + "/poll", TokenFile: filepath.Join("testdata", "poll.token"), MaxEvents: 7},
			}, ssf.Deps{})
			if err != nil {
				return pulltest.Source{}, err
			}
			return pulltest.Source{Decoder: tr.Decoder(), Format: "ssf", Tenant: tenant, Fetcher: tr}, nil
		},
	})
}

// eventID is the event id of a token that the party issued.
func (p *party) eventID(jti string) string {
	return events.EventID(tenant, ssf.Family, p.URL+"|"+jti)
}

// Kills between asking, publishing and keeping the position, faults of every kind, tokens sent again until they are
// acknowledged, tokens among them that are not right, and late ones: every event is on the log once, every token is
// acknowledged or reported, and what was refused is kept.
func TestNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	p := newParty(t, es256(), rs256())
	var want []string
	for n := range 150 {
		jti := fmt.Sprintf("jti-%03d", n)
		by := es256()
		if n%2 == 0 {
			by = rs256()
		}
		age := time.Duration(n%5) * 90 * time.Minute // up to six hours late
		token := by.sign(t, p.claims(jti, func(c object) {
			c["events"] = object{caep + "session-revoked": object{"event_timestamp": time.Now().Add(-age).Unix()}}
			c["sub_id"] = object{"format": "iss_sub", "iss": p.URL, "sub": fmt.Sprintf("u%d", n%7)}
		}), nil)
		if n%30 == 29 {
			token = token[:len(token)-6] + "AAAAAA" // five that are not right
		} else {
			want = append(want, p.eventID(jti))
		}
		p.offer(offer{jti, token})
	}
	p.offer(offer{"verify", es256().sign(t, p.claims("verify", func(c object) {
		c["sub_id"], c["events"] = object{"format": "opaque", "id": "stream"}, object{own + "verification": object{"state": "s"}}
	}), nil)})
	for range 12 {
		p.Script("", "", "", "", upstreamtest.Truncated, "", "", "", upstreamtest.Broken, "", "", upstreamtest.Short, "", "", "",
			upstreamtest.HungUp, "", "", "", upstreamtest.Unavailable, "", "", upstreamtest.Throttled, "", "", "", upstreamtest.Expired)
	}
	all := pulltest.Prove(t, "ssf", p.URL, want, pulltest.Options{Letters: 5})
	acked, reported := p.state()
	if len(acked) != 146 || len(reported) != 5 {
		t.Errorf("%d tokens acknowledged, %d reported", len(acked), len(reported))
	}
	for _, r := range reported {
		if r.Code != ssf.AuthenticationFailed {
			t.Errorf("reported %+v", r)
		}
	}
	for i := range all {
		if e := &all[i]; e.Kind != events.SignOut || e.Source.Name != "ssf" {
			t.Errorf("on the log is %+v", e)
		}
	}
}

// Pushed tokens go through the real pipeline to a real log: a repeat is answered 202 and is there once, the same token by
// poll is no other event, and a refused one is a dead letter with its bytes.
func TestPushedTokensAreOnTheLogOnce(t *testing.T) {
	t.Parallel()
	p := newParty(t, es256())
	tr := p.transmitter(t, ssf.Deps{}, nil)
	cfg := stream.DefaultConfig()
	cfg.Brokers, cfg.Prefix = kafkatest.Brokers(t), kafkatest.Name("ssf")+"."
	cluster, err := stream.Connect(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close() })
	if err := cluster.EnsureTopics(t.Context(), []stream.TopicSpec{
		{Name: events.TopicEvents, Partitions: 1, Replication: 1}, {Name: events.TopicDeadLetter, Partitions: 1, Replication: 1},
	}); err != nil {
		t.Fatal(err)
	}
	places, err := geo.Open(geo.DefaultConfig(), geo.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	pipeline, err := ingest.NewPipeline(ingest.DefaultPipelineConfig(), ingest.PipelineDeps{
		Publisher: cluster.Publisher(stream.PublisherConfig{}), Geo: places, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	take := func(ctx context.Context, values [][]byte) error {
		_, err := pipeline.Take(ctx, ingest.Source{Name: tr.Name(), Decoder: tr.Decoder(), Format: "ssf", Tenants: []string{tr.Tenant()}}, values)
		return err
	}
	d := &desk{handler: ssf.NewPush([]*ssf.Transmitter{tr}, func(ctx context.Context, _ string, values [][]byte) error { return take(ctx, values) })}
	good, bad := es256().sign(t, p.claims("good", nil), nil), es256().sign(t, p.claims("bad", func(c object) { delete(c, "jti") }), nil)
	for range 3 {
		if w := d.push(good, nil); w.Code != 202 {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
		if w := d.push(bad, nil); w.Code != 400 {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
	}
	p.offer(offer{"good", good})
	if _, err := tr.Fetch(t.Context(), nil, func(values [][]byte, _ []byte) error { return take(t.Context(), values) }); err != nil {
		t.Fatal(err)
	}
	var ids []string
	if err := cluster.Table(nil).Load(t.Context(), events.TopicEvents, func(r stream.Record) error {
		e, err := events.Decode(r.Value)
		if err == nil {
			ids = append(ids, e.ID)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(ids) != 1 || ids[0] != p.eventID("good") {
		t.Errorf("on the log are %q", ids)
	}
	letters := 0
	if err := cluster.Table(nil).Load(t.Context(), events.TopicDeadLetter, func(r stream.Record) error {
		l, err := events.DecodeDeadLetter(r.Value)
		if err != nil {
			return err
		}
		letters++
		if string(l.Bytes) != bad || !strings.Contains(l.Reason, "invalid_request: jti: is missing") {
			t.Errorf("the dead letter %q holds %q", l.Reason, l.Bytes)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if letters == 0 {
		t.Error("there is no dead letter")
	}
}
