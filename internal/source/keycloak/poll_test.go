package keycloak_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/pull/pulltest"
	"github.com/countersign-io/countersign/internal/source/keycloak"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

var (
	_ pull.Fetcher    = (*keycloak.Poller)(nil)
	_ pull.Backfiller = (*keycloak.Poller)(nil)
)

func TestMain(m *testing.M) {
	pulltest.Main(m, map[string]pulltest.Factory{"keycloak": provable})
}

// provable asks a realm by its clock; both addresses and the file of the secret are in one text.
func provable(addresses string) (pulltest.Source, error) {
	parts := strings.Split(addresses, " ")
	poller, err := keycloak.New(keycloak.Config{
		Name: "sso", Realm: "prod realm", ClientID: "countersign", SecretFile: parts[2], BaseURL: parts[0] + "/auth", AdminEvents: true, PageSize: 20, History: 48 * time.Hour,
	}, keycloak.Deps{Now: func() time.Time {
		res, err := http.Get(parts[1])
		if err != nil {
			panic(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			panic(err)
		}
		now, err := time.Parse(time.RFC3339, string(text))
		if err != nil {
			panic(err)
		}
		return now
	}})
	return pulltest.Source{Decoder: keycloak.Events(), Format: "keycloak", Tenant: realmID, Fetcher: poller}, err
}

// Kills, every fault, events that push others to later pages, many of one moment, and some that are late by minutes and
// hours: every event is on the log once.
func TestNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	begin := time.Now().Add(-3 * 24 * time.Hour).UTC().Truncate(time.Second)
	lateness := []time.Duration{0, 0, 10 * time.Minute, 0, 0, 6 * time.Hour, 0}
	r := newRealm(t, begin)
	var want []string
	for n := range 200 {
		at := begin.Add(time.Duration(n-100) * 7 * time.Minute)
		if n%20 < 6 {
			at = begin.Add(time.Duration(n/20*20-100) * 7 * time.Minute) // six of one moment
		}
		h := happened{id: fmt.Sprintf("event-%d", n), at: at, inserted: at.Add(lateness[n%len(lateness)]), admin: n%9 == 0}
		r.events = append(r.events, h)
		want = append(want, events.EventID(realmID, keycloak.Family, h.id))
	}
	r.advance = 3 * time.Minute
	for range 6 {
		r.server.Script("", "", upstreamtest.Throttled, "", "", upstreamtest.ThrottledSilently, "", upstreamtest.Broken, upstreamtest.Broken,
			upstreamtest.Unavailable, "", "", "", upstreamtest.Truncated, "", "", upstreamtest.Short, "", upstreamtest.Expired, "", "", upstreamtest.HungUp)
	}
	cfg := r.config(t)
	pulltest.Prove(t, "keycloak", r.server.URL+" "+r.clock.URL+" "+cfg.SecretFile, want, pulltest.Options{})
}

// fetched asks until a call ends without an error, and returns the errors before.
func fetched(t *testing.T, p *keycloak.Poller, c *taken) (problems []error) {
	t.Helper()
	for range 50 {
		wait, err := p.Fetch(t.Context(), c.position, c.take)
		if err == nil {
			if wait <= 0 {
				t.Errorf("wait %v", wait)
			}
			return problems
		}
		problems = append(problems, err)
	}
	t.Fatalf("it never ends: %v", problems[len(problems)-1])
	return nil
}

// some are n events, one every few minutes before now.
func some(now time.Time, n int) []happened {
	all := make([]happened, n)
	for i := range all {
		at := now.Add(-time.Duration(i)*17*time.Minute - time.Second)
		all[i] = happened{id: fmt.Sprint("e", i), at: at, inserted: at, admin: i%5 == 0}
	}
	return all
}

