package okta

import (
	"cmp"
	"strings"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// record is one of the System Log as it came; every text is "" when the record did not say.
type record struct {
	uuid, published, eventType string
	actor                      entity
	targets                    []entity
	client                     client
	device                     device
	auth                       authentication
	security                   security
	result, reason             string
	transaction                string
	firstHop                   string // of the chain of addresses
	debug                      debug
}

type entity struct {
	id, kind, alternate, name string
	// method and properties are what an authenticator was used for.
	method, properties string
}

type client struct {
	id, ip, device, zone, agent, os, browser string
	place                                    place
}

type place struct {
	city, state, country string
	lat, lon             float64
}

type device struct {
	id, name, os string
	managed      events.Tri
}

type authentication struct {
	credential, session, root string
}

type security struct {
	asn   uint32
	org   string
	proxy events.Tri
}

type debug struct {
	risk, behaviors          []pair
	quiet                    struct{ risk, behaviors []pair } // of logOnlySecurityData
	threat                   events.Tri
	deviceToken, fingerprint string
	factor, push, challenge  string
	flow                     string
	grant, scopes, protocol  string
	privilege                string
}

// maxTargets bounds the targets that are kept; a record has a handful.
const maxTargets = 64

func read(l *jlexer.Lexer) *record {
	r := &record{}
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "uuid":
			r.uuid = foreign.Text(l)
		case "published":
			r.published = foreign.Text(l)
		case "eventType":
			r.eventType = foreign.Text(l)
		case "actor":
			r.actor = readEntity(l)
		case "target":
			foreign.Array(l, func(l *jlexer.Lexer) {
				if t := readEntity(l); len(r.targets) < maxTargets {
					r.targets = append(r.targets, t)
				}
			})
		case "client":
			readClient(l, &r.client)
		case "device":
			readDevice(l, &r.device)
		case "authenticationContext":
			readAuthentication(l, &r.auth)
		case "securityContext":
			readSecurity(l, &r.security)
		case "outcome":
			members(l, map[string]*string{"result": &r.result, "reason": &r.reason})
		case "transaction":
			members(l, map[string]*string{"id": &r.transaction})
		case "request":
			r.firstHop = readChain(l)
		case "debugContext":
			readDebug(l, &r.debug)
		default:
			l.SkipRecursive()
		}
	})
	return r
}

// members reads the texts of an object that have a place to go to.
func members(l *jlexer.Lexer, places map[string]*string) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		if place := places[key]; place != nil {
			*place = foreign.Text(l)
			return
		}
		l.SkipRecursive()
	})
}

func readEntity(l *jlexer.Lexer) (e entity) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "id":
			e.id = foreign.Text(l)
		case "type":
			e.kind = foreign.Text(l)
		case "alternateId":
			e.alternate = foreign.Text(l)
		case "displayName":
			e.name = foreign.Text(l)
		case "detailEntry":
			members(l, map[string]*string{"methodTypeUsed": &e.method, "methodUsedVerifiedProperties": &e.properties})
		default:
			l.SkipRecursive()
		}
	})
	return e
}

func readClient(l *jlexer.Lexer, c *client) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "id":
			c.id = foreign.Text(l)
		case "ipAddress":
			c.ip = foreign.Text(l)
		case "device":
			c.device = foreign.Text(l)
		case "zone":
			c.zone = foreign.Text(l)
		case "userAgent":
			members(l, map[string]*string{"rawUserAgent": &c.agent, "os": &c.os, "browser": &c.browser})
		case "geographicalContext":
			readPlace(l, &c.place)
		default:
			l.SkipRecursive()
		}
	})
}

func readPlace(l *jlexer.Lexer, p *place) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "city":
			p.city = foreign.Text(l)
		case "state":
			p.state = foreign.Text(l)
		case "country":
			p.country = foreign.Text(l)
		case "geolocation":
			foreign.Object(l, func(l *jlexer.Lexer, key string) {
				switch key {
				case "lat":
					p.lat, _ = foreign.Number(l)
				case "lon":
					p.lon, _ = foreign.Number(l)
				default:
					l.SkipRecursive()
				}
			})
		default:
			l.SkipRecursive()
		}
	})
}

