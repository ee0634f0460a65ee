package export

import (
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// The rows are those of CSV and Parquet. Times are in milliseconds since 1970; what is unknown is empty, or null. The tags
// name the columns, which must not change: a new one goes to the end, before record.

type event struct {
	Time        int64   `parquet:"time,timestamp(millisecond)"`
	ID          string  `parquet:"id"`
	Kind        string  `parquet:"kind,dict"`
	Tenant      string  `parquet:"tenant,dict"`
	User        string  `parquet:"user"`
	UserName    string  `parquet:"user_name,optional"`
	UserType    string  `parquet:"user_type,optional,dict"`
	Privileged  *bool   `parquet:"privileged,optional"`
	Source      string  `parquet:"source,optional,dict"`
	SourceID    string  `parquet:"source_id,optional"`
	Outcome     string  `parquet:"outcome,optional,dict"`
	Code        string  `parquet:"code,optional,dict"`
	Reason      string  `parquet:"reason,optional"`
	Interactive *bool   `parquet:"interactive,optional"`
	App         string  `parquet:"app,optional,dict"`
	AppName     string  `parquet:"app_name,optional,dict"`
	Resource    string  `parquet:"resource,optional,dict"`
	Session     string  `parquet:"session,optional"`
	IP          string  `parquet:"ip,optional"`
	Prefix      string  `parquet:"prefix,optional"`
	ASN         int64   `parquet:"asn,optional"`
	Org         string  `parquet:"org,optional,dict"`
	Classes     string  `parquet:"network_classes,optional,dict"`
	Country     string  `parquet:"country,optional,dict"`
	Region      string  `parquet:"region,optional,dict"`
	City        string  `parquet:"city,optional,dict"`
	Lat         float64 `parquet:"lat,optional"`
	Lon         float64 `parquet:"lon,optional"`
	RadiusKm    float64 `parquet:"radius_km,optional"`
	Device      string  `parquet:"device,optional"`
	DeviceType  string  `parquet:"device_type,optional,dict"`
	OS          string  `parquet:"os,optional,dict"`
	Browser     string  `parquet:"browser,optional,dict"`
	Managed     *bool   `parquet:"managed,optional"`
	Compliant   *bool   `parquet:"compliant,optional"`
	UserAgent   string  `parquet:"user_agent,optional"`
	MFA         string  `parquet:"mfa,optional,dict"`
	Strength    string  `parquet:"strength,optional,dict"`
	Methods     string  `parquet:"methods,optional,dict"`
	ACR         string  `parquet:"acr,optional,dict"`
	Change      string  `parquet:"change,optional,dict"`
	Risk        string  `parquet:"risk,optional,dict"`
	Ingested    int64   `parquet:"ingested,timestamp(millisecond)"`
	Record      []byte  `parquet:"record,json,zstd"`
}

func eventRow(e *events.Event, raw []byte) event {
	change := string(e.Change.Type)
	if e.Change.Action != "" {
		change += " " + string(e.Change.Action)
	}
	return event{
		Time: int64(e.Time), ID: e.ID, Kind: string(e.Kind), Tenant: e.Tenant, User: e.User.ID, UserName: e.User.Name, UserType: string(e.User.Type),
		Privileged: tri(e.User.Privileged), Source: e.Source.Name, SourceID: e.Source.ID, Outcome: string(e.Outcome), Code: e.Code, Reason: e.Reason,
		Interactive: tri(e.Interactive), App: e.App.ID, AppName: e.App.Name, Resource: e.Resource.Name, Session: e.Session.ID, IP: e.IP,
		Prefix: e.Network.Prefix, ASN: int64(e.Network.ASN), Org: e.Network.Org, Classes: words(e.Network.Classes), Country: e.Place.Country,
		Region: e.Place.Region, City: e.Place.City, Lat: e.Place.Lat, Lon: e.Place.Lon, RadiusKm: e.Place.RadiusKm, Device: e.Device.ID,
		DeviceType: e.Device.Type, OS: e.Device.OS, Browser: e.Device.Browser, Managed: tri(e.Device.Managed), Compliant: tri(e.Device.Compliant),
		UserAgent: e.UserAgent, MFA: string(e.Auth.MFA), Strength: string(e.Auth.Strength), Methods: words(e.Auth.Methods), ACR: e.Auth.ACR,
		Change: change, Risk: string(e.Risk.Level), Ingested: int64(e.Ingested), Record: raw,
	}
}

type finding struct {
	Time          int64   `parquet:"time,timestamp(millisecond)"`
	ID            string  `parquet:"id"`
	Tenant        string  `parquet:"tenant,dict"`
	User          string  `parquet:"user"`
	UserName      string  `parquet:"user_name,optional"`
	Detection     string  `parquet:"detection,dict"`
	Version       int64   `parquet:"detection_version"`
	Title         string  `parquet:"title,dict"`
	Summary       string  `parquet:"summary"`
	Severity      string  `parquet:"severity,dict"`
	Disposition   string  `parquet:"disposition,dict"`
	Technique     string  `parquet:"technique,optional,dict"`
	Event         string  `parquet:"event_id"`
	Session       string  `parquet:"session,optional"`
	App           string  `parquet:"app,optional,dict"`
	AppName       string  `parquet:"app_name,optional,dict"`
	IP            string  `parquet:"ip,optional"`
	ASN           int64   `parquet:"asn,optional"`
	Org           string  `parquet:"org,optional,dict"`
	Country       string  `parquet:"country,optional,dict"`
	City          string  `parquet:"city,optional,dict"`
	Lat           float64 `parquet:"lat,optional"`
	Lon           float64 `parquet:"lon,optional"`
	RadiusKm      float64 `parquet:"radius_km,optional"`
	SpeedKmh      float64 `parquet:"speed_kmh,optional"`
	DistanceKm    float64 `parquet:"distance_km,optional"`
	Policy        string  `parquet:"policy,optional,dict"`
	PolicyVersion string  `parquet:"policy_version,optional,dict"`
	Action        string  `parquet:"action,optional,dict"`
	Observed      bool    `parquet:"observed"`
	Requirement   string  `parquet:"requirement,optional"`
	Record        []byte  `parquet:"record,json,zstd"`
}

func findingRow(f *events.Finding, raw []byte) finding {
	s := &f.Evidence.Sight
	row := finding{
		Time: int64(f.Time), ID: f.ID, Tenant: f.Tenant, User: f.User.ID, UserName: f.User.Name, Detection: f.Detection, Version: int64(f.Version),
		Title: f.Title, Summary: f.Summary, Severity: string(f.Severity), Disposition: string(f.Disposition), Technique: f.Technique, Event: f.EventID,
		Session: s.Session, App: s.App.ID, AppName: s.App.Name, IP: s.IP, ASN: int64(s.Network.ASN), Org: s.Network.Org, Country: s.Place.Country,
		City: s.Place.City, Lat: s.Place.Lat, Lon: s.Place.Lon, RadiusKm: s.Place.RadiusKm, Record: raw,
	}
	if t := f.Evidence.Travel; t != nil {
		row.SpeedKmh, row.DistanceKm = t.SpeedKmh, t.DistanceKm
	}
	if d := f.Decision; d != nil {
		row.Policy, row.PolicyVersion, row.Action, row.Observed, row.Requirement = d.Policy, d.Version, string(d.Action), d.Observed, d.Requirement
	}
	return row
}

type requirement struct {
	NotBefore     int64  `parquet:"not_before,timestamp(millisecond)"`
	ID            string `parquet:"id"`
	Tenant        string `parquet:"tenant,dict"`
	User          string `parquet:"user"`
	Session       string `parquet:"session,optional"`
	Status        string `parquet:"status,dict"`
	Action        string `parquet:"action,dict"`
	Severity      string `parquet:"severity,dict"`
	ACRValues     string `parquet:"acr_values,optional,dict"`
	MaxAge        int64  `parquet:"max_age_s,optional"`
	Expires       int64  `parquet:"expires,timestamp(millisecond)"`
	Closed        *int64 `parquet:"closed,optional,timestamp(millisecond)"`
	SatisfiedBy   string `parquet:"satisfied_by,optional"`
	Policy        string `parquet:"policy,dict"`
	PolicyVersion string `parquet:"policy_version,dict"`
	Reason        string `parquet:"reason,optional"`
	Event         string `parquet:"event_id"`
	JTI           string `parquet:"jti"`
	Record        []byte `parquet:"record,json,zstd"`
}

func requirementRow(r *report.Requirement, raw []byte) requirement {
	row := requirement{
		NotBefore: int64(r.NotBefore), ID: r.ID, Tenant: r.Tenant, User: r.User, Session: r.Session, Status: string(r.Status), Action: string(r.Action),
		Severity: string(r.Severity), ACRValues: words(r.ACRValues), MaxAge: int64(r.MaxAge), Expires: int64(r.Expires), SatisfiedBy: r.SatisfiedBy,
		Policy: r.Policy, PolicyVersion: r.PolicyVersion, Reason: r.Reason, Event: r.EventID, JTI: r.JTI, Record: raw,
	}
	if closed := int64(r.Closed); closed != 0 {
		row.Closed = &closed
	}
	return row
}

type audit struct {
	Time    int64  `parquet:"time,timestamp(millisecond)"`
	ID      string `parquet:"id"`
	Tenant  string `parquet:"tenant,optional,dict"`
	Actor   string `parquet:"actor,optional,dict"`
	Via     string `parquet:"via,optional,dict"`
	Action  string `parquet:"action,dict"`
	Target  string `parquet:"target,optional"`
	User    string `parquet:"user,optional"`
	Detail  string `parquet:"detail,optional"`
	Outcome string `parquet:"outcome,dict"`
	Address string `parquet:"address,optional"`
	Request string `parquet:"request"`
	Record  []byte `parquet:"record,json,zstd"`
}

func auditRow(e *events.AuditEntry, raw []byte) audit {
	return audit{
		Time: int64(e.Time), ID: e.ID, Tenant: e.Tenant, Actor: e.Actor, Via: string(e.Via), Action: e.Action, Target: e.Target, User: e.User,
		Detail: e.Detail, Outcome: string(e.Outcome), Address: e.Address, Request: e.Request, Record: raw,
	}
}
