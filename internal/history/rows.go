package history

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// Events is a block of rows for the table of events.
type Events struct {
	Block
	tenant, userID, id, kind, userName, source, family, category, outcome, code *values[string]
	appID, appName, resourceID, resourceName, sessionID, prefix, org, classes   *values[string]
	city, region, country, providerCountry, deviceID, os, browser, deviceType   *values[string]
	mfa, strength, methods, acr, raw, userType, access, risk, userRisk          *values[string]
	riskState, changeType, changeAction                                         *values[string]
	time, logged, ingested                                                      *values[int64]
	privileged, interactive, managed, compliant                                 *values[int8]
	asn                                                                         *values[uint32]
	ip                                                                          *values[netip.Addr]
	lat, lon                                                                    *values[float64]
	radius                                                                      *values[float32]
}

// NewEvents returns an empty block for events.
func NewEvents() *Events {
	b := &builder{layout: &layout{}}
	e := &Events{
		tenant: b.text("tenant"), userID: b.text("user_id"), time: b.moment("time"), id: b.hash("id"),
		logged: b.moment("logged"), ingested: b.moment("ingested"), kind: b.text("kind"), userName: b.text("user_name"),
		privileged: b.tri("privileged"), source: b.text("source"), family: b.text("family"), category: b.text("category"),
		outcome: b.text("outcome"), code: b.text("code"), interactive: b.tri("interactive"), appID: b.text("app_id"),
		appName: b.text("app_name"), resourceID: b.text("resource_id"), resourceName: b.text("resource_name"),
		sessionID: b.text("session_id"), ip: declare[netip.Addr](b, "ip", "IPv6"), prefix: b.text("prefix"), asn: b.number("asn"),
		org: b.text("org"), classes: b.text("classes"), lat: b.float("lat"), lon: b.float("lon"),
		radius: declare[float32](b, "radius_km", "Float32"), city: b.text("city"), region: b.text("region"),
		country: b.text("country"), providerCountry: b.text("provider_country"), deviceID: b.text("device_id"),
		managed: b.tri("managed"), compliant: b.tri("compliant"), os: b.text("os"), browser: b.text("browser"),
		deviceType: b.text("device_type"), mfa: b.text("mfa"), strength: b.text("strength"), methods: b.text("methods"),
		acr: b.text("acr"), raw: b.text("raw"), userType: b.text("user_type"), access: b.text("access"), risk: b.text("risk"),
		userRisk: b.text("user_risk"), riskState: b.text("risk_state"), changeType: b.text("change_type"),
		changeAction: b.text("change_action"),
	}
	e.Block = b.done(TableEvents)
	return e
}

// Append adds an event. raw is its record, which is copied; logged is when it entered the log. An error says why the
// history cannot hold it; then nothing was added.
func (b *Events) Append(e *events.Event, raw []byte, logged time.Time) error {
	id, err := hash("id", e.ID)
	if err != nil {
		return err
	}
	if err := moments("time", e.Time, "ingested", e.Ingested); err != nil {
		return err
	}
	ip, err := address(e.IP)
	if err != nil {
		return err
	}
	if !events.ValidTenant(e.Tenant) {
		return fmt.Errorf("tenant: is %.80q, which is no tenant", e.Tenant)
	}
	ingested := e.Ingested
	if ingested == 0 {
		ingested = events.MillisOf(logged)
	}
	b.tenant.add(e.Tenant)
	b.userID.add(e.User.ID)
	b.time.add(int64(e.Time))
	b.id.add(id)
	b.logged.add(logged.UnixMilli())
	b.ingested.add(int64(ingested))
	b.kind.add(string(e.Kind))
	b.userName.add(e.User.Name)
	b.privileged.add(int8(e.User.Privileged))
	b.source.add(e.Source.Name)
	b.family.add(e.Source.Family)
	b.category.add(e.Source.Category)
	b.outcome.add(string(e.Outcome))
	b.code.add(e.Code)
	b.interactive.add(int8(e.Interactive))
	b.appID.add(e.App.ID)
	b.appName.add(e.App.Name)
	b.resourceID.add(e.Resource.ID)
	b.resourceName.add(e.Resource.Name)
	b.sessionID.add(e.Session.ID)
	b.ip.add(ip)
	b.prefix.add(e.Network.Prefix)
	b.asn.add(e.Network.ASN)
	b.org.add(e.Network.Org)
	b.classes.add(joinClasses(e.Network.Classes))
	b.lat.add(e.Place.Lat)
	b.lon.add(e.Place.Lon)
	b.radius.add(float32(e.Place.RadiusKm))
	b.city.add(e.Place.City)
	b.region.add(e.Place.Region)
	b.country.add(e.Place.Country)
	b.providerCountry.add(e.ProviderPlace.Country)
	b.deviceID.add(e.Device.ID)
	b.managed.add(int8(e.Device.Managed))
	b.compliant.add(int8(e.Device.Compliant))
	b.os.add(e.Device.OS)
	b.browser.add(e.Device.Browser)
	b.deviceType.add(e.Device.Type)
	b.mfa.add(string(e.Auth.MFA))
	b.strength.add(string(e.Auth.Strength))
	b.methods.add(strings.Join(e.Auth.Methods, ","))
	b.acr.add(e.Auth.ACR)
	b.userType.add(string(e.User.Type))
	b.access.add(string(e.Access.Result))
	b.risk.add(string(e.Risk.Level))
	b.userRisk.add(string(e.Risk.User))
	b.riskState.add(string(e.Risk.State))
	b.changeType.add(string(e.Change.Type))
	b.changeAction.add(string(e.Change.Action))
	b.raw.add(string(raw))
	b.rows++
	return nil
}