func TestFetchGoesOnFromItsPosition(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for name, zone := range map[string]*time.Location{"UTC": time.UTC, "far east": time.FixedZone("", 14*3600), "far west": time.FixedZone("", -12*3600)} {
		all := some(now, 60)
		r := newRealm(t, now, all...)
		r.zone = zone
		var c taken
		fetched(t, r.poller(t), &c)
		if diff := cmp.Diff(wanted(all), c.distinct()); diff != "" {
			t.Fatalf("%s: %s", name, diff)
		}
		if len(c.position) > 4<<10 {
			t.Errorf("a position of %d bytes", len(c.position))
		}
		// Late by some minutes: within what every call looks back. By hours: by the hourly one.
		hot := happened{id: "hot", at: now.Add(-10 * time.Minute), inserted: now}
		cold := happened{id: "cold", at: now.Add(-6 * time.Hour), inserted: now}
		r.set(func(r *realm) { r.events = append(r.events, hot, cold); r.now = now.Add(30 * time.Second) })
		p := r.poller(t)
		fetched(t, p, &c)
		if got := c.distinct(); !slices.Contains(got, hot.json()) || slices.Contains(got, cold.json()) {
			t.Errorf("%s: after a moment: hot %v, cold %v", name, slices.Contains(got, hot.json()), slices.Contains(got, cold.json()))
		}
		r.set(func(r *realm) { r.now = now.Add(time.Hour + time.Minute) })
		fetched(t, p, &c)
		if !slices.Contains(c.distinct(), cold.json()) {
			t.Errorf("%s: the hourly look back missed what is late by hours", name)
		}
	}
}

func TestEventsThatComeMeanwhile(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	all := some(now, 60)
	r := newRealm(t, now, all...)
	n := 0
	r.onPage = func(r *realm, offset int) {
		for range 3 { // before every page, some push the others down
			n++
			r.events = append(r.events, happened{id: fmt.Sprint("new", n), at: now.Add(time.Duration(n) * time.Millisecond), inserted: now})
		}
	}
	var c taken
	fetched(t, r.poller(t), &c)
	got := c.distinct()
	for _, want := range wanted(all) {
		if !slices.Contains(got, want) {
			t.Errorf("%s is lost", want)
		}
	}
}

// A server that gives less than it is asked for, and many events of one moment over the border of two pages.
func TestShortPagesAndEqualTimes(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	all := some(now, 40)
	for i := range all {
		if i%10 < 4 {
			all[i].at, all[i].admin = all[i/10*10].at, false
		}
	}
	for _, most := range []int{5, 6, 7, 100} {
		r := newRealm(t, now, all...)
		r.cap = most
		var c taken
		fetched(t, r.poller(t), &c)
		if diff := cmp.Diff(wanted(all), c.distinct()); diff != "" {
			t.Errorf("pages of %d: %s", most, diff)
		}
	}
}

func TestFaultsCostNothing(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	all := some(now, 20)
	for name, faults := range map[string][]upstreamtest.Fault{
		"429":         {upstreamtest.Throttled, upstreamtest.ThrottledSilently},
		"5xx burst":   {upstreamtest.Broken, upstreamtest.Broken, upstreamtest.Unavailable, upstreamtest.Broken},
		"cut answers": {upstreamtest.Truncated, upstreamtest.Short, upstreamtest.HungUp},
		"expired":     {upstreamtest.Expired},
	} {
		for skip := range 4 { // the token, a page, another page, …
			r := newRealm(t, now, all...)
			r.server.Script(make([]upstreamtest.Fault, skip)...)
			r.server.Script(faults...)
			var c taken
			fetched(t, r.poller(t), &c)
			if diff := cmp.Diff(wanted(all), c.distinct()); diff != "" || r.server.Left() > 0 {
				t.Errorf("%s after %d: %d faults left; %s", name, skip, r.server.Left(), diff)
			}
		}
	}
}

func TestInterruptedSweepGoesOn(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	all := some(now, 60)
	r := newRealm(t, now, all...)
	c := taken{fail: errors.New("the log is full"), after: 3}
	if _, err := r.poller(t).Fetch(t.Context(), nil, c.take); !errors.Is(err, c.fail) {
		t.Fatalf("error %v", err)
	}
	before := len(c.values)
	// Much happens before it goes on, a day later.
	newer := some(now.Add(24*time.Hour), 50)
	for n := range newer {
		newer[n].id = "newer" + newer[n].id
	}
	r.set(func(r *realm) { r.now = now.Add(24 * time.Hour); r.events = append(r.events, newer...) })
	c.fail = nil
	fetched(t, r.poller(t), &c)
	if diff := cmp.Diff(wanted(append(all, newer...)), c.distinct()); diff != "" || before == 0 {
		t.Errorf("after %d values: %s", before, diff)
	}
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	r := newRealm(t, time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))
	p := r.poller(t)
	var c taken
	fetched(t, p, &c)
	r.set(func(r *realm) { r.tokens++ })
	if problems := fetched(t, p, &c); len(problems) > 0 || r.asked("/token") != 2 {
		t.Errorf("errors %v after %d tokens", problems, r.asked("/token"))
	}
	r.server.Script(upstreamtest.Expired, "", upstreamtest.Expired)
	if _, err := p.Fetch(t.Context(), c.position, c.take); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("error %v, want one after a second refusal", err)
	}
}

