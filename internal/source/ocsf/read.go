package ocsf

import (
	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// record is an event as it came; every text is "" when it did not say. Enumerations are the digits of their numbers.
type record struct {
	class, className, typeUID, typeName string
	activity, activityName              string
	time, timeText, logged              string
	uid, tenant, account, flow          string

	user   person
	actor  actor
	source endpoint
	target endpoint
	device machine

	service     named
	policies    []policy
	session     session
	token       token
	factors     []factor
	certificate bool

	protocol, protocolName string
	logonType              string
	mfa                    events.Tri
	userAgent              string

	status, statusName   string
	code, detail         string
	message              string
	disposition, action  string
	riskLevel, riskName  string
	riskScore, riskCause string
}

type person struct {
	uid, name, email, fullName string
	kind, kindName             string
	riskLevel, riskName        string
	riskScore                  string
}

type actor struct {
	user    person
	session string
}

type named struct{ uid, name string }

type machine struct {
	uid, name, os      string
	managed, compliant events.Tri
}

type endpoint struct {
	machine
	ip, service string
	asn         uint32
	org         string
	place       place
}

type place struct {
	city, region, country string
	lat, lon              float64
}

type session struct {
	uid, credential string
	mfa             events.Tri
}

type token struct{ uid, kind string }

type factor struct{ kind, name string }

type policy struct {
	named
	applied events.Tri
}

// maxList bounds lists that are kept; a record has two or three of each.
const maxList = 32

func (r *record) read(l *jlexer.Lexer) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		if to := r.text(key); to != nil {
			*to = foreign.Text(l)
			return
		}
		switch key {
		case "metadata":
			r.metadata(l)
		case "cloud":
			foreign.Object(l, func(l *jlexer.Lexer, key string) {
				if key == "account" {
					r.account = readNamed(l).uid
					return
				}
				l.SkipRecursive()
			})
		case "user":
			readPerson(l, &r.user)
		case "actor":
			readActor(l, &r.actor)
		case "src_endpoint":
			readEndpoint(l, &r.source)
		case "dst_endpoint":
			readEndpoint(l, &r.target)
		case "device":
			foreign.Object(l, func(l *jlexer.Lexer, key string) { r.device.member(l, key) })
		case "service":
			r.service = readNamed(l)
		case "policy":
			r.policies = append(r.policies, readPolicy(l))
		case "policies":
			foreign.Array(l, func(l *jlexer.Lexer) {
				if p := readPolicy(l); len(r.policies) < maxList {
					r.policies = append(r.policies, p)
				}
			})
		case "session":
			readSession(l, &r.session)
		case "authentication_token":
			readMembers(l, members{{"uid", &r.token.uid}, {"type_id", &r.token.kind}})
		case "auth_factors":
			r.factors = readFactors(l)
		case "certificate":
			var serial, subject string
			readMembers(l, members{{"serial_number", &serial}, {"subject", &subject}})
			r.certificate = serial != "" || subject != ""
		case "is_mfa":
			r.mfa = foreign.Flag(l)
		case "http_request":
			readMembers(l, members{{"user_agent", &r.userAgent}})
		default:
			l.SkipRecursive()
		}
	})
}

// text is where a top-level attribute that is a text or a number goes; nil for every other.
func (r *record) text(key string) *string {
	switch key {
	case "class_uid":
		return &r.class
	case "class_name":
		return &r.className
	case "type_uid":
		return &r.typeUID
	case "type_name":
		return &r.typeName
	case "activity_id":
		return &r.activity
	case "activity_name":
		return &r.activityName
	case "time":
		return &r.time
	case "time_dt":
		return &r.timeText
	case "auth_protocol_id":
		return &r.protocol
	case "auth_protocol":
		return &r.protocolName
	case "logon_type_id":
		return &r.logonType
	case "status_id":
		return &r.status
	case "status":
		return &r.statusName
	case "status_code":
		return &r.code
	case "status_detail":
		return &r.detail
	case "message":
		return &r.message
	case "disposition_id":
		return &r.disposition
	case "action_id":
		return &r.action
	case "risk_level_id":
		return &r.riskLevel
	case "risk_level":
		return &r.riskName
	case "risk_score":
		return &r.riskScore
	case "risk_details":
		return &r.riskCause
	}
	return nil
}

