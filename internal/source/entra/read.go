package entra

import "github.com/countersign-io/countersign/internal/events"

// record is a record as it came, of whatever kind and form; what it did not say is "" or 0. Kinds share members, and their
// order is free, so that all of them are read before the kind is known. Byte slices are valid as long as the record's data.
type record struct {
	// What is around the record proper: the diagnostic record of Azure Monitor, or the columns of its table.
	category, table          string
	operation                string
	emitted                  []byte
	tenant, innerTenant      string
	resource                 []byte // a path with the tenant in it
	resultType, resultDetail string
	callerIP                 []byte
	country                  string // of two letters, beside the place
	outerCorrelation         []byte

	id, created, activity  []byte
	correlation            string
	user, upn, displayName string
	userAsked              bool   // the record has a member for the user, whatever is in it
	program, programName   string // a service principal
	programType            string
	homeTenant, userType   string
	appID, appName         string
	clientApp              string
	resourceID             string
	resourceName           string
	session, token         string
	tokenType              string
	bound                  events.Tri
	ip                     []byte
	asn                    uint32
	place                  place
	device                 device
	userAgent              string
	steps                  []step
	protocol, transfer     string
	requirement            string
	contextClass           string
	credential             string
	errorCode              string
	failureReason, details string
	interactive            events.Tri
	eventType              string // of signInEventTypes, which only Graph has

	accessStatus []byte
	policies     []events.AccessPolicy
	locations    []string

	risk  risk
	audit audit
}

type place struct {
	city, state, country string
	lat, lon             float64
}

type device struct {
	id, name, os, browser string
	managed, compliant    events.Tri
}

// risk is what Identity Protection says, of a sign-in or on its own.
type risk struct {
	levelDuringSignIn, levelAggregated, level []byte
	state                                     []byte
	detail                                    string
	detections, olderDetections               []string
	detection                                 string
	request                                   string
	detected, updated, userUpdated            []byte
}

// readDiagnostic reads a diagnostic record: an outer object of Azure Monitor, and the record proper in its properties.
func readDiagnostic(w *decoding) {
	r := &w.record
	for o := w.cursor.object(); o.member(); {
		switch string(o.key) {
		case "records":
			w.envelope()
		case "time":
			r.emitted = o.scalar()
		case "category":
			r.category = o.word()
		case "operationName":
			r.operation = o.word()
		case "tenantId":
			r.tenant = o.word()
		case "resourceId":
			r.resource = o.scalar()
		case "resultType":
			r.resultType = o.word()
		case "resultDescription":
			r.resultDetail = o.word()
		case "callerIpAddress":
			r.callerIP = o.scalar()
		case "correlationId":
			r.outerCorrelation = o.scalar()
		case "location":
			r.country = o.word()
		case "properties":
			for p := o.object(); p.member(); {
				p.property(r, p.key)
			}
		default:
			o.skip()
		}
	}
}

// readGraph reads a record of Graph, which is nothing but what a diagnostic record has in its properties.
func readGraph(w *decoding) {
	r := &w.record
	for o := w.cursor.object(); o.member(); {
		if string(o.key) == "value" {
			w.envelope()
		} else {
			o.property(r, o.key)
		}
	}
}

// readRow reads a row of Log Analytics. Most columns are named like the properties, with a capital. TenantId is the
// workspace. Keys in other cases are other columns.
func readRow(w *decoding) {
	r := &w.record
	var key [48]byte
	for o := w.cursor.object(); o.member(); {
		switch string(o.key) {
		case "records":
			w.envelope()
		case "Category":
			r.category = o.word()
		case "Type":
			r.table = o.word()
		case "OperationName":
			r.operation = o.word()
		case "TimeGenerated":
			r.emitted = o.scalar()
		case "TenantId":
			o.skip()
		case "AADTenantId":
			r.tenant = o.word()
		case "ResourceId":
			r.resource = o.scalar()
		case "ResourceIdentity":
			r.resourceID = o.word()
		case "IPAddress":
			r.ip = o.scalar()
		case "Location":
			o.location(r)
		case "LocationDetails":
			o.place(&r.place)
		case "ResultType":
			r.resultType = o.word()
		case "ResultDescription":
			r.resultDetail = o.word()
		case "ConditionalAccessPolicies":
			r.policies = o.policies()
		case "RiskEventTypes_V2":
			r.risk.detections = o.list()
		default:
			if len(o.key) == 0 || len(o.key) > len(key) || o.key[0] < 'A' || o.key[0] > 'Z' {
				o.skip()
				continue
			}
			n := copy(key[:], o.key)
			key[0] |= 0x20
			o.property(r, key[:n])
		}
	}
}

