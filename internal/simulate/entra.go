package simulate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/entra"
)

// Entra writes sign-ins as the diagnostic records that Microsoft Entra ID sends to an event hub, one a line, to be read
// back by the entra-eventhub source or by any other product that knows them. The use of a session is a silent sign-in,
// which is what Entra has of it. The other kinds of events are not in the logs of sign-ins and are left out.
func Entra(w io.Writer) Sink {
	return func(_ context.Context, batch []events.Event) error {
		for i := range batch {
			if _, ok := entraEventID(&batch[i]); !ok {
				continue
			}
			line, err := json.Marshal(diagnosticOf(&batch[i]))
			if err != nil {
				return fmt.Errorf("writing an Entra record: %w", err)
			}
			if _, err := w.Write(append(line, '\n')); err != nil {
				return err
			}
		}
		return nil
	}
}

// entraEventID is the id that an event has when it is read back; false when there is no record for it.
func entraEventID(e *events.Event) (string, bool) {
	if e.Kind != events.SignIn && e.Kind != events.SessionUse {
		return "", false
	}
	return events.EventID(strings.ToLower(e.Tenant), entra.Family, strings.ToLower(e.Source.ID)), true
}

// diagnostic is a record of Azure Monitor around a sign-in.
type diagnostic struct {
	Time       string     `json:"time"`
	ResourceID string     `json:"resourceId"`
	Operation  string     `json:"operationName"`
	Category   string     `json:"category"`
	Tenant     string     `json:"tenantId"`
	ResultType string     `json:"resultType"`
	CallerIP   string     `json:"callerIpAddress"`
	Properties entraLogin `json:"properties"`
}

// entraLogin is the sign-in itself, with the members that mean something to detections.
type entraLogin struct {
	ID             string         `json:"id"`
	Created        string         `json:"createdDateTime"`
	UserID         string         `json:"userId"`
	UPN            string         `json:"userPrincipalName,omitempty"`
	DisplayName    string         `json:"userDisplayName,omitempty"`
	Program        string         `json:"servicePrincipalId,omitempty"`
	ProgramName    string         `json:"servicePrincipalName,omitempty"`
	Credential     string         `json:"clientCredentialType,omitempty"`
	AppID          string         `json:"appId"`
	AppName        string         `json:"appDisplayName"`
	ResourceID     string         `json:"resourceId,omitempty"`
	IP             string         `json:"ipAddress"`
	ASN            uint32         `json:"autonomousSystemNumber,omitempty"`
	Interactive    bool           `json:"isInteractive"`
	UserAgent      string         `json:"userAgent,omitempty"`
	Correlation    string         `json:"correlationId,omitempty"`
	Session        string         `json:"sessionId,omitempty"`
	Token          string         `json:"uniqueTokenIdentifier,omitempty"`
	TokenType      string         `json:"incomingTokenType,omitempty"`
	Protocol       string         `json:"authenticationProtocol"`
	Transfer       string         `json:"originalTransferMethod"`
	Requirement    string         `json:"authenticationRequirement"`
	Steps          []entraStep    `json:"authenticationDetails"`
	Status         entraStatus    `json:"status"`
	Device         entraDevice    `json:"deviceDetail"`
	Location       *entraLocation `json:"location,omitempty"`
	ClientApp      string         `json:"clientAppUsed"`
	RiskAggregated string         `json:"riskLevelAggregated"`
}

type entraStep struct {
	Method      string `json:"authenticationMethod"`
	Requirement string `json:"authenticationStepRequirement"`
	Detail      string `json:"authenticationStepResultDetail,omitempty"`
	Succeeded   bool   `json:"succeeded"`
}

type entraStatus struct {
	Code    int    `json:"errorCode"`
	Reason  string `json:"failureReason,omitempty"`
	Details string `json:"additionalDetails,omitempty"`
}

type entraDevice struct {
	ID        string `json:"deviceId"`
	OS        string `json:"operatingSystem,omitempty"`
	Browser   string `json:"browser,omitempty"`
	Managed   *bool  `json:"isManaged,omitempty"`
	Compliant *bool  `json:"isCompliant,omitempty"`
}

type entraLocation struct {
	City        string `json:"city"`
	State       string `json:"state"`
	Country     string `json:"countryOrRegion"`
	Coordinates struct {
		Latitude  float64 `json:"latitude"`
		Longitude float64 `json:"longitude"`
	} `json:"geoCoordinates"`
}

const (
	singleFactor = "singleFactorAuthentication"
	multiFactor  = "multiFactorAuthentication"
	primaryStep  = "Primary authentication"
	secondStep   = "Multifactor authentication"
	byClaim      = "MFA requirement satisfied by claim in the token"
)

