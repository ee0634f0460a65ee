package rba

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

// The rows of these tests are made up; they have the shape of the data set's.

const header = "index,Login Timestamp,User ID,Round-Trip Time [ms],IP Address,Country,Region,City,ASN,User Agent String," +
	"Browser Name and Version,OS Name and Version,Device Type,Login Successful,Is Attack IP,Is Account Takeover\n"

const (
	plain   = `0,2020-02-03 12:43:30.772,-1111111111111111111,,10.0.65.171,NO,-,-,29695,"Mozilla/5.0 (X11; Linux x86_64) Test, like Gecko",Firefox 20.0.0.1618,Linux 4.1,desktop,True,False,False`
	bulk    = `1,2020-02-03 12:43:31.000,-4324475583306591935,,192.0.2.17,US,Virginia,Ashburn,64500,curl/8.0,Other,Other,bot,False,True,False`
	theft   = `2,2020-02-03 12:43:32,222,684.0,192.0.2.18,RO,Iasi,Iasi,500001,Mozilla/5.0 "quoted",Chrome Mobile 81.0.4044,Android 10,mobile,True,True,True`
	quoted  = `3,2020-02-03 12:43:33.5,222,,2001:db8::7,NO,Oslo,"Os""lo",64501.0,"a ""b"", c",Safari 13.1,iOS 13.4,unknown,False,False,False`
	earlier = `4,2020-02-03 12:43:33.1,223,,not an address,,,,,,,,,True,False,False`
)

func rows(lines ...string) string { return header + strings.Join(lines, "\n") + "\n" }

