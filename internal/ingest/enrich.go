package ingest

import (
	"net/netip"
	"reflect"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/useragent"
)

// enrich writes into an event what the log will not know later: place, network, and families of system and browser.
//
// A place or network that a source wrote is kept only from trusted sources, whose provider's word also stands in where
// our databases know no place. From others a place is the provider's word, and an AS number fills the gap that no
// database of ours fills.
func (p *Pipeline) enrich(e *events.Event, trusted bool) {
	said := e.Network
	if !trusted {
		if !e.ProviderPlace.IsDefined() {
			e.ProviderPlace = e.Place
		}
		e.Place, e.Network = events.Place{}, events.Network{}
	}
	if ip, err := netip.ParseAddr(e.IP); err == nil {
		info := p.geo.Lookup(ip)
		if !e.Place.IsDefined() {
			e.Place = info.Place
		}
		if !e.Network.IsDefined() {
			e.Network = info.Network
		}
		if e.Network.Prefix == "" {
			e.Network.Prefix = info.Network.Prefix
		}
	}
	if trusted && !e.Place.IsDefined() {
		e.Place = e.ProviderPlace
	}
	if e.Network.ASN == 0 {
		e.Network.ASN, e.Network.Org = said.ASN, said.Org
	}
	p.families(&e.Device, e.UserAgent)
}

// families reduces what the source said of the device to families, and fills gaps from the user agent.
func (p *Pipeline) families(d *events.Device, agent string) {
	d.OS = useragent.OS(d.OS)
	browser, major := useragent.Browser(d.Browser)
	if d.Browser = browser; d.BrowserMajor == 0 {
		d.BrowserMajor = major
	}
	seen := p.agents.Parse(agent)
	if d.OS == "" {
		d.OS = seen.OS
	}
	if d.Browser == "" {
		d.Browser = seen.Browser
	}
	if d.BrowserMajor == 0 && d.Browser == seen.Browser {
		d.BrowserMajor = seen.BrowserMajor
	}
	if d.Type == "" {
		d.Type = seen.Type
	}
}

// fill copies into an event what only another copy of it knows. Sources send one sign-in twice, now and then with
// different gaps.
func fill(e, other *events.Event) {
	fillStruct(reflect.ValueOf(e).Elem(), reflect.ValueOf(other).Elem())
}

func fillStruct(to, from reflect.Value) {
	for n := range to.NumField() {
		t, f := to.Field(n), from.Field(n)
		switch {
		case t.IsZero():
			t.Set(f)
		// Half a place of one copy and half of another would be a third place.
		case t.Kind() == reflect.Struct && t.Type() != reflect.TypeFor[events.Place]() && t.Type() != reflect.TypeFor[events.Network]():
			fillStruct(t, f)
		}
	}
}
