package export

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// object is an object of OCSF. What is empty is left out.
type object map[string]any

// ocsfVersion is the version of the schema that the events are of.
const ocsfVersion = "1.5.0"

// The classes.
const (
	accountChange      = 3001
	authentication     = 3002
	detectionFinding   = 2004
	apiActivity        = 6003
	remediation        = 7001
	activityOther      = 99
	statusSuccess      = 1
	statusFailure      = 2
	statusOther        = 99
	findingNew         = 1
	findingSuppressed  = 3
	severityOther      = 99
	remediationPending = 0
)

// base is what every class has. extra goes into the metadata.
func base(class, activity int, at events.Millis, severity int, uid, tenant string, extra object) object {
	metadata := object{"version": ocsfVersion, "uid": uid, "product": object{"name": "countersign", "vendor_name": "countersign"}}.with("tenant_uid", tenant)
	for k, v := range extra {
		metadata.with(k, v)
	}
	return object{
		"class_uid": class, "category_uid": class / 1000, "activity_id": activity, "type_uid": class*100 + activity, "severity_id": severity,
		"time": int64(at), "metadata": metadata,
	}
}

// with sets an attribute that is known.
func (o object) with(name string, value any) object {
	switch v := value.(type) {
	case string:
		if v == "" {
			return o
		}
	case object:
		if len(v) == 0 {
			return o
		}
	case []string:
		if len(v) == 0 {
			return o
		}
	case []object:
		if len(v) == 0 {
			return o
		}
	case float64:
		if v == 0 {
			return o
		}
	case uint32:
		if v == 0 {
			return o
		}
	case int64:
		if v == 0 {
			return o
		}
	case events.Tri:
		if v == events.Unknown {
			return o
		}
		value = v == events.Yes
	}
	o[name] = value
	return o
}

// severityID is a severity by its number in OCSF.
func severityID(s events.Severity) int {
	if rank := s.Rank(); rank > 0 {
		return rank // informational is 1, critical 5
	}
	return severityOther
}

func user(u *events.User) object {
	kind := 1
	if u.Type == events.Workload {
		kind = 4 // a service
	}
	o := object{"type_id": kind}.with("uid", u.ID).with("name", u.Name)
	if u.Privileged == events.Yes {
		o["type_id"] = 2 // an admin
	}
	var groups []object
	for _, g := range u.Groups {
		groups = append(groups, object{"name": g})
	}
	return o.with("groups", groups)
}

// endpoint is where an address is; nil without one.
func endpoint(ip string, n *events.Network, p *events.Place) object {
	if ip == "" {
		return nil
	}
	place := object{}.with("city", p.City).with("region", p.Region).with("country", p.Country)
	if p.Located() {
		place["lat"], place["long"] = p.Lat, p.Lon
	}
	return object{"ip": ip}.
		with("autonomous_system", object{}.with("number", n.ASN).with("name", n.Org)).
		with("location", place)
}

func device(d *events.Device) object {
	if !d.IsDefined() {
		return nil
	}
	kind := map[string]int{"desktop": 2, "mobile": 5, "tablet": 4}[d.Type]
	if kind == 0 && d.Type != "" {
		kind = 99
	}
	o := object{"type_id": kind}.with("uid", d.ID).with("name", d.Name).with("is_managed", d.Managed).with("is_compliant", d.Compliant)
	if kind == 99 {
		o["type"] = d.Type
	}
	if d.OS != "" {
		o["os"] = object{"name": d.OS, "type_id": 0}
	}
	return o
}

func ref(r events.Ref) object { return object{}.with("uid", r.ID).with("name", r.Name) }

