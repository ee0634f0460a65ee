package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

// findingsPerSecond is the flow that the viewers of the live feed watch.
const findingsPerSecond = 50

// watchLive connects the viewers, publishes findings at a steady rate through the broker, and reports the greatest memory of
// the API's process meanwhile; bare is its memory before, without viewers. Every viewer must see every finding.
func watchLive(ctx context.Context, o Options, s *apiServer, cluster *stream.Cluster, viewers, seconds int) ([]Figure, error) {
	before, err := resident(s.Process.Pid)
	if err != nil {
		return nil, err
	}
	o.Progress("%d viewers watch the live feed for %d s", viewers, seconds)
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	var joined atomic.Int64
	var seen atomic.Int64
	g, watching := errgroup.WithContext(watching)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for range viewers {
		g.Go(func() error {
			if err := view(watching, client, s, &joined, &seen); err != nil && watching.Err() == nil {
				return err
			}
			return nil
		})
	}
	for joined.Load() < int64(viewers) {
		if err := sleepUntil(watching, time.Now().Add(20*time.Millisecond)); err != nil {
			return nil, errors.Join(fmt.Errorf("%d of %d viewers were let in", joined.Load(), viewers), g.Wait(), err)
		}
	}
	published, most := 0, before
	records := liveFindings(o.Seed)
	publisher := cluster.Publisher(stream.PublisherConfig{})
	began := time.Now()
	for at := began; time.Since(began) < time.Duration(seconds)*time.Second; at = at.Add(time.Second / findingsPerSecond) {
		if err := sleepUntil(watching, at); err != nil {
			return nil, errors.Join(err, g.Wait())
		}
		if err := publisher.Publish(ctx, events.TopicFindings, []stream.Record{records[published%len(records)]}); err != nil {
			return nil, err
		}
		if published++; published%findingsPerSecond == 0 {
			now, err := resident(s.Process.Pid)
			if err != nil {
				return nil, err
			}
			most = max(most, now)
		}
	}
	want := int64(published) * int64(viewers)
	for limit := time.Now().Add(20 * time.Second); seen.Load() < want && time.Now().Before(limit); {
		if err := sleepUntil(watching, time.Now().Add(50*time.Millisecond)); err != nil {
			return nil, errors.Join(err, g.Wait())
		}
	}
	if got := seen.Load(); got != want {
		return nil, fmt.Errorf("the viewers saw %d findings, want %d times %d", got, viewers, published)
	}
	cancel()
	if err := g.Wait(); err != nil {
		return nil, err
	}
	o.Progress("%d findings reached all %d viewers", published, viewers)
	return []Figure{figure("api.live_rss_mb", most, "MB", before)}, nil
}

// view reads the live feed until ctx ends.
func view(ctx context.Context, client *http.Client, s *apiServer, joined, seen *atomic.Int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/v1/live", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("watching: status %d", resp.StatusCode)
	}
	joined.Add(1)
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return fmt.Errorf("watching: %w", err)
		}
		switch strings.TrimSpace(line) {
		case "event: finding":
			seen.Add(1)
		case "event: reset":
			return errors.New("watching: some findings were missed")
		}
	}
}

// liveFindings are findings of a small company's day, as records of the log.
func liveFindings(seed uint64) []stream.Record {
	cfg := company.DefaultConfig()
	cfg.Seed, cfg.Users, cfg.Ingested = seed, 200, true
	people := company.New(cfg)
	var list []stream.Record
	var e events.Event
	for range 500 {
		if _, ok := people.Next(&e); !ok {
			break
		}
		f := &events.Finding{
			ID: events.FindingID("LOC-01", 1, e.Tenant, e.User.ID, e.ID), Detection: "LOC-01", Version: 1, Title: "Impossible travel",
			Summary: "Two places at once.", Tenant: e.Tenant, User: e.User, EventID: e.ID, Time: e.Time, Ingested: e.Ingested,
			Severity: events.High, Disposition: events.Active, Evidence: events.Evidence{
				Sight: events.SightOf(&e), Travel: &events.Travel{From: events.SightOf(&e), To: events.SightOf(&e)},
			},
		}
		list = append(list, stream.Record{Key: []byte(e.Key()), Value: events.Encode(f)})
	}
	return list
}