// provider is the place as the record says it. Coordinates without a city are the middle of a country.
func (p *place) provider() events.Place {
	out := events.Place{City: p.city, Region: p.state, Country: countryCode(p.country)}
	if p.city != "" && p.lat >= -90 && p.lat <= 90 && p.lon >= -180 && p.lon <= 180 {
		out.Lat, out.Lon = p.lat, p.lon
	}
	return out
}

func readDevice(l *jlexer.Lexer, d *device) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "id":
			d.id = foreign.Text(l)
		case "name":
			d.name = foreign.Text(l)
		case "os_platform":
			d.os = foreign.Text(l)
		case "managed":
			d.managed = foreign.Flag(l)
		default:
			l.SkipRecursive()
		}
	})
}

func readAuthentication(l *jlexer.Lexer, a *authentication) {
	members(l, map[string]*string{"credentialType": &a.credential, "externalSessionId": &a.session, "rootSessionId": &a.root})
}

func readSecurity(l *jlexer.Lexer, s *security) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "asNumber":
			s.asn, _ = foreign.Unsigned(l)
		case "asOrg":
			s.org = foreign.Text(l)
		case "isProxy":
			s.proxy = foreign.Flag(l)
		default:
			l.SkipRecursive()
		}
	})
}

// readChain reads the address that is the farthest from Okta.
func readChain(l *jlexer.Lexer) (ip string) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		if key != "ipChain" {
			l.SkipRecursive()
			return
		}
		foreign.Array(l, func(l *jlexer.Lexer) {
			var hop string
			members(l, map[string]*string{"ip": &hop})
			ip = cmp.Or(ip, hop)
		})
	})
	return ip
}

func readDebug(l *jlexer.Lexer, d *debug) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		if key != "debugData" {
			l.SkipRecursive()
			return
		}
		foreign.Object(l, func(l *jlexer.Lexer, key string) { readDebugData(l, key, d) })
	})
}

func readDebugData(l *jlexer.Lexer, key string, d *debug) {
	switch key {
	case "risk":
		d.risk = readPairs(l)
	case "behaviors":
		d.behaviors = readPairs(l)
	case "logOnlySecurityData":
		readLogOnly(l, d)
	case "threatSuspected":
		d.threat = foreign.Flag(l)
	case "dtHash":
		d.deviceToken = foreign.Text(l)
	case "deviceFingerprint":
		d.fingerprint = foreign.Text(l)
	case "factor", "factorType":
		d.factor = cmp.Or(d.factor, foreign.Text(l))
	case "pushOnlyResponseType":
		d.push = foreign.Text(l)
	case "pushWithNumberChallengeResponseType":
		d.challenge = strings.ToUpper(foreign.Text(l))
	case "authnRequestId":
		d.flow = foreign.Text(l)
	case "grantType":
		d.grant = foreign.Text(l)
	case "grantedScopes", "requestedScopes":
		if scopes := foreign.Text(l); key == "grantedScopes" || d.scopes == "" {
			d.scopes = cmp.Or(scopes, d.scopes)
		}
	case "signOnMode":
		d.protocol = foreign.Text(l)
	case "privilegeGranted", "privilegeRevoked":
		d.privilege = cmp.Or(d.privilege, foreign.Text(l))
	default:
		l.SkipRecursive()
	}
}

// readLogOnly reads what Okta thought and did not act on: the same two members, in JSON that is written as a string.
func readLogOnly(l *jlexer.Lexer, d *debug) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "risk":
			d.quiet.risk = readPairs(l)
		case "behaviors":
			d.quiet.behaviors = readPairs(l)
		default:
			l.SkipRecursive()
		}
	})
}

// readPairs reads the texts of an object, or of the {name=value, …} form.
func readPairs(l *jlexer.Lexer) (found []pair) {
	if l.CurrentToken() == jlexer.TokenString {
		return pairs(foreign.Text(l))
	}
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		name := strings.Clone(key)
		if p := (pair{name, foreign.Text(l)}); len(found) < maxPairs {
			found = append(found, p)
		}
	})
	return found
}
