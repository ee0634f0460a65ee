package anomaly

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// OAU-01 sees the device-code flow, by which a user signs in a device without a keyboard, or an attacker who sent the code.
//
// The user's first use is medium; with another sign of misuse it is high: another network polled for the token than the one
// where the code was entered, the device is not managed, or the client is a broker that can act for others.
//
// State: how the user has signed in before (U2), where the latest flows were, sessions (S1).
// Evidence: what is wrong with it; both places when they are known.
// False positives: administrators' command lines, meeting rooms. Allowed applications and a familiar device lower it.
var oau01 = Detection{ID: "OAU-01", Version: 1, Title: "Device-code sign-in", Technique: "T1528", Severity: severities(events.Medium, events.High)}

// OAU-02 sees a user's first sign-in by a protocol that hands the password to the client: resource owner password credentials,
// IMAP, POP, SMTP and other legacy clients.
//
// State: how the user has signed in before (U2).
// Evidence: the protocol.
// False positives: printers and scripts that were set up just now. Allowed applications are recorded only.
var oau02 = Detection{ID: "OAU-02", Version: 1, Title: "Legacy authentication", Technique: "T1078.004", Severity: severities(events.Medium)}

// OAU-03 sees a consent by which an application that hardly anybody in the organisation uses may read mail, files or more.
//
// Within an hour of a finding of medium severity or more it is critical.
//
// State: the organisation's applications (T1), once it has been watched for 30 days.
// Evidence: the application, the scopes, how many users it has.
// False positives: the first users of a new application.
var oau03 = Detection{ID: "OAU-03", Version: 1, Title: "Consent to a rare application", Technique: "T1528", Severity: severities(events.High, events.Critical)}

// OAU-04 sees a broker or first-party client ask for a resource that it has not asked for in the user's name before.
//
// State: the user's pairs of client and resource (U2).
// Evidence: client and resource.
// False positives: new features of the provider.
var oau04 = Detection{ID: "OAU-04", Version: 1, Title: "Broker client at an unusual resource", Technique: "T1550.001", Severity: severities(events.Medium)}

// OAU-05 sees an application that is new for the user, from a place or network that is new too.
//
// State: the user's applications, countries, networks (U2) and places (U3).
// Evidence: both terms.
// False positives: people who try something while they travel. A familiar device lowers it.
var oau05 = Detection{ID: "OAU-05", Version: 1, Title: "New application from an unfamiliar place", Technique: "T1078.004", Severity: severities(events.Medium)}

// grants that are worth a word of their own, by the protocol's name without case and punctuation.
var (
	deviceCodeNames = []string{"devicecode", "deviceauthorization", "urnietfparamsoauthgranttypedevicecode"}
	legacyNames     = []string{
		"ropc", "password", "resourceownerpassword", "imap", "imap4", "pop", "pop3", "smtp", "authenticatedsmtp", "exchangeactivesync",
		"mapi", "mapioverhttp", "outlookanywhere", "outlookservice", "universaloutlook", "olderofficeclients", "reportingwebservices",
		"richclient", "basic", "otherclients", "exchangewebservices", "autodiscover", "offlineaddressbook", "exchangeonlinepowershell",
	}
)

// grant is the protocol in one spelling.
func grant(protocol string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, protocol[:min(len(protocol), events.MaxName)])
}

// judgeOAuth looks at the client and how it came by its token.
func (o *observation) judgeOAuth() {
	if o.e.Kind != events.SignIn {
		return
	}
	switch name := grant(o.e.Auth.Protocol); {
	case slices.Contains(deviceCodeNames, name):
		o.deviceCode()
	case slices.Contains(legacyNames, name):
		o.legacy()
	}
	o.brokered()
	o.newApp()
}

