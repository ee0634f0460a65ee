package entra

import (
	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// The two forms name the same things by different keys and cases, and one key means different things in them
// (location, tenantId), so each has a reader of its own. Keys are compared exactly.

// readDiagnostic reads a diagnostic record: an outer object of Azure Monitor, and the sign-in in its properties.
func readDiagnostic(l *jlexer.Lexer, r *signIn) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "records":
			r.records(l)
		case "time":
			r.emitted = foreign.Text(l)
		case "category":
			r.category = foreign.Text(l)
		case "tenantId":
			r.tenant = foreign.Text(l)
		case "resourceId":
			r.resource = foreign.Text(l)
		case "resultType":
			r.resultType = foreign.Text(l)
		case "resultDescription":
			r.resultDetail = foreign.Text(l)
		case "callerIpAddress":
			r.callerIP = foreign.Text(l)
		case "location":
			r.country = foreign.Text(l)
		case "properties":
			readProperties(l, r)
		default:
			l.SkipRecursive()
		}
	})
}

// records hands the records of an envelope over.
func (r *signIn) records(l *jlexer.Lexer) {
	if r.envelope == nil || l.CurrentToken() != jlexer.TokenDelim || !l.IsDelim('[') {
		l.SkipRecursive() // an envelope inside an envelope, or none
		return
	}
	r.enveloped = true
	r.envelope(l)
	r.lost = r.lost || !l.Ok()
}

// readProperties reads the sign-in as Graph's beta endpoint shapes it.
func readProperties(l *jlexer.Lexer, r *signIn) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "id":
			r.id = foreign.Text(l)
		case "createdDateTime":
			r.created = foreign.Text(l)
		case "userId":
			r.userID = foreign.Text(l)
		case "userPrincipalName":
			r.upn = foreign.Text(l)
		case "userDisplayName":
			r.displayName = foreign.Text(l)
		case "servicePrincipalId":
			r.servicePrincipal = foreign.Text(l)
		case "appId":
			r.appID = foreign.Text(l)
		case "appDisplayName":
			r.appName = foreign.Text(l)
		case "clientAppUsed":
			r.clientApp = foreign.Text(l)
		case "resourceId":
			r.resourceID = foreign.Text(l)
		case "resourceDisplayName":
			r.resourceName = foreign.Text(l)
		case "sessionId":
			r.session = foreign.Text(l)
		case "uniqueTokenIdentifier":
			r.token = foreign.Text(l)
		case "ipAddress":
			r.ip = foreign.Text(l)
		case "autonomousSystemNumber":
			r.asn, _ = foreign.Unsigned(l)
		case "location":
			readPlace(l, &r.place)
		case "deviceDetail":
			readDevice(l, &r.device)
		case "userAgent":
			r.userAgent = foreign.Text(l)
		case "authenticationDetails":
			r.steps = readSteps(l)
		case "authenticationProtocol":
			r.protocol = foreign.Text(l)
		case "originalTransferMethod":
			r.transfer = foreign.Text(l)
		case "authenticationRequirement":
			r.requirement = foreign.Text(l)
		case "authenticationContextClassReferences":
			r.contextClass = readContextClass(l)
		case "status":
			readStatus(l, r)
		case "isInteractive":
			r.interactive = foreign.Flag(l)
		default:
			l.SkipRecursive()
		}
	})
}

