package ingest

import (
	"bufio"
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/source/entra"
	"github.com/countersign-io/countersign/internal/source/native"
)

// places knows 192.0.2.0/24: Utrecht, AS64500, a VPN.
func places(t *testing.T) *geo.DB {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		BuildEpoch: now.Unix(), DatabaseType: "city ipv4", IPVersion: 4, RecordSize: 24, IncludeReservedNetworks: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, prefix, err := net.ParseCIDR("192.0.2.0/24")
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Insert(prefix, mmdbtype.Map{
		"country_code": mmdbtype.String("NL"), "state1": mmdbtype.String(""), "city": mmdbtype.String("Utrecht"),
		"latitude": mmdbtype.Float32(52.09), "longitude": mmdbtype.Float32(5.12),
	}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	city, asn := filepath.Join(dir, "city.mmdb"), filepath.Join(dir, "asn.csv")
	for path, content := range map[string][]byte{city: b.Bytes(), asn: []byte("192.0.2.0,192.0.2.255,64500,Example\n")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := geo.DefaultConfig()
	cfg.City, cfg.ASN = []string{city}, []string{asn}
	cfg.Lists = []geo.List{{Name: "vpns", Class: events.VPN, Entries: []string{"192.0.2.0/28"}, Built: now}}
	db, err := geo.Open(cfg, geo.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// takeIn takes one record of our own format in, with databases.
func takeIn(t *testing.T, src Source, record string) events.Event {
	t.Helper()
	to := &log{}
	p, err := NewPipeline(DefaultPipelineConfig(), PipelineDeps{Publisher: to, Geo: places(t), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	src.Name, src.Format = "test", FormatEvent
	if src.Decoder == nil {
		src.Decoder = native.Decoder{}
	}
	in := p.Intake(src)
	in.Add([]byte(record), 1)
	if r, err := in.Close(t.Context()); err != nil || r.Accepted != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	return to.events[0]
}

func TestPlaceAndNetworkAreLookedUpOnce(t *testing.T) {
	t.Parallel()
	e := takeIn(t, Source{}, line("a", `,"ip":"::ffff:192.0.2.7"`))
	if diff := cmp.Diff(events.Place{Lat: 52.09, Lon: 5.12, City: "Utrecht", Country: "NL", Database: "city", Built: events.MillisOf(now)}, e.Place); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(events.Network{
		Prefix: "192.0.2.0/24", ASN: 64500, Org: "Example", Classes: []events.Class{events.VPN}, List: "vpns", Built: events.MillisOf(now),
	}, e.Network); diff != "" {
		t.Error(diff)
	}
	if e.IP != "192.0.2.7" || e.ProviderPlace.IsDefined() {
		t.Errorf("address %q, provider %+v", e.IP, e.ProviderPlace)
	}
	if e := takeIn(t, Source{}, line("a", `,"ip":"198.51.100.1"`)); e.Place.IsDefined() || e.Network.Prefix != "198.51.100.0/24" || e.Network.ASN != 0 {
		t.Errorf("an address nobody knows: %+v %+v", e.Place, e.Network)
	}
}

func TestOnlyTrustedSourcesWriteOurPlace(t *testing.T) {
	t.Parallel()
	const said = `,"ip":"192.0.2.7","place":{"lat":1,"lon":2,"country":"BE"},"network":{"asn":64999,"org":"Said","classes":["office"]}`
	e := takeIn(t, Source{}, line("a", said))
	if e.Place.City != "Utrecht" || e.ProviderPlace.Country != "BE" || e.Network.ASN != 64500 || e.Network.Is(events.Office) {
		t.Errorf("untrusted: %+v, provider %+v, network %+v", e.Place, e.ProviderPlace, e.Network)
	}
	e = takeIn(t, Source{}, line("a", `,"ip":"192.0.2.7","place":{"lat":1,"lon":2},"provider_place":{"country":"FR"}`))
	if e.ProviderPlace != (events.Place{Country: "FR"}) {
		t.Errorf("what the provider said was overwritten: %+v", e.ProviderPlace)
	}
	e = takeIn(t, Source{TrustedPlaces: true}, line("a", said))
	if e.Place.Country != "BE" || e.Network.ASN != 64999 || !e.Network.Is(events.Office) || e.Network.Prefix != "192.0.2.0/24" {
		t.Errorf("trusted: %+v, network %+v", e.Place, e.Network)
	}
	e = takeIn(t, Source{TrustedPlaces: true}, line("a", `,"ip":"192.0.2.7"`))
	if e.Place.City != "Utrecht" || e.Network.ASN != 64500 {
		t.Errorf("trusted, and said nothing: %+v %+v", e.Place, e.Network)
	}
	e = takeIn(t, Source{}, line("a", `,"ip":"198.51.100.1","network":{"asn":64999,"org":"Said"}`))
	if e.Network.ASN != 64999 || e.Network.Org != "Said" {
		t.Errorf("an AS number where no database has one: %+v", e.Network)
	}
}

func TestFamiliesOfProvidersAndUserAgents(t *testing.T) {
	t.Parallel()
	const agent = `,"user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.51"`
	for name, tc := range map[string]struct {
		more string
		want events.Device
	}{
		"user agent":       {agent, events.Device{OS: "Windows", Browser: "Edge", BrowserMajor: 131, Type: "desktop"}},
		"provider":         {`,"device":{"os":"Windows10","browser":"Edge 131.0.0"}`, events.Device{OS: "Windows", Browser: "Edge", BrowserMajor: 131}},
		"both, they agree": {agent + `,"device":{"os":"Windows 10","browser":"Edge"}`, events.Device{OS: "Windows", Browser: "Edge", BrowserMajor: 131, Type: "desktop"}},
		"provider first":   {agent + `,"device":{"os":"Ios 17.1","browser":"Rich Client 5.2"}`, events.Device{OS: "iOS", Browser: "Rich Client", BrowserMajor: 5, Type: "desktop"}},
		"script":           {`,"user_agent":"BAV2ROPC"`, events.Device{Browser: "BAV2ROPC", Type: "script"}},
		"nothing":          {"", events.Device{}},
	} {
		if diff := cmp.Diff(tc.want, takeIn(t, Source{}, line("a", tc.more)).Device); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestOneTenantNeedsNoName(t *testing.T) {
	t.Parallel()
	record := `{"kind":"sign_in","user":{"id":"u1"},"time":"2026-03-04T08:15:30Z","source":{"id":"x"},"id":"made up","ingested":"2020-01-01T00:00:00Z"}`
	e := takeIn(t, Source{Tenants: []string{"acme"}}, record)
	if e.Tenant != "acme" || e.ID != events.EventID("acme", "custom", "x") || e.Ingested != events.MillisOf(now) {
		t.Errorf("%+v", e)
	}
}

// T41: of 45 real sign-ins 41 came twice, and the copies differ in what they leave out.
func TestT41_CopiesFillOneAnothersGaps(t *testing.T) {
	t.Parallel()
	root := os.Getenv("COUNTERSIGN_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	file, err := os.Open(filepath.Join(root, "signin", "entra-signinlogs-msticpy.jsonl"))
	if err != nil {
		if os.Getenv("CI_REQUIRE_SERVICES") == "1" {
			t.Fatalf("the shared samples are required: %v", err)
		}
		t.Skipf("the shared samples are absent: %v", err)
	}
	defer file.Close()
	to := &log{}
	in := newPipeline(t, to).Intake(Source{Name: "test", Decoder: entra.LogAnalytics(), Format: "entra-loganalytics"})
	rows := bufio.NewScanner(file)
	rows.Buffer(nil, 1<<20)
	for n := 1; rows.Scan(); n++ {
		in.Add(rows.Bytes(), n)
	}
	r, err := in.Close(t.Context())
	if err != nil || r.Accepted != 45 || r.Duplicates != 41 || r.Rejected != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, e := range to.events {
		if e.Outcome == events.Success && e.Auth.Strength == "" {
			t.Errorf("sign-in %s: the requirement that one of its copies names was lost: %+v", e.Source.ID, e.Auth)
		}
	}
}

func TestFillTakesPlacesWhole(t *testing.T) {
	t.Parallel()
	e := &events.Event{User: events.User{ID: "u"}, Place: events.Place{Country: "NL"}, Session: events.Session{ID: "s"}, Auth: events.Auth{MFA: events.MFAPerformed}}
	fill(e, &events.Event{
		User: events.User{ID: "other", Name: "Ana"}, Place: events.Place{Lat: 1, Lon: 2, City: "X"}, ProviderPlace: events.Place{City: "Y"},
		Session: events.Session{ID: "t", Token: "k"}, Auth: events.Auth{MFA: events.MFADenied, Methods: []string{"otp"}}, Interactive: events.No,
	})
	want := &events.Event{
		User: events.User{ID: "u", Name: "Ana"}, Place: events.Place{Country: "NL"}, ProviderPlace: events.Place{City: "Y"},
		Session: events.Session{ID: "s", Token: "k"}, Auth: events.Auth{MFA: events.MFAPerformed, Methods: []string{"otp"}}, Interactive: events.No,
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
}