func (r *record) metadata(l *jlexer.Lexer) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "uid":
			r.uid = foreign.Text(l)
		case "tenant_uid":
			r.tenant = foreign.Text(l)
		case "logged_time":
			r.logged = foreign.Text(l)
		case "correlation_uid":
			r.flow = foreign.Text(l)
		default:
			l.SkipRecursive()
		}
	})
}

func readPerson(l *jlexer.Lexer, p *person) {
	readMembers(l, members{
		{"uid", &p.uid},
		{"name", &p.name},
		{"email_addr", &p.email},
		{"full_name", &p.fullName},
		{"type_id", &p.kind},
		{"type", &p.kindName},
		{"risk_level_id", &p.riskLevel},
		{"risk_level", &p.riskName},
		{"risk_score", &p.riskScore},
	})
}

func readActor(l *jlexer.Lexer, a *actor) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "user":
			readPerson(l, &a.user)
		case "session":
			a.session = readNamed(l).uid
		default:
			l.SkipRecursive()
		}
	})
}

func readEndpoint(l *jlexer.Lexer, e *endpoint) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "ip":
			e.ip = foreign.Text(l)
		case "svc_name":
			e.service = foreign.Text(l)
		case "autonomous_system":
			foreign.Object(l, func(l *jlexer.Lexer, key string) {
				switch key {
				case "number":
					e.asn, _ = foreign.Unsigned(l)
				case "name":
					e.org = foreign.Text(l)
				default:
					l.SkipRecursive()
				}
			})
		case "location":
			readPlace(l, &e.place)
		default:
			e.machine.member(l, key)
		}
	})
}

// member reads what a device and an endpoint call alike.
func (m *machine) member(l *jlexer.Lexer, key string) {
	switch key {
	case "uid":
		m.uid = foreign.Text(l)
	case "hostname":
		m.name = foreign.Text(l)
	case "name":
		if name := foreign.Text(l); m.name == "" {
			m.name = name
		}
	case "os":
		m.os = readNamed(l).name
	case "is_managed":
		m.managed = foreign.Flag(l)
	case "is_compliant":
		m.compliant = foreign.Flag(l)
	default:
		l.SkipRecursive()
	}
}

// readPlace reads a location. Before 1.4 it has its coordinates in an array, longitude first.
func readPlace(l *jlexer.Lexer, p *place) {
	var pair []float64
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "city":
			p.city = foreign.Text(l)
		case "region":
			p.region = foreign.Text(l)
		case "country":
			p.country = foreign.Text(l)
		case "lat":
			p.lat, _ = foreign.Number(l)
		case "long":
			p.lon, _ = foreign.Number(l)
		case "coordinates":
			foreign.Array(l, func(l *jlexer.Lexer) {
				if n, ok := foreign.Number(l); ok && len(pair) <= 2 {
					pair = append(pair, n)
				}
			})
		default:
			l.SkipRecursive()
		}
	})
	if len(pair) == 2 && p.lat == 0 && p.lon == 0 {
		p.lon, p.lat = pair[0], pair[1]
	}
}

func readSession(l *jlexer.Lexer, s *session) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "uid":
			s.uid = foreign.Text(l)
		case "credential_uid":
			s.credential = foreign.Text(l)
		case "is_mfa":
			s.mfa = foreign.Flag(l)
		default:
			l.SkipRecursive()
		}
	})
}

func readFactors(l *jlexer.Lexer) (all []factor) {
	foreign.Array(l, func(l *jlexer.Lexer) {
		var f factor
		readMembers(l, members{{"factor_type_id", &f.kind}, {"factor_type", &f.name}})
		if len(all) < maxList && f != (factor{}) {
			all = append(all, f)
		}
	})
	return all
}

func readPolicy(l *jlexer.Lexer) (p policy) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "uid":
			p.uid = foreign.Text(l)
		case "name":
			p.name = foreign.Text(l)
		case "is_applied":
			p.applied = foreign.Flag(l)
		default:
			l.SkipRecursive()
		}
	})
	return p
}

func readNamed(l *jlexer.Lexer) (n named) {
	readMembers(l, members{{"uid", &n.uid}, {"name", &n.name}})
	return n
}

// members are those of an object that are texts or numbers, and where each goes.
type members []struct {
	key string
	to  *string
}

func readMembers(l *jlexer.Lexer, wanted members) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		for _, m := range wanted {
			if m.key == key {
				*m.to = foreign.Text(l)
				return
			}
		}
		l.SkipRecursive()
	})
}