// deviceCode is OAU-01.
func (o *observation) deviceCode() {
	var signs []string
	novel := o.grant.unknown
	if novel {
		signs = append(signs, "the user's first use of it")
	}
	var chain []events.Sight
	pt := o.flowStep()
	if pt == nil && o.session != 0 {
		if s := o.p.Session(o.session); s != nil && s.Start.Event != o.id {
			pt = &s.Start
		}
	}
	other := pt != nil && o.elsewhere(pt, &o.at)
	if other {
		signs = append(signs, fmt.Sprintf("entered through AS%d, polled through AS%d", o.p.Spot(pt).ASN, o.spot.ASN))
		chain = append(chain, o.p.Sight(pt))
	}
	if o.e.Device.Managed != events.Yes && !o.familiarDevice() {
		signs = append(signs, "the device is neither managed nor known")
	}
	if slices.Contains(o.c.config.OAuth.BrokerApps, o.e.App.ID) {
		signs = append(signs, "the client is a broker")
	}
	if !novel && !other {
		return
	}
	l := ladder{severity: events.Medium}
	if len(signs) > 1 {
		l.severity = events.High
	}
	l.gate(o)
	if slices.Contains(o.c.config.Device.ScriptedApps, o.e.App.ID) {
		l.rung(rungAllow, effectRecord, "programs may use the application")
	} else {
		l.allow(o, &o.at, nil)
	}
	l.known(o, effectLower)
	o.report(&oau01, &l, "Device-code sign-in: "+strings.Join(signs, "; "), events.Evidence{
		Novel: []events.NovelTerm{o.grant.term("grant", "device_code")}, Chain: chain,
	})
}

// legacy is OAU-02.
func (o *observation) legacy() {
	if !o.grant.unknown || !o.grant.fresh && o.raised(&oau02, events.Day) {
		return // known, or told of it: mail programs come back every few minutes
	}
	l := ladder{severity: events.Medium}
	l.gate(o)
	if slices.Contains(o.c.config.Device.ScriptedApps, o.e.App.ID) {
		l.rung(rungAllow, effectRecord, "programs may use the application")
	} else {
		l.allow(o, &o.at, nil)
	}
	o.report(&oau02, &l, "The first sign-in by "+o.e.Auth.Protocol+", which hands the password to the client", events.Evidence{
		Novel: []events.NovelTerm{o.grant.term("grant", o.e.Auth.Protocol)},
	})
}

// brokered is OAU-04.
func (o *observation) brokered() {
	if !o.appResource.fresh || o.appResource.known == 0 || !slices.Contains(o.c.config.OAuth.BrokerApps, o.e.App.ID) {
		return
	}
	l := ladder{severity: events.Medium}
	l.gate(o)
	l.allow(o, &o.at, nil)
	l.known(o, effectLower)
	o.report(&oau04, &l, fmt.Sprintf("%s asked for %s for the first time", refName(o.e.App), refName(o.e.Resource)), events.Evidence{
		Novel: []events.NovelTerm{o.appResource.term("client_and_resource", o.e.App.ID+" "+o.e.Resource.ID)},
	})
}

// newApp is OAU-05.
func (o *observation) newApp() {
	place := o.country.new() || o.newPlace && o.network.new()
	if !o.app.new() || !o.app.fresh || !place {
		return
	}
	l := ladder{severity: events.Medium}
	l.gate(o)
	l.allow(o, &o.at, nil)
	if o.familiarDevice() {
		l.rung(rungSame, effectLower, "the device is known of the user")
	} else {
		l.rung(rungSame, effectNone, "the device is not known of the user")
	}
	l.proof(o, effectRecord, true)
	novel := []events.NovelTerm{o.app.term("app", o.e.App.ID)}
	if o.country.new() {
		novel = append(novel, o.countryTerm())
	} else {
		novel = append(novel, o.networkTerm())
	}
	o.report(&oau05, &l, fmt.Sprintf("%s, new for the user, from %s, which is new too", refName(o.e.App), placeName(o.spot)), events.Evidence{Novel: novel})
}

func refName(r events.Ref) string {
	switch {
	case r.Name != "":
		return r.Name
	case r.ID != "":
		return r.ID
	}
	return "an unnamed application"
}
