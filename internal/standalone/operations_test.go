package standalone

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/embedded/engine"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/peer"
	"github.com/countersign-io/countersign/internal/stream"
)

// operator is a person who followed the one-time link.
type operator struct {
	*testing.T
	base    string
	browser *http.Client
}

func (p *process) operator(t *testing.T) operator {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	o := operator{t, "http://" + p.API, &http.Client{Jar: jar}}
	if status, body := o.do(http.MethodGet, p.Link, ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	return o
}

func (o operator) do(method, path, body string) (status int, answer string) {
	o.Helper()
	req, err := http.NewRequestWithContext(o.Context(), method, o.base+path, strings.NewReader(body))
	if err != nil {
		o.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Origin", o.base)
	res, err := o.browser.Do(req)
	if err != nil {
		o.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		o.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// ask is do for an answer that must be there.
func (o operator) ask(method, path, body string, into any) {
	o.Helper()
	status, answer := o.do(method, path, body)
	if status/100 != 2 {
		o.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	if err := json.Unmarshal([]byte(answer), into); err != nil {
		o.Fatalf("%s %s: %v in %s", method, path, err, answer)
	}
}

type letter struct{ ID, Stage, Source, Reason, Format, Replay, Text string }

// await waits for a dead letter.
func (o operator) await(is func(letter) bool) (found letter) {
	o.Helper()
	kafkatest.Eventually(o, 30*time.Second, func() error {
		var list struct {
			Letters []letter `json:"dead_letters"`
		}
		o.ask(http.MethodGet, "/v1/deadletters", "", &list)
		for _, l := range list.Letters {
			if is(l) {
				found = l
				return nil
			}
		}
		return fmt.Errorf("not among %v", list.Letters)
	})
	return found
}

// TestTheOperationsOfTheAPIOnAWholeInstallation has what acts act on the real courier, ingest, broker and history.
func TestTheOperationsOfTheAPIOnAWholeInstallation(t *testing.T) {
	t.Parallel()
	if _, err := engine.FindLibrary(""); err != nil {
		if os.Getenv("CI_REQUIRE_SERVICES") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	p := start(t, dir)
	p.send(t, dir, theft("ana"))
	p.open(t, "ana")
	o := p.operator(t)

	// What ingest refused is sent again, in the format that it has.
	token, err := os.ReadFile(filepath.Join(dir, "ingest.token"))
	if err != nil {
		t.Fatal(err)
	}
	bob := strings.SplitAfter(theft("bob"), "\n")[0]
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.Ingest+"/v1/events?format=okta", strings.NewReader(bob))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	l := o.await(func(l letter) bool { return l.Stage == "ingest" })
	if l.Format != "okta" || l.Replay != "ingest" {
		t.Errorf("%+v", l)
	}
	var whole letter
	o.ask(http.MethodGet, "/v1/deadletters/"+l.ID, "", &whole)
	if whole.Text != strings.TrimSuffix(bob, "\n") {
		t.Errorf("its text is %q", whole.Text)
	}
	if status, body := o.do(http.MethodPost, "/v1/deadletters/"+l.ID+"/replay", ""); status != http.StatusConflict {
		t.Errorf("what is still wrong: %d %s", status, body)
	}
	var done struct{ Replayed, Result string }
	o.ask(http.MethodPost, "/v1/deadletters/"+l.ID+"/replay", `{"format":"event"}`, &done)
	if done.Replayed != "ingest" || !strings.HasPrefix(done.Result, "1 accepted") {
		t.Errorf("%+v", done)
	}

	// What the detector refused goes back to its topic, under the right key.
	cfg := stream.DefaultConfig()
	cfg.Brokers = []string{p.Kafka}
	cluster, err := stream.Connect(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	e, err := events.Decode([]byte(strings.SplitAfter(theft("cy"), "\n")[0]))
	if err != nil {
		t.Fatal(err)
	}
	e.ID, e.Source.Family = events.EventID("acme", "custom", e.Source.ID), "custom"
	if err := cluster.Publisher(stream.PublisherConfig{}).Publish(t.Context(), events.TopicEvents, []stream.Record{{Key: []byte("wrong"), Value: events.Encode(e)}}); err != nil {
		t.Fatal(err)
	}
	l = o.await(func(l letter) bool { return l.Stage == "detector" })
	o.ask(http.MethodPost, "/v1/deadletters/"+l.ID+"/replay", "", &done)
	if done.Replayed != "log" {
		t.Errorf("%+v", done)
	}
	found := false
	if err := cluster.Table(nil).Load(t.Context(), events.TopicEvents, func(r stream.Record) error {
		found = found || string(r.Key) == "acme/cy" && string(r.Value) == string(events.Encode(e))
		return nil
	}); err != nil || !found {
		t.Errorf("the event is not on the log under its key, %v", err)
	}

	streams(t, o, p, dir)

	// The past is tried and taken out.
	var b struct {
		ID, State, Error string
		Result           struct{ Events uint64 }
	}
	from, to := time.Now().Add(-time.Hour).UTC(), time.Now().Add(time.Hour).UTC()
	o.ask(http.MethodPost, "/v1/backtests", fmt.Sprintf(`{"from":%q,"to":%q,"baseline":"recorded"}`, from.Format(time.RFC3339), to.Format(time.RFC3339)), &b)
	kafkatest.Eventually(t, time.Minute, func() error {
		if o.ask(http.MethodGet, "/v1/backtests/"+b.ID, "", &b); b.State != "done" {
			return fmt.Errorf("%+v", b)
		}
		return nil
	})
	if b.Result.Events < 3 {
		t.Errorf("%+v", b)
	}
	for _, kind := range []string{"events", "findings", "revocations", "audit"} {
		q := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}, "format": {"csv"}}
		kafkatest.Eventually(t, time.Minute, func() error {
			status, file := o.do(http.MethodGet, "/v1/export/"+kind+"?"+q.Encode(), "")
			rows, err := csv.NewReader(strings.NewReader(file)).ReadAll()
			if err == nil && (status != http.StatusOK || len(rows) < 2) {
				err = fmt.Errorf("%s: %d, %d rows: %.200s", kind, status, len(rows), file)
			}
			return err
		})
	}
	var policies struct {
		Source, History string
		Policies        []struct {
			Name   string
			Record struct{ Matched, Opened uint64 }
		}
	}
	o.ask(http.MethodGet, "/v1/policies", "", &policies)
	matched := uint64(0)
	for _, p := range policies.Policies {
		matched += p.Record.Matched
	}
	if policies.Source != "shipped" || policies.History != "ok" || matched == 0 {
		t.Errorf("%+v", policies)
	}
	var pipeline struct {
		Topics []struct {
			Topic   string
			Records int
		}
		Groups       []struct{ Group string }
		Log, History string
		Newest       string `json:"newest_event"`
	}
	o.ask(http.MethodGet, "/v1/pipeline", "", &pipeline)
	if pipeline.Log != "ok" || pipeline.History != "ok" || pipeline.Newest == "" || len(pipeline.Topics) < 10 || len(pipeline.Groups) < 5 {
		t.Errorf("%+v", pipeline)
	}
	_ = p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("an orderly stop: %v", err)
	}
}

// streams has a receiver's stream shown, paused and verified.
func streams(t *testing.T, o operator, p *process, dir string) {
	t.Helper()
	courier, err := peer.Open(peer.Config{URL: p.Signals, TokenFile: filepath.Join(dir, "operator.token"), CAFile: filepath.Join(dir, "tls.crt")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		ID string `json:"stream_id"`
	}
	kafkatest.Eventually(t, time.Minute, func() error {
		raw, err := courier.Call(context.WithoutCancel(t.Context()), http.MethodPost, "/operator/v1/streams", "application/json",
			[]byte(`{"receiver":"`+ReceiverClient("acme")+`","delivery":{"method":"urn:ietf:rfc:8936"}}`))
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &made)
	})
	var list struct {
		Streams []struct {
			ID     string `json:"stream_id"`
			Tenant string
			Status string
		}
	}
	o.ask(http.MethodGet, "/v1/streams", "", &list)
	if len(list.Streams) != 1 || list.Streams[0].ID != made.ID || list.Streams[0].Tenant != "acme" {
		t.Fatalf("%+v, want %s", list, made.ID)
	}
	for _, c := range []struct{ verb, body, status string }{
		{"pause", `{"reason":"a test"}`, "paused"},
		{"verify", "", "paused"},
		{"enable", "", "enabled"},
		{"replay", fmt.Sprintf(`{"since":%q}`, time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)), "enabled"},
		{"disable", "", "disabled"},
	} {
		var after struct{ Status, Result string }
		if o.ask(http.MethodPost, "/v1/streams/"+made.ID+"/"+c.verb, c.body, &after); after.Status != c.status || after.Result == "" {
			t.Errorf("%s: %+v", c.verb, after)
		}
	}
	if status, body := o.do(http.MethodPost, "/v1/streams/nothing/verify", ""); status != http.StatusNotFound {
		t.Errorf("what is not there: %d %s", status, body)
	}
}
