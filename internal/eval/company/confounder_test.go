package company

import (
	"slices"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

// seen is what is gathered of one confounder.
type seen struct {
	n     int
	users map[string]bool
	list  []events.Event // the first thousand
}

// What looks like an attack looks like it for the reason that its label gives.
func TestConfoundersAreWhatTheyAreCalled(t *testing.T) {
	t.Parallel()
	cfg := EvalConfig(1500)
	cfg.Days, cfg.AttacksPerDay, cfg.Faults = 50, 0, Faults{}
	of := map[Confounder]*seen{}
	perAddress := map[string]map[string]bool{}
	kiosks := map[string]map[string]bool{}
	for e, l := range New(cfg).Events() {
		s := of[l.Confounder]
		if s == nil {
			s = &seen{users: map[string]bool{}}
			of[l.Confounder] = s
		}
		s.n++
		s.users[e.User.ID] = true
		if len(s.list) < 1000 {
			s.list = append(s.list, e)
		}
		share := func(m map[string]map[string]bool, key string) {
			if m[key] == nil {
				m[key] = map[string]bool{}
			}
			m[key][e.User.ID] = true
		}
		switch l.Confounder { //nolint:exhaustive // only those that are shared
		case OfficeNAT, VDI:
			share(perAddress, string(l.Confounder)+e.IP)
		case SharedDevice:
			share(kiosks, e.Device.ID)
		}
	}
	all := func(c Confounder, what string, holds func(*events.Event) bool) {
		t.Helper()
		for i := range of[c].list {
			if e := &of[c].list[i]; !holds(e) {
				t.Errorf("%s: %s: %s", c, what, events.Encode(e))
				return
			}
		}
	}
	for _, c := range Confounders {
		if of[c] == nil && c != StepUpDone {
			t.Fatalf("no %s", c)
		}
	}
	crowd := func(m map[string]map[string]bool) (most int) {
		for _, users := range m {
			most = max(most, len(users))
		}
		return most
	}
	if n := crowd(perAddress); n < 15 {
		t.Errorf("at most %d users behind one address", n)
	}
	if n := crowd(kiosks); n < 2 {
		t.Errorf("at most %d users at one kiosk", n)
	}
	classed := func(c events.Class) func(*events.Event) bool {
		return func(e *events.Event) bool { return e.Network.Is(c) && e.Network.List != "" && e.Network.Built != 0 }
	}
	all(VPNUse, "no VPN", classed(events.VPN))
	all(PersonalVPN, "no VPN", classed(events.VPN))
	all(RelayUse, "no relay", classed(events.Relay))
	all(Satellite, "no satellite", classed(events.Satellite))
	all(MobileHub, "not mobile", classed(events.Mobile))
	all(Roaming, "not mobile", classed(events.Mobile))
	all(VDI, "not hosted and managed", func(e *events.Event) bool { return e.Network.Is(events.Hosting) && e.Device.Managed == events.Yes })
	all(DualStack, "not IPv6", func(e *events.Event) bool { return e.IP[:9] == "2001:db8:" })
	all(ProviderOutage, "the password's fault", func(e *events.Event) bool { return e.Outcome == events.Failure && e.Cause == events.OtherCause })
	all(MistypedCode, "another cause", func(e *events.Event) bool { return e.Cause == events.BadCode })
	all(CachedPassword, "not a silent wrong password", func(e *events.Event) bool {
		return e.Cause == events.BadPassword && e.Interactive == events.No && e.Device.Type == "mobile"
	})
	all(CommandLine, "not an administrator's", func(e *events.Event) bool { return e.User.Privileged == events.Yes })
	all(LegacyClient, "not a password grant", func(e *events.Event) bool { return e.Auth.Protocol == "ropc" })
	all(Program, "no program", func(e *events.Event) bool { return e.User.Type == events.Workload && e.Network.ASN == cloudASN })
	all(AccountUpkeep, "no change", func(e *events.Event) bool { return e.Kind == events.AccountChange })
	all(ProviderRisk, "no report", func(e *events.Event) bool { return e.Kind == events.RiskReport && e.Risk.Level != "" })
	if n := len(of[PasswordExpiry].users); n < cfg.Users/10 {
		t.Errorf("passwords of %d users expired", n)
	}
	if n := len(of[AppRollout].users); n < cfg.Users/2 {
		t.Errorf("an application was rolled out to %d users", n)
	}
	if storms := of[CachedPassword]; storms.n/len(storms.users) < 50 {
		t.Errorf("%d tries of %d users", storms.n, len(storms.users))
	}
	if taps := of[MisTap].list; !slices.ContainsFunc(taps, func(e events.Event) bool { return e.Outcome == events.Success }) {
		t.Error("nobody got in after a mis-tap")
	}
}

func TestHomesKeepTheirCarrierAndChangeTheirAddress(t *testing.T) {
	t.Parallel()
	changed, networks := 0, 0
	for household := range uint32(500) {
		ips, asns := map[string]bool{}, map[uint32]bool{}
		for day := range int64(60) {
			number, _ := lease(household, 20000+day)
			n := lineOf(3, household).address(number)
			ips[n.ip.String()], asns[n.net.ASN] = true, true
			if km := haversine(n.at.Lat, n.at.Lon, cities[3].lat, cities[3].lon); km > wrong+1 || n.at.RadiusKm < km/2-1 {
				t.Fatalf("%.0f km off with a radius of %.0f", km, n.at.RadiusKm)
			}
		}
		changed += len(ips) - 1
		networks += len(asns) - 1
	}
	if mean := float64(changed) / 500; mean < 1.5 || mean > 6 {
		t.Errorf("%.1f changes in 60 days", mean)
	}
	if networks != 0 {
		t.Errorf("%d changes of the carrier", networks)
	}
}

// The errors of places are those that were measured (arXiv 2605.21937): half of the fixed lines within 10 km, half of the
// mobile networks within 190.
func TestPlacesAreWrongByAsMuchAsMeasured(t *testing.T) {
	t.Parallel()
	var fixed, cellular []float64
	utrecht := &cities[0]
	for k := range uint32(4000) {
		n := lineOf(0, k).address(uint64(k))
		fixed = append(fixed, haversine(n.at.Lat, n.at.Lon, utrecht.lat, utrecht.lon))
	}
	for c := range uint8(len(cities)) {
		for k := range uint64(100) {
			n := mobile(c, uint32(k), k*7919, false)
			cellular = append(cellular, haversine(n.at.Lat, n.at.Lon, cities[c].lat, cities[c].lon))
		}
	}
	slices.Sort(fixed)
	slices.Sort(cellular)
	if m := fixed[len(fixed)/2]; m < 8 || m > 12 {
		t.Errorf("fixed lines: median %.0f km", m)
	}
	if m := cellular[len(cellular)/2]; m < 160 || m > 220 {
		t.Errorf("mobile networks: median %.0f km", m)
	}
}

func TestHubJumpsCrossLargeCountries(t *testing.T) {
	t.Parallel()
	newYork, most := cityNamed("New York"), 0.0
	near := mobile(newYork, 1, 99, false)
	for turn := range uint64(200) {
		n := mobile(newYork, 1, turn, true)
		if n.at.Country != "US" || n.net.ASN != near.net.ASN {
			t.Fatalf("jumped to %+v", n)
		}
		most = max(most, haversine(n.at.Lat, n.at.Lon, near.at.Lat, near.at.Lon))
	}
	if most < 1000 {
		t.Errorf("at most %.0f km", most)
	}
}

func TestSkewedClocks(t *testing.T) {
	t.Parallel()
	times := func(share float64) map[string]events.Millis {
		m := map[string]events.Millis{}
		cfg := small(func(c *Config) { c.Faults.Skewed = share })
		for e := range New(cfg).Events() {
			m[e.ID] = e.Time
		}
		return m
	}
	right, wrong := times(0), times(0.3)
	off := 0
	for id, at := range right {
		switch d := wrong[id] - at; {
		case d < -3*events.Minute || d > 3*events.Minute:
			t.Fatalf("off by %d ms", d)
		case d != 0:
			off++
		}
	}
	if share := float64(off) / float64(len(right)); share < 0.05 || share > 0.4 {
		t.Errorf("%.2f of the events are off", share)
	}
}

// BenchmarkMillion is the memory of a company of a million while it lives through two days.
func BenchmarkMillion(b *testing.B) {
	for b.Loop() {
		cfg := EvalConfig(1_000_000)
		cfg.Days, cfg.QuietDays = 2, 0
		c := New(cfg)
		var e events.Event
		n := 0
		for {
			if _, ok := c.Next(&e); !ok {
				break
			}
			n++
		}
		b.ReportMetric(float64(n)/1e6, "Mevents")
		b.ReportMetric(float64(cap(c.pending))*20/(1<<20), "plan-MiB")
	}
}