// Findings is a block of rows for the table of findings.
type Findings struct {
	Block
	tenant, id, detection, severity, disposition, userID, userName, eventID, sessionID, country *values[string]
	technique, action, policy, policyVersion, requirement, raw, appID, prefix, city, region     *values[string]
	time, logged, ingested                                                                      *values[int64]
	version                                                                                     *values[uint32]
	lat, lon                                                                                    *values[float64]
	ip                                                                                          *values[netip.Addr]
	observed                                                                                    *values[uint8]
}

// NewFindings returns an empty block for findings.
func NewFindings() *Findings {
	b := &builder{layout: &layout{}}
	f := &Findings{
		tenant: b.text("tenant"), time: b.moment("time"), id: b.hash("id"), logged: b.moment("logged"),
		ingested: b.moment("ingested"), detection: b.text("detection"), version: b.number("version"),
		severity: b.text("severity"), disposition: b.text("disposition"), userID: b.text("user_id"),
		userName: b.text("user_name"), eventID: b.hash("event_id"), sessionID: b.text("session_id"),
		ip: declare[netip.Addr](b, "ip", "IPv6"), country: b.text("country"), technique: b.text("technique"),
		action: b.text("action"), observed: declare[uint8](b, "observed", "UInt8"), policy: b.text("policy"),
		policyVersion: b.text("policy_version"), requirement: b.text("requirement"), raw: b.text("raw"),
		appID: b.text("app_id"), prefix: b.text("prefix"), lat: b.float("lat"), lon: b.float("lon"), city: b.text("city"),
		region: b.text("region"),
	}
	f.Block = b.done(TableFindings)
	return f
}

// Append adds a finding; see [Events.Append].
func (b *Findings) Append(f *events.Finding, raw []byte, logged time.Time) error {
	id, err := hash("id", f.ID)
	if err != nil {
		return err
	}
	event, err := hash("event_id", f.EventID)
	if err != nil {
		return err
	}
	if err := moments("time", f.Time, "ingested", f.Ingested); err != nil {
		return err
	}
	ip, err := address(f.Evidence.Sight.IP)
	if err != nil {
		return err
	}
	if !events.ValidTenant(f.Tenant) {
		return fmt.Errorf("tenant: is %.80q, which is no tenant", f.Tenant)
	}
	if f.Version < 0 {
		return fmt.Errorf("version: is %d, must not be negative", f.Version)
	}
	decision := events.Decision{}
	if f.Decision != nil {
		decision = *f.Decision
	}
	var observed uint8
	if decision.Observed {
		observed = 1
	}
	b.tenant.add(f.Tenant)
	b.time.add(int64(f.Time))
	b.id.add(id)
	b.logged.add(logged.UnixMilli())
	b.ingested.add(int64(f.Ingested))
	b.detection.add(f.Detection)
	b.version.add(uint32(f.Version))
	b.severity.add(string(f.Severity))
	b.disposition.add(string(f.Disposition))
	b.userID.add(f.User.ID)
	b.userName.add(f.User.Name)
	b.eventID.add(event)
	b.sessionID.add(f.Evidence.Sight.Session)
	b.ip.add(ip)
	b.country.add(f.Evidence.Sight.Place.Country)
	b.technique.add(f.Technique)
	b.action.add(string(decision.Action))
	b.observed.add(observed)
	b.policy.add(decision.Policy)
	b.policyVersion.add(decision.Version)
	b.requirement.add(decision.Requirement)
	b.appID.add(f.Evidence.Sight.App.ID)
	b.prefix.add(f.Evidence.Sight.Network.Prefix)
	b.lat.add(f.Evidence.Sight.Place.Lat)
	b.lon.add(f.Evidence.Sight.Place.Lon)
	b.city.add(f.Evidence.Sight.Place.City)
	b.region.add(f.Evidence.Sight.Place.Region)
	b.raw.add(string(raw))
	b.rows++
	return nil
}

