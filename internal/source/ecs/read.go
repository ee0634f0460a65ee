package ecs

import (
	"slices"
	"strings"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/source/foreign"
)

// record is a document as it came; every text is "" when it did not say.
type record struct {
	members int    // of the outermost object
	bulk    bool   // one of them is an action of a bulk request
	hit     string // the id of the hit of a search that the document is in
	isHit   bool

	time, created, ingested string
	id, kind, action        string
	outcome, reason, code   string
	dataset                 string
	categories, types       []string
	score, scoreNorm        string
	errorCode, errorMessage string
	organization, account   string
	user, target            person
	groupID, groupName      string
	userRisk, userScore     string
	source, client          endpoint
	serviceID, serviceName  string
	session                 string
	device, deviceModel     string
	userAgent               string
	browser, browserVersion string
	agentOS, agentOSFull    string
	hostOS, collector       string
	logonType               string
	flow                    string
	winReason               string
	winStatus, winSubStatus string
	ruleID, ruleName        string
}

type person struct{ id, name, email, fullName string }

type endpoint struct {
	ip, address        string
	asn, org           string
	city, country      string
	region, regionCode string
	lat, lon           string
}

// read reads a document, a hit of a search with the document inside, or the action line of a bulk request.
func (r *record) read(l *jlexer.Lexer) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		r.members++
		switch key {
		case "_index":
			r.isHit = true
			l.SkipRecursive()
		case "_id":
			r.isHit = true
			r.hit = foreign.Text(l)
		case "_source":
			r.object(l, "")
		case "fields":
			// In a hit these are the document's fields; in a document they are whatever its owner likes.
			if r.isHit {
				r.object(l, "")
			} else {
				l.SkipRecursive()
			}
		case "index", "create", "update", "delete":
			r.bulk = true
			l.SkipRecursive()
		default:
			r.field(l, key)
		}
	})
}

// object reads the members of the object at path.
func (r *record) object(l *jlexer.Lexer, path string) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		const longest = 40 // no name of a field below has more
		switch {
		case len(path)+1+len(key) > longest:
			l.SkipRecursive()
		case path == "":
			r.field(l, key)
		default:
			r.field(l, path+"."+key)
		}
	})
}

// field reads the field at path, whether nested or dotted keys led there. The first value that says something counts.
func (r *record) field(l *jlexer.Lexer, path string) {
	if to := r.text(path); to != nil {
		readText(l, to)
		return
	}
	switch path {
	case "event.category":
		readList(l, &r.categories)
	case "event.type":
		readList(l, &r.types)
	case "source.geo.location":
		r.source.point(l)
	case "client.geo.location":
		r.client.point(l)
	case "event", "error", "organization", "cloud", "cloud.account", "user", "user.target", "user.risk", "group", "service", "session",
		"device", "device.model", "user_agent", "user_agent.os", "host", "host.os", "agent", "winlog", "winlog.logon", "winlog.logon.failure", "winlog.event_data", "rule", "trace",
		"source", "source.as", "source.as.organization", "source.geo", "client", "client.as", "client.as.organization", "client.geo":
		each(l, func(l *jlexer.Lexer) { r.object(l, path) })
	default:
		l.SkipRecursive()
	}
}

// each calls value for every element of an array, or for the only value.
func each(l *jlexer.Lexer, value func(l *jlexer.Lexer)) {
	if l.CurrentToken() == jlexer.TokenDelim && l.IsDelim('[') {
		foreign.Array(l, value)
		return
	}
	value(l)
}

func readText(l *jlexer.Lexer, to *string) {
	each(l, func(l *jlexer.Lexer) {
		if text := foreign.Text(l); *to == "" {
			*to = text
		}
	})
}