// readRow reads a row of Log Analytics. TenantId there is the workspace.
func readRow(l *jlexer.Lexer, r *signIn) {
	var category, table string
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "records":
			r.records(l)
		case "Category":
			category = foreign.Text(l)
		case "Type":
			table = foreign.Text(l)
		case "TimeGenerated":
			r.emitted = foreign.Text(l)
		case "CreatedDateTime":
			r.created = foreign.Text(l)
		case "AADTenantId":
			r.tenant = foreign.Text(l)
		case "ResourceId":
			r.resource = foreign.Text(l)
		case "Id":
			r.id = foreign.Text(l)
		case "UserId":
			r.userID = foreign.Text(l)
		case "UserPrincipalName":
			r.upn = foreign.Text(l)
		case "UserDisplayName":
			r.displayName = foreign.Text(l)
		case "ServicePrincipalId":
			r.servicePrincipal = foreign.Text(l)
		case "AppId":
			r.appID = foreign.Text(l)
		case "AppDisplayName":
			r.appName = foreign.Text(l)
		case "ClientAppUsed":
			r.clientApp = foreign.Text(l)
		case "ResourceIdentity":
			r.resourceID = foreign.Text(l)
		case "ResourceDisplayName":
			r.resourceName = foreign.Text(l)
		case "SessionId":
			r.session = foreign.Text(l)
		case "UniqueTokenIdentifier":
			r.token = foreign.Text(l)
		case "IPAddress":
			r.ip = foreign.Text(l)
		case "AutonomousSystemNumber":
			r.asn, _ = foreign.Unsigned(l)
		case "Location":
			r.country = foreign.Text(l)
		case "LocationDetails":
			readPlace(l, &r.place)
		case "DeviceDetail":
			readDevice(l, &r.device)
		case "UserAgent":
			r.userAgent = foreign.Text(l)
		case "AuthenticationDetails":
			r.steps = readSteps(l)
		case "AuthenticationProtocol":
			r.protocol = foreign.Text(l)
		case "OriginalTransferMethod":
			r.transfer = foreign.Text(l)
		case "AuthenticationRequirement":
			r.requirement = foreign.Text(l)
		case "AuthenticationContextClassReferences":
			r.contextClass = readContextClass(l)
		case "Status":
			readStatus(l, r)
		case "ResultType":
			r.resultType = foreign.Text(l)
		case "ResultDescription":
			r.resultDetail = foreign.Text(l)
		case "IsInteractive":
			r.interactive = foreign.Flag(l)
		default:
			l.SkipRecursive()
		}
	})
	if r.category = category; category == "" {
		r.category = table
	}
}

func readPlace(l *jlexer.Lexer, p *place) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "city":
			p.city = foreign.Text(l)
		case "state":
			p.state = foreign.Text(l)
		case "countryOrRegion":
			p.country = foreign.Text(l)
		case "geoCoordinates":
			foreign.Object(l, func(l *jlexer.Lexer, key string) {
				switch key {
				case "latitude":
					p.lat, _ = foreign.Number(l)
				case "longitude":
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

func readDevice(l *jlexer.Lexer, d *device) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "deviceId":
			d.id = foreign.Text(l)
		case "displayName":
			d.name = foreign.Text(l)
		case "operatingSystem":
			d.os = foreign.Text(l)
		case "browser":
			d.browser = foreign.Text(l)
		case "isManaged":
			d.managed = foreign.Flag(l)
		case "isCompliant":
			d.compliant = foreign.Flag(l)
		default:
			l.SkipRecursive()
		}
	})
}

func readStatus(l *jlexer.Lexer, r *signIn) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "errorCode":
			r.errorCode = foreign.Text(l)
		case "failureReason":
			r.failureReason = foreign.Text(l)
		case "additionalDetails":
			r.details = foreign.Text(l)
		default:
			l.SkipRecursive()
		}
	})
}

// step is one entry of authenticationDetails.
type step struct {
	method      string
	succeeded   events.Tri
	requirement string
	detail      string
}

// maxSteps bounds the steps that are kept; a sign-in has two or three.
const maxSteps = 32

func readSteps(l *jlexer.Lexer) []step {
	var steps []step
	foreign.Array(l, func(l *jlexer.Lexer) {
		var s step
		foreign.Object(l, func(l *jlexer.Lexer, key string) {
			switch key {
			case "authenticationMethod":
				s.method = foreign.Text(l)
			case "succeeded":
				s.succeeded = foreign.Flag(l)
			case "authenticationStepRequirement":
				s.requirement = foreign.Text(l)
			case "authenticationStepResultDetail":
				s.detail = foreign.Text(l)
			default:
				l.SkipRecursive()
			}
		})
		if len(steps) < maxSteps {
			steps = append(steps, s)
		}
	})
	return steps
}

// readContextClass reads the first authentication context that was asked for or met.
func readContextClass(l *jlexer.Lexer) string {
	var first string
	foreign.Array(l, func(l *jlexer.Lexer) {
		var id, detail string
		foreign.Object(l, func(l *jlexer.Lexer, key string) {
			switch key {
			case "id":
				id = foreign.Text(l)
			case "detail":
				detail = foreign.Text(l)
			default:
				l.SkipRecursive()
			}
		})
		if first == "" && detail != "notApplicable" {
			first = id
		}
	})
	return first
}
