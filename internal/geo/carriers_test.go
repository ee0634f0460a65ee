package geo

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/countersign-io/countersign/internal/events"
)

func TestCarriersThatShip(t *testing.T) {
	t.Parallel()
	asn := filepath.Join(t.TempDir(), "asn.csv")
	write(t, asn, "192.0.2.0,192.0.2.255,21928,Example mobile\n198.51.100.0,198.51.100.255,14593,Example satellite\n203.0.113.0,203.0.113.255,64500,Example\n")
	for carriers, want := range map[bool][]string{true: {"[mobile]", "[satellite]", "[]"}, false: {"[]", "[]", "[]"}} {
		cfg := DefaultConfig()
		cfg.ASN, cfg.Carriers = []string{asn}, carriers
		db, err := Open(cfg, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, ip := range []string{"192.0.2.1", "198.51.100.1", "203.0.113.1"} {
			var classes []string
			for _, c := range lookup(t, db, ip).Network.Classes {
				classes = append(classes, string(c))
			}
			got = append(got, "["+strings.Join(classes, " ")+"]")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("carriers %v: %s", carriers, diff)
		}
	}
}

func TestStaleDataAreToldOnceAndStayInUse(t *testing.T) {
	t.Parallel()
	tor := filepath.Join(t.TempDir(), "tor.txt")
	write(t, tor, "192.0.2.0/24\n")
	now := built.Add(47 * time.Hour)
	core, told := observer.New(zapcore.WarnLevel)
	reg := prometheus.NewRegistry()
	db, err := Open(Config{
		Lists: []List{
			{Name: "tor", Class: events.Tor, Files: []string{tor}, Built: built, MaxAge: 48 * time.Hour},
			{Name: "offices", Class: events.Office, Entries: []string{"198.51.100.0/24"}},
		},
		MaxAge: 90 * 24 * time.Hour, CacheSize: 8,
	}, Deps{Logger: zap.New(core), Registerer: reg, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	before := db.complain(nil)
	if len(before) != 0 || len(db.Stale()) != 0 {
		t.Errorf("stale at 47 h: %v", db.Stale())
	}
	now = built.Add(49 * time.Hour)
	db.complain(db.complain(before))
	if got := db.Stale(); len(got) != 1 || got[0].Name != "tor" || told.Len() != 1 {
		t.Errorf("at 49 h: %v, told %d times", got, told.Len())
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP countersign_geo_data_stale 1 when the database or list is older than it may be, else 0.
# TYPE countersign_geo_data_stale gauge
countersign_geo_data_stale{data="tor"} 1
`), "countersign_geo_data_stale"); err != nil {
		t.Error(err)
	}
	if !is(lookup(t, db, "192.0.2.7"), events.Tor) {
		t.Error("a stale list is no longer used")
	}
}