// diagnosticOf is the record of a sign-in or of the use of a session.
func diagnosticOf(e *events.Event) diagnostic {
	code := entraCode(e)
	tenant := strings.ToLower(e.Tenant)
	d := diagnostic{
		Time: e.Emitted.String(), ResourceID: "/tenants/" + tenant + "/providers/Microsoft.aadiam", Operation: "Sign-in activity",
		Category: "NonInteractiveUserSignInLogs", Tenant: tenant, ResultType: strconv.Itoa(code), CallerIP: e.IP,
	}
	p := &d.Properties
	*p = entraLogin{
		ID: e.Source.ID, Created: e.Time.String(), UserID: e.User.ID, UPN: e.User.ID + "@" + e.Tenant + ".example", DisplayName: e.User.Name,
		AppID: e.App.ID, AppName: e.App.Name, ResourceID: e.Resource.ID, IP: e.IP, ASN: e.Network.ASN,
		Interactive: e.Interactive == events.Yes, UserAgent: e.UserAgent, Correlation: e.Correlation, Session: e.Session.ID,
		Token: e.Session.Token, TokenType: camel(e.Session.TokenType), Protocol: e.Auth.Protocol, Transfer: "none",
		Requirement: singleFactor, Status: entraStatus{Code: code, Reason: e.Reason}, Device: deviceOf(&e.Device),
		ClientApp: "Browser", RiskAggregated: "none",
	}
	if e.Auth.Protocol == "devicecode" {
		p.Protocol, p.Transfer = "none", "deviceCodeFlow"
	}
	switch e.User.Type {
	case events.Workload:
		d.Category = "ServicePrincipalSignInLogs"
		p.UserID, p.UPN, p.Program, p.ProgramName, p.Credential = "", "", e.User.ID, e.User.ID, "clientSecret"
		return d
	case events.Unresolved:
		p.UserID, p.UPN = "", e.User.ID
	}
	if e.Interactive == events.Yes {
		d.Category = "SignInLogs"
	}
	if e.Place.Located() {
		p.Location = &entraLocation{City: e.Place.City, State: e.Place.Region, Country: e.Place.Country}
		p.Location.Coordinates.Latitude, p.Location.Coordinates.Longitude = e.Place.Lat, e.Place.Lon
	}
	p.steps(e)
	return d
}

// entraCode is Entra's error code of an outcome.
func entraCode(e *events.Event) int {
	switch e.Cause { //nolint:exhaustive // the others are of no code in particular
	case events.BadPassword:
		return 50126
	case events.UnknownUser:
		return 50034
	case events.AccountLocked:
		return 50053
	case events.AccountDisabled:
		return 50057
	case events.Expired:
		return 50144
	case events.MFARefused, events.MFATimeout, events.BadCode:
		return 500121
	case events.PolicyBlock:
		return 53003
	}
	switch e.Outcome { //nolint:exhaustive // the others succeed
	case events.Interrupt:
		return 50140
	case events.Failure, events.Blocked:
		return 90033 // a transient error of the service
	}
	return 0
}

// steps writes how identity was proved.
func (p *entraLogin) steps(e *events.Event) {
	right := e.Outcome == events.Success
	switch {
	case e.Auth.MFA == events.MFAByClaim || e.Kind == events.SessionUse:
		p.Requirement, p.Status.Details = multiFactor, byClaim
		p.Steps = []entraStep{{"Previously satisfied", secondStep, byClaim, true}}
		return
	case e.Auth.MFA == events.MFAPerformed || e.Auth.MFA == events.MFAFailed || e.Auth.MFA == events.MFADenied:
		p.Requirement = multiFactor
	}
	for _, name := range e.Auth.Methods {
		switch name {
		case "password":
			detail := "Correct password"
			if e.Cause == events.BadPassword {
				detail = "Invalid username or password"
			}
			p.Steps = append(p.Steps, entraStep{"Password", primaryStep, detail, right || p.Requirement == multiFactor})
		case "fido2":
			p.Steps = append(p.Steps, entraStep{"FIDO2 security key", primaryStep, "", right})
		default:
			step := entraStep{Method: secondFactors[name], Requirement: secondStep, Succeeded: right, Detail: "MFA completed in Azure AD"}
			if !right {
				step.Detail = "MFA denied; user declined the authentication"
				switch e.Cause { //nolint:exhaustive // the others are denied
				case events.MFATimeout:
					step.Detail = "MFA failed; user did not respond to mobile app notification"
				case events.BadCode:
					step.Detail = "MFA failed; wrong verification code entered"
				}
			}
			p.Steps = append(p.Steps, step)
		}
	}
}

var secondFactors = map[string]string{
	"push": "Mobile app notification", "otp": "OATH verification code", "sms": "Text message",
}

func deviceOf(d *events.Device) entraDevice {
	out := entraDevice{ID: d.ID, OS: d.OS}
	if d.Browser != "" {
		out.Browser = d.Browser + " " + strconv.Itoa(d.BrowserMajor) + ".0.0"
	}
	flag := func(t events.Tri) *bool {
		if t == events.Unknown {
			return nil
		}
		yes := t == events.Yes
		return &yes
	}
	out.Managed, out.Compliant = flag(d.Managed), flag(d.Compliant)
	return out
}

// camel writes a name as Entra does: primary_refresh_token is primaryRefreshToken.
func camel(snake string) string {
	parts := strings.Split(snake, "_")
	for i, p := range slices.Backward(parts) {
		if i > 0 && p != "" {
			parts[i] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	return strings.Join(parts, "")
}