// property reads a member of the record proper, as Graph names them.
func (c *cursor) property(r *record, key []byte) {
	switch string(key) {
	case "id":
		r.id = known(c.scalar())
	case "createdDateTime":
		r.created = c.scalar()
	case "activityDateTime":
		r.activity = c.scalar()
	case "correlationId":
		r.correlation = c.text()
	case "tenantId":
		r.innerTenant = c.word()
	case "userId":
		r.user, r.userAsked = c.text(), true
	case "userPrincipalName":
		r.upn = c.text()
	case "userDisplayName", "displayName":
		r.displayName = c.word()
	case "servicePrincipalId":
		r.program = c.text()
	case "servicePrincipalName", "servicePrincipalDisplayName":
		r.programName = c.word()
	case "servicePrincipalType":
		r.programType = c.word()
	case "homeTenantId":
		r.homeTenant = c.word()
	case "userType":
		r.userType = c.word()
	case "appId":
		r.appID = c.word()
	case "appDisplayName":
		r.appName = c.word()
	case "clientAppUsed":
		r.clientApp = c.word()
	case "resourceId":
		r.resourceID = c.word()
	case "resourceDisplayName":
		r.resourceName = c.word()
	case "sessionId":
		r.session = c.text()
	case "uniqueTokenIdentifier":
		r.token = c.text()
	case "incomingTokenType":
		r.tokenType = c.word()
	case "tokenProtectionStatusDetails":
		c.protection(r)
	case "signInTokenProtectionStatus":
		r.protected(c.scalar())
	case "ipAddress":
		r.ip = c.scalar()
	case "autonomousSystemNumber":
		r.asn = c.unsigned()
	case "location":
		c.location(r)
	case "deviceDetail":
		c.device(&r.device)
	case "userAgent":
		r.userAgent = c.word()
	case "isInteractive":
		r.interactive = c.flag()
	case "signInEventTypes":
		if types := c.list(); len(types) > 0 {
			r.eventType = types[0]
		}
	default:
		if !c.proof(r, key) && !c.opinion(r, key) && !c.change(r, key) {
			c.skip()
		}
	}
}

// proof reads how identity was proved, and what the policies said.
func (c *cursor) proof(r *record, key []byte) bool {
	switch string(key) {
	case "status":
		c.status(r)
	case "authenticationDetails":
		r.steps = c.steps(r.steps[:0])
	case "authenticationProtocol":
		r.protocol = c.word()
	case "originalTransferMethod":
		r.transfer = c.word()
	case "authenticationRequirement":
		r.requirement = c.word()
	case "authenticationContextClassReferences":
		r.contextClass = c.contextClass()
	case "clientCredentialType":
		r.credential = c.word()
	case "conditionalAccessStatus":
		r.accessStatus = c.scalar()
	case "appliedConditionalAccessPolicies":
		r.policies = c.policies()
	case "networkLocationDetails":
		r.locations = c.locations()
	default:
		return false
	}
	return true
}

// opinion reads what Identity Protection says.
func (c *cursor) opinion(r *record, key []byte) bool {
	switch string(key) {
	case "riskLevelDuringSignIn":
		r.risk.levelDuringSignIn = c.scalar()
	case "riskLevelAggregated":
		r.risk.levelAggregated = c.scalar()
	case "riskLevel":
		r.risk.level = c.scalar()
	case "riskState":
		r.risk.state = c.scalar()
	case "riskDetail":
		r.risk.detail = c.word()
	case "riskEventTypes_v2":
		r.risk.detections = c.list()
	case "riskEventTypes":
		r.risk.olderDetections = c.list()
	case "riskEventType":
		r.risk.detection = c.word()
	case "requestId":
		r.risk.request = c.text()
	case "detectedDateTime":
		r.risk.detected = c.scalar()
	case "lastUpdatedDateTime":
		r.risk.updated = c.scalar()
	case "riskLastUpdatedDateTime":
		r.risk.userUpdated = c.scalar()
	case "additionalInfo":
		c.info(r)
	default:
		return false
	}
	return true
}