func read(t *testing.T, text string, o Options) ([]Row, Stats) {
	t.Helper()
	r, err := NewReader(strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	var all []Row
	for {
		var row Row
		err := r.Next(&row)
		if errors.Is(err, io.EOF) {
			return all, r.Stats()
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	all, stats := read(t, rows(plain, bulk, theft, quoted, earlier), Options{})
	want := Stats{
		Rows: 4, Bulk: 1, Successes: 3, AttackIPs: 1, Takeovers: 1, SyntheticIPs: 1, SyntheticASNs: 1, Backwards: 1,
		First: 1580733810772, Last: 1580733813500,
	}
	if diff := cmp.Diff(stats, want); diff != "" {
		t.Errorf("statistics (-got, +want):\n%s", diff)
	}
	first := Row{
		Line: 2, Browser: "Firefox 20.0.0.1618", OS: "Linux 4.1", DeviceType: "desktop", Label: Label{SyntheticIP: true},
		Event: events.Event{
			ID: events.EventID("rba", "rba", "0"), Kind: events.SignIn, Tenant: "rba", User: events.User{ID: "-1111111111111111111"},
			Time: 1580733810772, Source: events.Source{Name: "rba", Family: "rba", ID: "0"}, Outcome: events.Success,
			Interactive: events.Yes, IP: "10.0.65.171", Network: events.Network{Prefix: "10.0.65.0/24", ASN: 29695},
			Place: events.Place{Country: "NO"}, UserAgent: "Mozilla/5.0 (X11; Linux x86_64) Test, like Gecko",
			Device: events.Device{OS: "Linux", Browser: "Firefox", BrowserMajor: 20, Type: "desktop"},
		},
	}
	if diff := cmp.Diff(all[0], first); diff != "" {
		t.Errorf("first row (-got, +want):\n%s", diff)
	}
	if r := all[1]; r.Label != (Label{AttackIP: true, Takeover: true, SyntheticASN: true}) || r.RoundTripMs != 684 || r.Line != 4 ||
		r.Event.UserAgent != `Mozilla/5.0 "quoted"` || r.Event.Time != 1580733812000 {
		t.Errorf("takeover: %+v", r)
	}
	if r := all[2]; r.Event.UserAgent != `a "b", c` || r.Event.IP != "2001:db8::7" || r.Event.Network.Prefix != "2001:db8::/48" ||
		r.Event.Network.ASN != 64501 || r.Event.Device.Type != "" || r.Event.Outcome != events.Failure || r.Event.Cause != events.BadPassword {
		t.Errorf("quoted: %+v", r)
	}
	if r := all[3]; r.Event.IP != "" || r.Event.AddressText != "not an address" || r.Event.Place.Country != "" || r.Event.Network.ASN != 0 {
		t.Errorf("row without much: %+v", r)
	}
}

func TestNothingThatTheDataAreNotFitFor(t *testing.T) {
	t.Parallel()
	all, _ := read(t, rows(plain, bulk, theft, quoted, earlier), Options{KeepBulk: true})
	for _, r := range all {
		e := r.Event
		if e.Place.Located() || e.Place.City != "" || e.Place.Region != "" || e.ProviderPlace != (events.Place{}) ||
			e.Session != (events.Session{}) || e.Auth.MFA != "" || len(e.Network.Classes) > 0 {
			t.Errorf("row %d says too much: %+v", r.Index, e)
		}
		if err := e.Validate(); err != nil {
			t.Errorf("row %d: %v", r.Index, err)
		}
	}
	fit := Fitness()
	for id, want := range map[string]bool{"FAM-01": true, "LOC-04": true, "LOC-01": false, "SES-01": false, "MFA-01": false, "NET-04": false, "LOC-07": false} {
		if slices.Contains(fit.Detections, id) != want {
			t.Errorf("suits %s: %v", id, !want)
		}
	}
}

func TestBulkUserIsNobody(t *testing.T) {
	t.Parallel()
	all, stats := read(t, rows(plain, bulk, theft), Options{KeepBulk: true})
	if len(all) != 3 || stats.Bulk != 1 || all[1].Event.User.ID != BulkUser || all[1].Event.User.Type != events.Unresolved {
		t.Errorf("%d rows, %+v", len(all), all[1].Event.User)
	}
}

func TestErrorsNameLineAndColumn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, want string }{
		{"0,2020", "x,2020", `line 2, column "index": is "x", must be a number`},
		{"2020-02-03 12", "2020-02-33 12", `line 2, column "Login Timestamp": is "2020-02-33 12:43:30.772"`},
		{"-1111111111111111111", "ann", `line 2, column "User ID": is "ann"`},
		{",,10.", ",-5,10.", `line 2, column "Round-Trip Time [ms]": is "-5"`},
		{"29695", "AS29695", `line 2, column "ASN": is "AS29695", must be empty or an AS number`},
		{"29695", "4294967296", `line 2, column "ASN"`},
		{",NO,", ",Norway,", `line 2, column "Country": is "Norway"`},
		{"True,False,False", "yes,False,False", `line 2, column "Login Successful": is "yes", must be True or False`},
		{"True,False,False", "True,,False", `line 2, column "Is Attack IP": is ""`},
		{"True,False,False", "True,False,2", `line 2, column "Is Account Takeover": is "2"`},
		{"True,False,False", "True,False", "line 2: has 15 columns, must have 16"},
		{"Gecko\"", "Gecko", "line 2, column 10: has a quote that is not closed"},
		{"Gecko\"", "Gecko\"x", "line 2, column 10: has a quote that is not closed, or text after it"},
		{"Gecko\"", strings.Repeat("G", maxLine) + "\"", "line 2: has more than 65536 bytes"},
	} {
		text := rows(strings.Replace(plain, c.from, c.to, 1), theft)
		r, err := NewReader(strings.NewReader(text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var row Row
		if err := r.Next(&row); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %v\nwant %s", c.to[:min(len(c.to), 30)], err, c.want)
		}
		if err := r.Next(&row); err != nil || row.Index != 2 || row.Line != 3 {
			t.Errorf("the line after: index %d, line %d, %v", row.Index, row.Line, err)
		}
	}
}

func TestHeader(t *testing.T) {
	t.Parallel()
	_, err := NewReader(strings.NewReader("index,Login Timestamp,User\n"), Options{})
	if err == nil || !strings.Contains(err.Error(), `line 1: column "User ID" is missing`) || !strings.Contains(err.Error(), `"ASN"`) {
		t.Errorf("missing columns: %v", err)
	}
	if _, err := NewReader(strings.NewReader(""), Options{}); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("empty file: %v", err)
	}
	// Another order of columns, a byte-order mark and the line ends of Windows.
	swapped := "\ufeff" + strings.Replace(header, "index,Login Timestamp", "Login Timestamp,index", 1) +
		strings.Replace(plain, "0,2020-02-03 12:43:30.772", "2020-02-03 12:43:30.772,0", 1)
	a, _ := read(t, strings.ReplaceAll(swapped, "\n", "\r\n"), Options{})
	b, _ := read(t, rows(plain), Options{})
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("columns in another order:\n%s", diff)
	}
}

