package company

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

func TestAttemptsKnowWhatTheirKindKnows(t *testing.T) {
	t.Parallel()
	c := New(small(nil))
	at := c.cfg.Start + 5*events.Day
	const n = 40
	type shares struct{ country, city, network, system, agent float64 }
	got := map[Attack]shares{}
	for _, kind := range Statistical {
		var s shares
		for user := range 200 {
			i := uint32(user)
			key := events.Key(c.cfg.Tenants[c.staff[i].tenant], c.userID(i))
			list, err := c.Attempts(kind, key, at, n)
			if err != nil {
				t.Fatal(err)
			}
			again, err := New(small(nil)).Attempt(kind, key, at)
			if diff := cmp.Diff(list[0], again); diff != "" || err != nil {
				t.Fatalf("%s: another company of the seed differs: %v\n%s", kind, err, diff)
			}
			ids := map[string]bool{}
			var own events.Event
			c.device(&slot{user: i}, dayOf(at), &own)
			number, _ := lease(i, dayOf(at))
			home := lineOf(c.staff[i].home, i).address(number)
			town := &cities[c.staff[i].home]
			for k := range list {
				e := &list[k]
				if err := e.Validate(); err != nil {
					t.Fatal(err)
				}
				if e.Key() != key || e.Time != at || e.Outcome != events.Success || e.Device.ID != "" || ids[e.ID] || e.IP == home.ip.String() {
					t.Fatalf("%s: %s", kind, events.Encode(e))
				}
				ids[e.ID] = true
				count := func(part *float64, same bool) {
					if same {
						*part += 1.0 / 200 / n
					}
				}
				count(&s.country, e.Place.Country == home.at.Country)
				count(&s.city, haversine(e.Place.Lat, e.Place.Lon, town.lat, town.lon) < 170)
				count(&s.network, e.Network.ASN == home.net.ASN)
				count(&s.system, e.Device.OS == own.Device.OS && e.Device.Type == own.Device.Type)
				count(&s.agent, e.Device.OS == own.Device.OS && e.Device.Browser == own.Device.Browser)
			}
		}
		got[kind] = s
	}
	naive, vpn, targeted, very := got[NaiveAttacker], got[VPNAttacker], got[TargetedAttacker], got[VeryTargetedAttacker]
	if naive.country > 0.15 || naive.network > 0.02 {
		t.Errorf("naive knows too much: %+v", naive)
	}
	if vpn.country < 0.999 || vpn.city > 0.9 || vpn.network > 0 {
		t.Errorf("vpn: %+v", vpn)
	}
	if targeted.city < 0.999 || targeted.network < 0.15 || targeted.network > 0.5 || targeted.system < 0.999 || targeted.agent > 0.9 {
		t.Errorf("targeted: %+v", targeted)
	}
	if very.city < 0.999 || very.network < 0.999 || very.agent < 0.999 {
		t.Errorf("very targeted: %+v", very)
	}
}

func TestAttemptsAreRefused(t *testing.T) {
	t.Parallel()
	c := New(small(nil))
	for _, bad := range []struct {
		kind   Attack
		victim string
	}{{Spray, "acme/emp-0000001"}, {NaiveAttacker, "globex/emp-0000001"}, {NaiveAttacker, "emp-0000001"}, {"", "acme/emp-0000001"}} {
		if e, err := c.Attempt(bad.kind, bad.victim, c.cfg.Start); err == nil {
			t.Errorf("%v: got %s", bad, events.Encode(&e))
		}
	}
}