// location reads a place, or the two letters of a country where older columns have only those.
func (c *cursor) location(r *record) {
	if c.next() != '"' {
		c.place(&r.place)
		return
	}
	begin := c.pos
	if text := c.scalar(); len(text) == 2 && text[0] != '{' {
		r.country = c.words.word(text)
	} else if c.problem == "" {
		c.pos = begin
		c.place(&r.place)
	}
}

func (c *cursor) place(p *place) {
	for o := c.object(); o.member(); {
		switch string(o.key) {
		case "city":
			p.city = o.word()
		case "state":
			p.state = o.word()
		case "countryOrRegion":
			p.country = o.word()
		case "geoCoordinates":
			for g := o.object(); g.member(); {
				switch string(g.key) {
				case "latitude":
					p.lat = g.number()
				case "longitude":
					p.lon = g.number()
				default:
					g.skip()
				}
			}
		default:
			o.skip()
		}
	}
}

func (c *cursor) device(d *device) {
	for o := c.object(); o.member(); {
		switch string(o.key) {
		case "deviceId":
			d.id = o.text()
		case "displayName":
			d.name = o.text()
		case "operatingSystem":
			d.os = o.word()
		case "browser":
			d.browser = o.word()
		case "isManaged":
			d.managed = o.flag()
		case "isCompliant":
			d.compliant = o.flag()
		default:
			o.skip()
		}
	}
}

func (c *cursor) status(r *record) {
	for o := c.object(); o.member(); {
		switch string(o.key) {
		case "errorCode":
			r.errorCode = o.word()
		case "failureReason":
			r.failureReason = o.word()
		case "additionalDetails":
			r.details = o.word()
		default:
			o.skip()
		}
	}
}

func (c *cursor) protection(r *record) {
	for o := c.object(); o.member(); {
		if string(o.key) == "signInSessionStatus" {
			r.protected(o.scalar())
		} else {
			o.skip()
		}
	}
}

// protected takes a status of token protection; one that says nothing does not take back what another said.
func (r *record) protected(status []byte) {
	switch {
	case fold(status, "bound"):
		r.bound = events.Yes
	case fold(status, "unbound"):
		r.bound = events.No
	}
}

// step is one entry of authenticationDetails.
type step struct {
	method      string
	succeeded   events.Tri
	requirement string
	detail      string
}

// maxElements bounds lists of a record: steps, policies, targets. Sign-ins have two or three steps, and some have sixty
// policies.
const maxElements = events.MaxElements

func (c *cursor) steps(steps []step) []step {
	for a := c.array(); a.element(); {
		var s step
		for o := a.object(); o.member(); {
			switch string(o.key) {
			case "authenticationMethod":
				s.method = o.word()
			case "succeeded":
				s.succeeded = o.flag()
			case "authenticationStepRequirement":
				s.requirement = o.word()
			case "authenticationStepResultDetail":
				s.detail = o.word()
			default:
				o.skip()
			}
		}
		if len(steps) < maxElements {
			steps = append(steps, s)
		}
	}
	return steps
}

// contextClass reads the first authentication context that was asked for or met.
func (c *cursor) contextClass() string {
	var first string
	for a := c.array(); a.element(); {
		var id string
		applies := true
		for o := a.object(); o.member(); {
			switch string(o.key) {
			case "id":
				id = o.word()
			case "detail":
				applies = !fold(o.scalar(), "notapplicable")
			default:
				o.skip()
			}
		}
		if first == "" && applies {
			first = id
		}
	}
	return first
}

// list reads the texts of an array. It is the event's own, who may change it.
func (c *cursor) list() []string { return c.gather(nil) }

func (c *cursor) gather(out []string) []string {
	for a := c.array(); a.element(); {
		if text := a.word(); text != "" && len(out) < maxElements {
			out = append(out, text)
		}
	}
	return out
}

// info reads the user agent out of what is known of a risk: a list of keys and values, written as text.
func (c *cursor) info(r *record) {
	for a := c.array(); a.element(); {
		var name, value []byte
		for o := a.object(); o.member(); {
			switch string(o.key) {
			case "Key", "key":
				name = o.scalar()
			case "Value", "value":
				value = o.scalar()
			default:
				o.skip()
			}
		}
		if fold(name, "useragent") || fold(name, "user-agent") {
			r.userAgent = c.words.word(known(value))
		}
	}
}