// Requirements is a block of rows for the table of revocations.
type Requirements struct {
	Block
	tenant, requirement, userID, sessionID, action, status, severity, scope, acrValues *values[string]
	policy, policyVersion, reason, eventID, satisfiedBy, jti, raw                      *values[string]
	version                                                                            *values[uint64]
	logged, notBefore, expires, closed                                                 *values[int64]
	maxAge                                                                             *values[uint32]
}

// NewRequirements returns an empty block for requirements.
func NewRequirements() *Requirements {
	b := &builder{layout: &layout{}}
	r := &Requirements{
		tenant: b.text("tenant"), requirement: b.text("requirement"), version: declare[uint64](b, "version", "UInt64"),
		logged: b.moment("logged"), userID: b.text("user_id"), sessionID: b.text("session_id"), action: b.text("action"),
		status: b.text("status"), notBefore: b.moment("not_before"), expires: b.moment("expires"), closed: b.moment("closed"),
		severity: b.text("severity"), scope: b.text("scope"), acrValues: b.text("acr_values"), maxAge: b.number("max_age"),
		policy: b.text("policy"), policyVersion: b.text("policy_version"), reason: b.text("reason"),
		eventID: b.text("event_id"), satisfiedBy: b.text("satisfied_by"), jti: b.text("jti"), raw: b.text("raw"),
	}
	r.Block = b.done(TableRevocations)
	return r
}

// Append adds a requirement with its newest status; Claims is its record. See [Events.Append].
func (b *Requirements) Append(r *report.Requirement, logged time.Time) error {
	if err := moments("not_before", r.NotBefore, "expires", r.Expires); err != nil {
		return err
	}
	if r.Closed != 0 {
		if err := moments("closed", r.Closed, "", 0); err != nil {
			return err
		}
	}
	switch {
	case !events.ValidTenant(r.Tenant):
		return fmt.Errorf("tenant: is %.80q, which is no tenant", r.Tenant)
	case r.ID == "" || len(r.ID) > events.MaxID:
		return fmt.Errorf("requirement: is %.80q, must have 1 to %d bytes", r.ID, events.MaxID)
	}
	version, err := statusVersion(r)
	if err != nil {
		return err
	}
	scope := "user"
	if r.Session != "" {
		scope = "session"
	}
	b.tenant.add(r.Tenant)
	b.requirement.add(r.ID)
	b.version.add(version)
	b.logged.add(logged.UnixMilli())
	b.userID.add(r.User)
	b.sessionID.add(r.Session)
	b.action.add(string(r.Action))
	b.status.add(string(r.Status))
	b.notBefore.add(int64(r.NotBefore))
	b.expires.add(int64(r.Expires))
	b.closed.add(int64(r.Closed))
	b.severity.add(string(r.Severity))
	b.scope.add(scope)
	b.acrValues.add(strings.Join(r.ACRValues, " "))
	b.maxAge.add(r.MaxAge)
	b.policy.add(r.Policy)
	b.policyVersion.add(r.PolicyVersion)
	b.reason.add(r.Reason)
	b.eventID.add(r.EventID)
	b.satisfiedBy.add(r.SatisfiedBy)
	b.jti.add(r.JTI)
	b.raw.add(string(r.Claims))
	b.rows++
	return nil
}

// statusVersion orders the records of one requirement by what they say and not by when they came: a former owner of a
// partition may write an old status late. Satisfied outranks expired, as a proof is a fact and a time-out is not one.
func statusVersion(r *report.Requirement) (uint64, error) {
	rank := map[report.Status]uint64{report.Open: 0, report.Expired: 1, report.Satisfied: 2}
	n, ok := rank[r.Status]
	if !ok {
		return 0, fmt.Errorf("status: is %.40q, must be open, satisfied or expired", r.Status)
	}
	return n<<60 | uint64(max(r.Closed, r.NotBefore)), nil
}

// Receipts is a block of rows for the table of receipts.
type Receipts struct {
	Block
	tenant, requirement, id, userID, sessionID, jti, app, status *values[string]
	time, logged                                                 *values[int64]
}

// NewReceipts returns an empty block for receipts.
func NewReceipts() *Receipts {
	b := &builder{layout: &layout{}}
	r := &Receipts{
		tenant: b.text("tenant"), requirement: b.text("requirement"), time: b.moment("time"), id: b.text("id"),
		logged: b.moment("logged"), userID: b.text("user_id"), sessionID: b.text("session_id"), jti: b.text("jti"),
		app: b.text("app"), status: b.text("status"),
	}
	r.Block = b.done(TableReceipts)
	return r
}