// eventOCSF is class 3002 Authentication for sign-ins, sign-outs and the use of sessions, class 3001 Account Change for changes,
// and class 2004 Detection Finding for what a provider thinks.
func eventOCSF(e *events.Event) object {
	extra := object{}.with("log_provider", e.Source.Name).with("correlation_uid", e.Correlation).with("processed_time", int64(e.Ingested)).
		with("event_code", e.Source.Category)
	var o object
	switch e.Kind {
	case events.AccountChange:
		activity := changeActivity(&e.Change)
		o = base(accountChange, activity, e.Time, 1, e.ID, e.Tenant, extra)
		if activity == activityOther {
			o["activity_name"] = strings.TrimSpace(string(e.Change.Type) + " " + string(e.Change.Action))
		}
		o.with("actor", object{}.with("user", ref(e.Change.Actor)))
		o.with("message", cmp.Or(e.Change.Target.Name, e.Change.Target.ID))
	case events.RiskReport:
		return riskOCSF(e, extra)
	default:
		activity, name := 1, "Logon"
		switch e.Kind { //nolint:exhaustive // the rest is sign-ins
		case events.SignOut:
			activity, name = 2, "Logoff"
		case events.SessionUse:
			activity, name = activityOther, "Session Use"
		}
		o = base(authentication, activity, e.Time, 1, e.ID, e.Tenant, extra)
		o["activity_name"] = name
		// The class needs a service or a destination.
		service := ref(e.App)
		if len(service) == 0 {
			service = object{"name": cmp.Or(e.Source.Name, "unknown")}
		}
		o["service"] = service
		o.with("dst_endpoint", object{}.with("svc_name", e.Resource.Name).with("uid", e.Resource.ID))
		o.with("session", object{}.with("uid", e.Session.ID))
		if e.Auth.MFA == events.MFAPerformed || e.Auth.MFA == events.MFAByClaim {
			o["is_mfa"] = true
		}
		if e.Auth.Protocol != "" {
			o["auth_protocol_id"], o["auth_protocol"] = 99, e.Auth.Protocol
		}
		if e.Kind == events.SignIn && e.Interactive == events.Yes {
			o["logon_type_id"] = 2
		}
	}
	o["user"] = user(&e.User)
	status(o, e)
	return o.with("src_endpoint", endpoint(e.IP, &e.Network, &e.Place)).with("device", device(&e.Device)).
		with("http_request", object{}.with("user_agent", e.UserAgent))
}

// status sets what became of the attempt.
func status(o object, e *events.Event) {
	switch e.Outcome {
	case events.Success:
		o["status_id"] = statusSuccess
	case events.Failure, events.Blocked:
		o["status_id"] = statusFailure
	case events.Interrupt, events.Challenge:
		o["status_id"], o["status"] = statusOther, string(e.Outcome)
	default:
		o["status_id"] = 0
	}
	o.with("status_code", e.Code).with("status_detail", e.Reason)
}

// changeActivity is the activity of class 3001.
func changeActivity(c *events.Change) int {
	switch c.Type { //nolint:exhaustive // the rest has no activity of its own
	case events.CredentialChange:
		if c.Action == events.Reset {
			return 4
		}
		return 3
	case events.MethodChange:
		switch c.Action { //nolint:exhaustive // as above
		case events.Added, events.Enabled:
			return 10
		case events.Removed, events.Disabled:
			return 11
		}
	case events.LifecycleChange:
		switch c.Action { //nolint:exhaustive // as above
		case events.Added:
			return 1
		case events.Enabled:
			return 2
		case events.Disabled:
			return 5
		case events.Removed:
			return 6
		case events.Locked:
			return 9
		}
	}
	return activityOther
}

// riskOCSF is a provider's opinion as a finding of that provider.
func riskOCSF(e *events.Event, extra object) object {
	severity := map[events.RiskLevel]int{events.RiskNone: 1, events.RiskLow: 2, events.RiskMedium: 3, events.RiskHigh: 4}[cmp.Or(e.Risk.Level, e.Risk.User)]
	o := base(detectionFinding, 1, e.Time, severity, e.ID, e.Tenant, extra)
	o["finding_info"] = object{"uid": e.ID, "title": "Risk reported by " + cmp.Or(e.Source.Name, "a provider")}.with("types", e.Risk.Detections).with("desc", e.Risk.Detail)
	o["evidences"] = []object{object{"user": user(&e.User)}.with("src_endpoint", endpoint(e.IP, &e.Network, &e.Place))}
	return o.with("status_detail", string(e.Risk.State))
}