// text is where a field goes that is a text or a number; nil for every other.
func (r *record) text(path string) *string {
	if rest, ok := strings.CutPrefix(path, "source."); ok {
		return r.source.text(rest)
	}
	if rest, ok := strings.CutPrefix(path, "client."); ok {
		return r.client.text(rest)
	}
	switch path {
	case "@timestamp":
		return &r.time
	case "event.created":
		return &r.created
	case "event.ingested":
		return &r.ingested
	case "event.id":
		return &r.id
	case "event.kind":
		return &r.kind
	case "event.action":
		return &r.action
	case "event.outcome":
		return &r.outcome
	case "event.reason":
		return &r.reason
	case "event.code":
		return &r.code
	case "event.dataset":
		return &r.dataset
	case "event.risk_score":
		return &r.score
	case "event.risk_score_norm":
		return &r.scoreNorm
	case "error.code":
		return &r.errorCode
	case "error.message":
		return &r.errorMessage
	case "organization.id":
		return &r.organization
	case "cloud.account.id":
		return &r.account
	case "user.id":
		return &r.user.id
	case "user.name":
		return &r.user.name
	case "user.email":
		return &r.user.email
	case "user.full_name":
		return &r.user.fullName
	case "user.target.id":
		return &r.target.id
	case "user.target.name":
		return &r.target.name
	case "user.target.email":
		return &r.target.email
	case "user.target.full_name":
		return &r.target.fullName
	case "user.risk.calculated_level":
		return &r.userRisk
	case "user.risk.calculated_score_norm":
		return &r.userScore
	case "group.id":
		return &r.groupID
	case "group.name":
		return &r.groupName
	case "service.id":
		return &r.serviceID
	case "service.name":
		return &r.serviceName
	case "session.id":
		return &r.session
	case "device.id":
		return &r.device
	case "device.model.name":
		return &r.deviceModel
	case "user_agent.original":
		return &r.userAgent
	case "user_agent.name":
		return &r.browser
	case "user_agent.version":
		return &r.browserVersion
	case "user_agent.os.name":
		return &r.agentOS
	case "user_agent.os.full":
		return &r.agentOSFull
	case "host.os.name":
		return &r.hostOS
	case "agent.type", "agent.id":
		return &r.collector
	case "trace.id":
		return &r.flow
	case "winlog.logon.type":
		return &r.logonType
	case "winlog.logon.failure.reason":
		return &r.winReason
	case "winlog.event_data.Status", "winlog.logon.failure.status":
		return &r.winStatus
	case "winlog.event_data.SubStatus", "winlog.logon.failure.sub_status":
		return &r.winSubStatus
	case "rule.id":
		return &r.ruleID
	case "rule.name":
		return &r.ruleName
	}
	return nil
}

func (p *endpoint) text(path string) *string {
	switch path {
	case "ip":
		return &p.ip
	case "address":
		return &p.address
	case "as.number":
		return &p.asn
	case "as.organization.name":
		return &p.org
	case "geo.city_name":
		return &p.city
	case "geo.country_iso_code":
		return &p.country
	case "geo.region_name":
		return &p.region
	case "geo.region_iso_code":
		return &p.regionCode
	case "geo.location.lat":
		return &p.lat
	case "geo.location.lon":
		return &p.lon
	}
	return nil
}

// maxList bounds the values of a field that are kept.
const maxList = 16

func readList(l *jlexer.Lexer, to *[]string) {
	each(l, func(l *jlexer.Lexer) {
		text := strings.ToLower(foreign.Text(l))
		if text != "" && len(*to) < maxList && !slices.Contains(*to, text) {
			*to = append(*to, text)
		}
	})
}

// point reads coordinates in any of the forms that Elasticsearch takes: {lat, lon}, "lat,lon", [lon, lat],
// "POINT (lon lat)" and GeoJSON.
func (p *endpoint) point(l *jlexer.Lexer) {
	var pair []string
	number := func(l *jlexer.Lexer) {
		if text := foreign.Text(l); len(pair) <= 2 { // two are coordinates, three are none
			pair = append(pair, text)
		}
	}
	each(l, func(l *jlexer.Lexer) {
		switch {
		case l.CurrentToken() == jlexer.TokenNumber:
			number(l)
		case l.CurrentToken() == jlexer.TokenString:
			p.written(foreign.Text(l))
		default:
			foreign.Object(l, func(l *jlexer.Lexer, key string) {
				switch key {
				case "lat":
					readText(l, &p.lat)
				case "lon":
					readText(l, &p.lon)
				case "coordinates":
					each(l, number)
				default:
					l.SkipRecursive()
				}
			})
		}
	})
	if len(pair) == 2 {
		p.lon, p.lat = pair[0], pair[1]
	}
}

func (p *endpoint) written(text string) {
	if lat, lon, ok := strings.Cut(text, ","); ok {
		p.lat, p.lon = strings.TrimSpace(lat), strings.TrimSpace(lon)
		return
	}
	if rest, ok := strings.CutPrefix(strings.ToUpper(text), "POINT"); ok {
		if lonLat := strings.Fields(strings.Trim(rest, " ()")); len(lonLat) == 2 {
			p.lon, p.lat = lonLat[0], lonLat[1]
		}
	}
}
