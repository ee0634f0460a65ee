package google_test

import (
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/pull/pulltest"
	"github.com/countersign-io/countersign/internal/source/google"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

// haste is how much faster the clock of the source goes, so that the looks back come within seconds.
const haste = 1200

func TestMain(m *testing.M) {
	pulltest.Main(m, map[string]pulltest.Factory{"workspace": func(upstream string) (pulltest.Source, error) {
		part := strings.Split(upstream, "|") // the API, the key file, when the test began
		began, err := strconv.ParseInt(part[2], 10, 64)
		if err != nil {
			return pulltest.Source{}, err
		}
		start := time.UnixMilli(began)
		p, err := google.New(
			google.Config{Name: "workspace", BaseURL: part[0], CredentialsFile: part[1], Admin: admin, History: 72 * time.Hour},
			google.Deps{Requests: 1000, Now: func() time.Time { return start.Add(haste * time.Since(start)) }},
		)
		return pulltest.Source{Decoder: google.Activities(), Format: "google", Tenant: "C0example", Fetcher: p}, err
	}})
}

func TestEveryActivityIsOnTheLogOnceAfterKills(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r, cfg := newReports(t, time.Now)
	want := fillReports(r, 240, now, 20*time.Hour)
	// And those that the API shows only when it was asked a while: 10 minutes and 6 hours late.
	for i := range 10 {
		at := now.Add(-10 * time.Minute)
		if i%2 == 1 {
			at = now.Add(-6 * time.Hour)
		}
		want = append(want, r.add("login", "login_failure", at.Add(time.Duration(i)*time.Second), 0))
		r.all[len(r.all)-1].after = 50 + 20*i
	}
	r.disorder = mathrand.New(mathrand.NewPCG(7, 8))
	for range 3 {
		r.Script("", "", upstreamtest.Throttled, upstreamtest.ThrottledSilently, "", "", upstreamtest.Broken, upstreamtest.Unavailable, "",
			upstreamtest.Truncated, "", upstreamtest.Short, "", upstreamtest.HungUp, "", upstreamtest.Expired, "", "", upstreamtest.Gone)
	}
	all := pulltest.Prove(t, "workspace", fmt.Sprintf("%s|%s|%d", r.URL, cfg.CredentialsFile, now.UnixMilli()), want, pulltest.Options{SourceIDs: true})
	if r.Left() > 0 {
		t.Errorf("%d faults were not met", r.Left())
	}
	for _, e := range all {
		if e.Tenant != "C0example" || e.Source.Name != "workspace" || e.User.ID == "" {
			t.Errorf("%+v", e)
		}
	}
}