// findingOCSF is class 2004 Detection Finding.
func findingOCSF(f *events.Finding) object {
	o := base(detectionFinding, 1, f.Time, severityID(f.Severity), f.ID, f.Tenant, object{}.with("correlation_uid", f.EventID).with("processed_time", int64(f.Ingested)))
	info := object{
		"uid": f.ID, "title": cmp.Or(f.Title, f.Detection), "created_time": int64(f.Time), "types": []string{f.Detection},
		"analytic": object{"uid": f.Detection, "name": f.Title, "type_id": 1, "version": strconv.Itoa(f.Version)},
	}.with("desc", f.Summary)
	if f.Technique != "" {
		info["attacks"] = []object{{"technique": object{"uid": f.Technique}}}
	}
	related := []object{{"uid": f.EventID}}
	for _, id := range f.Anchors {
		related = append(related, object{"uid": id})
	}
	info["related_events"] = related
	o["finding_info"] = info
	s := &f.Evidence.Sight
	o["evidences"] = []object{object{"user": user(&f.User), "actor": object{"user": user(&f.User)}.with("session", object{}.with("uid", s.Session))}.
		with("src_endpoint", endpoint(s.IP, &s.Network, &s.Place)).with("device", device(&s.Device))}
	o.with("resources", resources(s.App, s.Resource))
	o["is_alert"], o["status_id"] = f.Disposition == events.Active, findingNew
	switch f.Disposition { //nolint:exhaustive // an active one is new
	case events.Suppressed:
		o["status_id"] = findingSuppressed
	case events.Learning, events.Observed:
		o["status_id"], o["status"] = statusOther, string(f.Disposition)
	}
	o["message"] = f.Summary
	if d := f.Decision; d != nil {
		o.with("status_detail", d.Reason)
		o["unmapped"] = object{"policy": d.Policy, "policy_version": d.Version, "action": string(d.Action), "observed": d.Observed}.with("requirement", d.Requirement)
	}
	return o
}

func resources(refs ...events.Ref) []object {
	var list []object
	for _, r := range refs {
		if r.IsDefined() {
			list = append(list, ref(r))
		}
	}
	return list
}

// requirementOCSF is class 7001 Remediation Activity: the end of a session evicts, a demand for a proof hardens.
func requirementOCSF(r *report.Requirement) object {
	activity := 4
	if r.Action == events.RevokeSession || r.Action == events.RevokeAll {
		activity = 2
	}
	o := base(remediation, activity, r.NotBefore, severityID(r.Severity), r.JTI, r.Tenant, object{}.with("correlation_uid", r.EventID))
	o["command_uid"] = r.ID
	o["remediation"] = object{"desc": cmp.Or(r.Reason, string(r.Action))}
	switch r.Status {
	case report.Satisfied:
		o["status_id"] = statusSuccess
	case report.Expired:
		o["status_id"] = statusFailure
	case report.Open:
		o["status_id"], o["status"] = remediationPending, string(r.Status)
	}
	o["message"] = r.Reason
	o["unmapped"] = object{
		"action": string(r.Action), "policy": r.Policy, "policy_version": r.PolicyVersion, "user": r.User, "expires": int64(r.Expires),
	}.with("session", r.Session).with("acr_values", r.ACRValues).with("satisfied_by", r.SatisfiedBy).with("closed", int64(r.Closed))
	return o
}

// auditOCSF is class 6003 API Activity.
func auditOCSF(e *events.AuditEntry) object {
	o := base(apiActivity, auditActivity(e.Action), e.Time, 1, e.ID, e.Tenant, nil)
	if o["activity_id"] == activityOther {
		o["activity_name"] = e.Action
	}
	o["actor"] = object{"user": object{"type_id": 1, "name": cmp.Or(e.Actor, "unknown")}}
	o["api"] = object{"operation": e.Action, "request": object{"uid": e.Request}, "service": object{"name": "countersign"}}
	if e.Address != "" {
		o["src_endpoint"] = object{"ip": e.Address}
	} else {
		o["src_endpoint"] = object{"name": "unknown"}
	}
	switch e.Outcome {
	case events.AuditDone:
		o["status_id"] = statusSuccess
	case events.AuditRefused, events.AuditFailed:
		o["status_id"], o["status_detail"] = statusFailure, string(e.Outcome)
	}
	var about []object
	for _, r := range []object{object{}.with("name", e.Target), object{}.with("uid", e.User)} {
		if len(r) > 0 {
			about = append(about, r)
		}
	}
	return o.with("resources", about).with("message", e.Detail)
}

// auditActivity is the activity of class 6003: what an action does, by its last word.
func auditActivity(action string) int {
	switch action[strings.LastIndexByte(action, '.')+1:] {
	case "create", "start":
		return 1
	case "read", "timeline", "list", "export", "explanation", "details":
		return 2
	case "triage", "update", "pause", "enable", "disable":
		return 3
	case "erase", "delete", "revoke", "cancel":
		return 4
	}
	return activityOther
}