// Append adds a receipt; see [Events.Append].
func (b *Receipts) Append(r *events.Receipt, logged time.Time) error {
	if err := moments("time", r.Time, "", 0); err != nil {
		return err
	}
	switch {
	case !events.ValidTenant(r.Tenant):
		return fmt.Errorf("tenant: is %.80q, which is no tenant", r.Tenant)
	case r.ID == "" || len(r.ID) > events.MaxID:
		return fmt.Errorf("id: is %.80q, must have 1 to %d bytes", r.ID, events.MaxID)
	}
	b.tenant.add(r.Tenant)
	b.requirement.add(r.Requirement)
	b.time.add(int64(r.Time))
	b.id.add(r.ID)
	b.logged.add(logged.UnixMilli())
	b.userID.add(r.User)
	b.sessionID.add(r.Session)
	b.jti.add(r.JTI)
	b.app.add(r.App)
	b.status.add(string(r.Status))
	b.rows++
	return nil
}

// DeadLetters is a block of rows for the table of dead letters.
type DeadLetters struct {
	Block
	id, source, stage, reason, topic, format, bytes *values[string]
	time, logged, offset, line                      *values[int64]
	partition                                       *values[int32]
	size                                            *values[uint64]
}

// NewDeadLetters returns an empty block for dead letters.
func NewDeadLetters() *DeadLetters {
	b := &builder{layout: &layout{}}
	d := &DeadLetters{
		time: b.moment("time"), id: b.text("id"), logged: b.moment("logged"), source: b.text("source"), stage: b.text("stage"),
		reason: b.text("reason"), topic: b.text("topic"), partition: declare[int32](b, "partition", "Int32"),
		offset: declare[int64](b, "offset", "Int64"), line: declare[int64](b, "line", "Int64"),
		size: declare[uint64](b, "size", "UInt64"), bytes: b.text("bytes"), format: b.text("format"),
	}
	d.Block = b.done(TableDeadLetters)
	return d
}

// Append adds a dead letter. It takes any: a time that the history cannot hold becomes that of the log.
func (b *DeadLetters) Append(d *events.DeadLetter, logged time.Time) {
	at := int64(d.Time)
	if moments("time", d.Time, "", 0) != nil {
		at = logged.UnixMilli()
	}
	b.time.add(at)
	b.id.add(d.ID)
	b.logged.add(logged.UnixMilli())
	b.source.add(d.Source)
	b.stage.add(d.Stage)
	b.reason.add(d.Reason)
	b.topic.add(d.Topic)
	b.partition.add(int32(d.Partition))
	b.offset.add(d.Offset)
	b.line.add(int64(d.Line))
	b.size.add(uint64(max(d.Size, len(d.Bytes))))
	b.bytes.add(string(d.Bytes))
	b.format.add(d.Format)
	b.rows++
}

// earliest and latest bound the times that the history holds: ClickHouse's DateTime, by which it partitions and counts,
// ends in 2106, and a time outside them is a mistake of the source.
var (
	earliest = events.MillisOf(time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC))
	latest   = events.MillisOf(time.Date(2105, 12, 31, 0, 0, 0, 0, time.UTC))
)

// moments checks a time that must be there and one that may be.
func moments(path string, required events.Millis, otherPath string, optional events.Millis) error {
	if required < earliest || required > latest {
		return fmt.Errorf("%s: is %q, the history holds 1971 to 2105", path, required)
	}
	if optional != 0 && (optional < earliest || optional > latest) {
		return fmt.Errorf("%s: is %q, the history holds 1971 to 2105", otherPath, optional)
	}
	return nil
}

// hash is the 16 bytes of an id of ours.
func hash(path, id string) (string, error) {
	var b [16]byte
	if len(id) != 32 {
		return "", fmt.Errorf("%s: is %.80q, must be 32 hexadecimal digits", path, id)
	}
	if _, err := hex.Decode(b[:], []byte(id)); err != nil {
		return "", fmt.Errorf("%s: is %.80q, must be 32 hexadecimal digits", path, id)
	}
	return string(b[:]), nil
}

func address(text string) (netip.Addr, error) {
	if text == "" {
		return netip.IPv6Unspecified(), nil
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ip, fmt.Errorf("ip: is %.60q, which is no address", text)
	}
	return ip.WithZone(""), nil
}

func joinClasses(classes []events.Class) string {
	switch len(classes) {
	case 0:
		return ""
	case 1:
		return string(classes[0])
	}
	var b strings.Builder
	for i, c := range classes {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(c))
	}
	return b.String()
}