func TestMissingRoleIsNamed(t *testing.T) {
	t.Parallel()
	r := newRealm(t, time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))
	r.forbidden = true
	if _, err := r.poller(t).Fetch(t.Context(), nil, (&taken{}).take); err == nil || !strings.Contains(err.Error(), "view-events") {
		t.Errorf("error %v", err)
	}
}

func TestBackfill(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 8, 12, 0, 0, 0, time.UTC)
	all := some(now, 200)
	r := newRealm(t, now, all...)
	since, until := all[150].at, all[20].at
	c := taken{fail: errors.New("interrupted"), after: 7}
	var done []float64
	progress := func(d float64) { done = append(done, d) }
	if err := r.poller(t).Backfill(t.Context(), since, until, nil, c.take, progress); !errors.Is(err, c.fail) {
		t.Fatalf("error %v", err)
	}
	if !slices.IsSorted(done) || done[0] != 0 || done[len(done)-1] > 0.9 {
		t.Errorf("progress %v must begin with 0, and not come to the end", done)
	}
	c.fail, done = nil, nil
	if err := r.poller(t).Backfill(t.Context(), since, until, c.position, c.take, progress); err != nil {
		t.Fatal(err)
	}
	// From since on, and before until.
	if diff := cmp.Diff(wanted(all[21:151]), c.distinct()); diff != "" {
		t.Error(diff)
	}
	if !slices.IsSorted(done) || done[0] == 0 || done[len(done)-1] != 1 {
		t.Errorf("progress %v must go on and come to 1", done)
	}
	asked := len(r.server.Requests())
	if err := r.poller(t).Backfill(t.Context(), since, until, c.position, c.take, progress); err != nil || len(r.server.Requests()) != asked {
		t.Errorf("error %v: what is done is asked for again", err)
	}
}

func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	r := newRealm(t, time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))
	cfg := r.config(t)
	wrong := cfg
	wrong.BaseURL = r.server.URL
	p, err := keycloak.New(wrong, keycloak.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Fetch(t.Context(), nil, (&taken{}).take); err == nil || strings.Contains(err.Error(), "horse") || !strings.Contains(err.Error(), "getting an access token: the token endpoint answered 404") {
		t.Errorf("error %v", err)
	}
	cfg.SecretFile += ".gone"
	if p, err = keycloak.New(cfg, keycloak.Deps{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Fetch(t.Context(), nil, (&taken{}).take); err == nil || !strings.Contains(err.Error(), "reading the client's secret") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.poller(t).Fetch(ctx, nil, (&taken{}).take); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := r.poller(t).Fetch(t.Context(), []byte(`{"events":`), (&taken{}).take); err == nil || !strings.Contains(err.Error(), "reading the position") {
		t.Errorf("error %v", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	err := keycloak.Config{BaseURL: "http://sso.example.com", History: -time.Hour, PageSize: 20_000}.Validate()
	want := []string{
		"name: is missing", "realm: is missing", "client_id: is missing", "secret_file: is missing", `base_url: is "http://sso.example.com", must begin with https://`,
		"history: is -1h0m0s", "page_size: is 20000",
	}
	for _, text := range want {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v\nlacks %q", err, text)
		}
	}
	if n := len(strings.Split(err.Error(), "\n")); n != len(want) {
		t.Errorf("%d problems, want %d: %v", n, len(want), err)
	}
	if err := (keycloak.Config{BaseURL: "x"}).Validate(); err == nil || !strings.Contains(err.Error(), "base_url: is no address") {
		t.Errorf("error %v", err)
	}
	if err := (keycloak.Config{Name: "sso", Realm: "prod", ClientID: "x", SecretFile: "y", BaseURL: "https://sso.example.com/auth"}).Validate(); err != nil {
		t.Errorf("the least config is refused: %v", err)
	}
}
