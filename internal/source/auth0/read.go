package auth0

import (
	"cmp"
	"strings"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// record is one of the tenant logs as it came; every text is "" when the record did not say.
type record struct {
	id, date, kind, description string
	tenant                      string
	userID, userName            string
	clientID, clientName        string
	strategyType                string
	ip, agent                   string
	mobile                      events.Tri
	place                       place
	details                     details
}

type place struct {
	city, country, code string
	lat, lon            float64
}

type details struct {
	session, transaction string
	// factor is the authenticator of a second factor.
	factor  string
	prompts []prompt
	risk    assessment
	request request
}

// prompt is a step of a sign-in.
type prompt struct {
	name, session string
	amr, acr      []string
}

// assessment is what Auth0 thinks: how confident it is.
type assessment struct {
	confidence string
	assessors  []assessor
}

type assessor struct{ name, code, confidence string }

// request is one to the Management API.
type request struct {
	method, path     string
	actor, actorName string
	password, email  bool // members of the body
	blocked          events.Tri
	status           string
}

// maxElements bounds the lists that are kept.
const maxElements = 32

func read(l *jlexer.Lexer) *record {
	r := &record{}
	var fallback string
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "log_id":
			r.id = foreign.Text(l)
		case "_id":
			fallback = foreign.Text(l)
		case "date":
			r.date = foreign.Text(l)
		case "type":
			r.kind = foreign.Text(l)
		case "description":
			r.description = foreign.Text(l)
		case "tenant_name":
			r.tenant = foreign.Text(l)
		case "user_id":
			r.userID = foreign.Text(l)
		case "user_name":
			r.userName = foreign.Text(l)
		case "client_id":
			r.clientID = foreign.Text(l)
		case "client_name":
			r.clientName = foreign.Text(l)
		case "strategy_type":
			r.strategyType = foreign.Text(l)
		case "ip":
			r.ip = foreign.Text(l)
		case "user_agent":
			r.agent = foreign.Text(l)
		case "is_mobile", "isMobile":
			r.mobile = foreign.Flag(l)
		case "location_info":
			readPlace(l, &r.place)
		case "details":
			readDetails(l, &r.details)
		default:
			l.SkipRecursive()
		}
	})
	r.id = cmp.Or(r.id, fallback)
	return r
}

func readPlace(l *jlexer.Lexer, p *place) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "city_name":
			p.city = foreign.Text(l)
		case "country_name":
			p.country = foreign.Text(l)
		case "country_code":
			p.code = foreign.Text(l)
		case "latitude":
			p.lat, _ = foreign.Number(l)
		case "longitude":
			p.lon, _ = foreign.Number(l)
		default:
			l.SkipRecursive()
		}
	})
}

// provider is the place as the record says it. Coordinates without a city are the middle of a country.
func (p *place) provider() events.Place {
	out := events.Place{City: p.city, Country: cmp.Or(foreign.Country(p.code), foreign.Country(p.country))}
	if p.city != "" && p.lat >= -90 && p.lat <= 90 && p.lon >= -180 && p.lon <= 180 {
		out.Lat, out.Lon = p.lat, p.lon
	}
	return out
}

func readDetails(l *jlexer.Lexer, d *details) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "session_id":
			d.session = foreign.Text(l)
		case "transaction_id":
			d.transaction = foreign.Text(l)
		case "authenticator", "factor":
			d.factor = cmp.Or(d.factor, readFactor(l))
		case "prompts":
			foreign.Array(l, func(l *jlexer.Lexer) {
				if p := readPrompt(l); len(d.prompts) < maxElements {
					d.prompts = append(d.prompts, p)
				}
			})
		case "riskAssessment":
			readAssessment(l, &d.risk)
		case "request":
			readRequest(l, &d.request)
		case "response":
			foreign.Object(l, func(l *jlexer.Lexer, key string) {
				if key == "statusCode" {
					d.request.status = foreign.Text(l)
					return
				}
				l.SkipRecursive()
			})
		default:
			l.SkipRecursive()
		}
	})
}

// readFactor reads a name, or an object with one as its type.
func readFactor(l *jlexer.Lexer) (name string) {
	if l.CurrentToken() == jlexer.TokenString {
		return foreign.Text(l)
	}
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		if key == "type" || key == "name" {
			name = cmp.Or(name, foreign.Text(l))
			return
		}
		l.SkipRecursive()
	})
	return name
}

func readPrompt(l *jlexer.Lexer) (p prompt) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "name":
			p.name = foreign.Text(l)
		case "session_id":
			p.session = foreign.Text(l)
		case "performed_amr":
			p.amr = readTexts(l)
		case "performed_acr":
			p.acr = readTexts(l)
		default:
			l.SkipRecursive()
		}
	})
	return p
}

// readTexts reads an array of texts, or one text.
func readTexts(l *jlexer.Lexer) (texts []string) {
	if l.CurrentToken() == jlexer.TokenString {
		if s := foreign.Text(l); s != "" && !strings.HasPrefix(s, "[") {
			return []string{s}
		}
		return nil
	}
	foreign.Array(l, func(l *jlexer.Lexer) {
		if s := foreign.Text(l); s != "" && len(texts) < maxElements {
			texts = append(texts, s)
		}
	})
	return texts
}

func readAssessment(l *jlexer.Lexer, a *assessment) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "confidence":
			a.confidence = foreign.Text(l)
		case "assessments":
			foreign.Object(l, func(l *jlexer.Lexer, key string) {
				one := assessor{name: strings.Clone(key)}
				foreign.Object(l, func(l *jlexer.Lexer, key string) {
					switch key {
					case "code":
						one.code = foreign.Text(l)
					case "confidence":
						one.confidence = foreign.Text(l)
					default:
						l.SkipRecursive()
					}
				})
				if len(a.assessors) < maxElements {
					a.assessors = append(a.assessors, one)
				}
			})
		default:
			l.SkipRecursive()
		}
	})
}

func readRequest(l *jlexer.Lexer, r *request) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "method":
			r.method = foreign.Text(l)
		case "path":
			r.path = foreign.Text(l)
		case "auth":
			readActor(l, r)
		case "body":
			foreign.Object(l, func(l *jlexer.Lexer, key string) {
				switch key {
				case "password":
					r.password = true
				case "email", "phone_number":
					r.email = true
				case "blocked":
					r.blocked = foreign.Flag(l)
					return
				}
				l.SkipRecursive() // values may be secrets
			})
		default:
			l.SkipRecursive()
		}
	})
}

// readActor reads who sent a request: a person at the dashboard, or an application.
func readActor(l *jlexer.Lexer, r *request) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		if key != "user" {
			l.SkipRecursive()
			return
		}
		foreign.Object(l, func(l *jlexer.Lexer, key string) {
			switch key {
			case "user_id":
				r.actor = foreign.Text(l)
			case "email":
				r.actorName = foreign.Text(l)
			case "name":
				r.actorName = cmp.Or(r.actorName, foreign.Text(l))
			default:
				l.SkipRecursive()
			}
		})
	})
}