// packed writes the rows to a file in one of the forms.
func packed(t *testing.T, form, text string) string {
	t.Helper()
	var b bytes.Buffer
	switch form {
	case "zip", "two":
		z := zip.NewWriter(&b)
		names := []string{"README.md", "data/rba-dataset.csv", "__MACOSX/data/rba-dataset.csv"}
		if form == "two" {
			names = append(names, "other.CSV")
		}
		for _, name := range names {
			w, err := z.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, text); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	case "gzip":
		g := gzip.NewWriter(&b)
		if _, err := io.WriteString(g, text); err != nil {
			t.Fatal(err)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	default:
		b.WriteString(text)
	}
	name := filepath.Join(t.TempDir(), "rba-dataset") // the name says nothing of the form
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestEachFormOfTheFile(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"plain", "gzip", "zip"} {
		var ids []string
		stats, err := Each(t.Context(), packed(t, form, rows(plain, bulk, theft)), Options{}, func(r *Row) error {
			ids = append(ids, fmt.Sprint(r.Index, " ", r.Event.User.ID))
			return nil
		})
		if diff := cmp.Diff(ids, []string{"0 -1111111111111111111", "2 222"}); err != nil || stats.Rows != 2 || diff != "" {
			t.Errorf("%s: %v, %+v\n%s", form, err, stats, diff)
		}
	}
}

func TestEachSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	ok := func(*Row) error { return nil }
	if _, err := Each(t.Context(), packed(t, "two", rows(plain)), Options{}, ok); err == nil || !strings.Contains(err.Error(), "more than one CSV") {
		t.Errorf("two files: %v", err)
	}
	if _, err := Each(t.Context(), filepath.Join(t.TempDir(), "none"), Options{}, ok); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Each(t.Context(), t.TempDir(), Options{}, ok); err == nil {
		t.Error("a directory was read")
	}
	name := packed(t, "plain", rows(plain, "broken"))
	if _, err := Each(t.Context(), name, Options{}, ok); err == nil || !strings.Contains(err.Error(), name+": line 3: has 1 columns") {
		t.Errorf("broken row: %v", err)
	}
	whole, err := os.ReadFile(packed(t, "gzip", rows(plain, theft)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Each(t.Context(), packed(t, "plain", string(whole[:len(whole)-12])), Options{}, ok); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("truncated: %v", err)
	}
	stop := errors.New("enough")
	if _, err := Each(t.Context(), packed(t, "plain", rows(plain)), Options{}, func(*Row) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Each(ctx, packed(t, "plain", rows(plain)), Options{}, ok); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"plain", "gzip", "zip"} {
		r, err := Open(packed(t, form, rows(plain, theft)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var row Row
		for err == nil {
			err = r.Next(&row)
		}
		if p := r.Progress(); !errors.Is(err, io.EOF) || p != 1 {
			t.Errorf("%s: progress %v at the end, %v", form, p, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(rows(plain, bulk, theft, quoted, earlier))
	f.Add(header + "\"\",\"")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := NewReader(strings.NewReader(text), Options{KeepBulk: true})
		if err != nil {
			return
		}
		var row Row
		for range 1000 {
			err := r.Next(&row)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				continue
			}
			e := row.Event
			if e.ID == "" || e.User.ID == "" || e.Time == 0 || e.Place.Located() {
				t.Fatalf("incomplete: %+v", row)
			}
		}
	})
}

// generator writes rows for ever, of many users, addresses and agents.
type generator struct {
	n    int
	rest []byte
}

func (g *generator) Read(b []byte) (int, error) {
	if len(g.rest) == 0 {
		if g.n == 0 {
			g.rest = []byte(header)
		} else {
			i := g.n
			g.rest = fmt.Appendf(g.rest[:0], "%d,2020-02-%02d %02d:43:30.%03d,%d,,10.%d.%d.%d,NO,Oslo,Oslo,%d,\"Mozilla/5.0 (Windows NT 10.0; Win64) "+
				"AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.%d Safari/537.36\",Chrome %d.0.%d,Windows 10,desktop,%s,False,False\n",
				i, 1+i%28, i%24, i%1000, i*7919%4_000_000, i%256, i/256%256, i%251, 1000+i%30000, 60+i%40, i%3000, 60+i%40, i%3000, []string{"True", "False"}[i%2])
		}
		g.n++
	}
	n := copy(b, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

func BenchmarkRows(b *testing.B) {
	// The text is made before it is measured.
	var text bytes.Buffer
	if _, err := io.CopyN(&text, &generator{}, 64<<20); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	count := int64(0)
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(text.Bytes()), Options{})
		if err != nil {
			b.Fatal(err)
		}
		var row Row
		for r.Next(&row) == nil {
			count++
		}
	}
	b.ReportMetric(float64(count)/b.Elapsed().Seconds(), "rows/s")
}
