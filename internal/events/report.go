package events

// Access is what the provider's own access policies decided about a sign-in.
type Access struct {
	Result AccessResult `json:"result,omitempty,nocopy"`
	// Policies are those that had a say: not those that did not apply or are switched off.
	Policies []AccessPolicy `json:"policies,omitempty"`
	// Locations are the provider's named networks that the address is in, such as a trusted office.
	Locations []string `json:"locations,omitempty"`
}

// AccessResult is the result of the provider's policies together.
type AccessResult string

// The results of access policies; "" is unknown.
const (
	AccessGranted    AccessResult = "success"
	AccessDenied     AccessResult = "failure"
	AccessNotApplied AccessResult = "not_applied"
)

// AccessResults lists every result.
var AccessResults = []AccessResult{AccessGranted, AccessDenied, AccessNotApplied}

// AccessPolicy is one policy of the provider. Result is the provider's own word; one that begins with "reportOnly" was
// not enforced.
type AccessPolicy struct {
	ID     string `json:"id,omitempty,nocopy"`
	Name   string `json:"name,omitempty,nocopy"`
	Result string `json:"result,omitempty,nocopy"`
	// Controls are what it asked for, such as "mfa".
	Controls []string `json:"controls,omitempty"`
}

// RiskLevel is a provider's measure of risk.
type RiskLevel string

// The levels of risk, lowest first; "" is unknown, also when the provider hides it.
const (
	RiskNone   RiskLevel = "none"
	RiskLow    RiskLevel = "low"
	RiskMedium RiskLevel = "medium"
	RiskHigh   RiskLevel = "high"
)

// RiskLevels lists every level, lowest first.
var RiskLevels = []RiskLevel{RiskNone, RiskLow, RiskMedium, RiskHigh}

// RiskState is what became of a risk.
type RiskState string

// The states of a risk; "" is unknown.
const (
	RiskOpen        RiskState = "at_risk"
	RiskConfirmed   RiskState = "confirmed_compromised"
	RiskSafe        RiskState = "confirmed_safe"
	RiskRemediated  RiskState = "remediated"
	RiskDismissed   RiskState = "dismissed"
	RiskNotReported RiskState = "none"
)

// RiskStates lists every state.
var RiskStates = []RiskState{RiskOpen, RiskConfirmed, RiskSafe, RiskRemediated, RiskDismissed, RiskNotReported}

// Risk is a provider's opinion.
type Risk struct {
	// Level is that of the sign-in or report at hand, User that of the user altogether.
	Level RiskLevel `json:"level,omitempty,nocopy"`
	User  RiskLevel `json:"user,omitempty,nocopy"`
	State RiskState `json:"state,omitempty,nocopy"`
	// Detections are the provider's own names of what it saw.
	Detections []string `json:"detections,omitempty"`
	// Detail is the provider's own word on how the state came about.
	Detail string `json:"detail,omitempty,nocopy"`
	// SignIn is the source's id of the sign-in that a report concerns; Happened is when that was, as far as it is known.
	SignIn   string `json:"sign_in,omitempty,nocopy"`
	Happened Millis `json:"happened,omitempty"`
}

// ChangeType says what kind of thing was changed.
type ChangeType string

// The types of changes.
const (
	// CredentialChange is of a password or other primary credential.
	CredentialChange ChangeType = "credential"
	// MethodChange is of a second factor or passkey.
	MethodChange ChangeType = "mfa_method"
	// RecoveryChange is of an address or number for recovery.
	RecoveryChange ChangeType = "recovery"
	// DeviceChange is of a device: registration, removal, compliance.
	DeviceChange ChangeType = "device"
	// ConsentChange is of what an application may do in the user's name.
	ConsentChange ChangeType = "consent"
	// RoleChange is of a role or group.
	RoleChange ChangeType = "role"
	// LifecycleChange is of the account itself: created, disabled, locked, deleted.
	LifecycleChange ChangeType = "account"
	// AssuranceChange is of the assurance level of a session or account.
	AssuranceChange ChangeType = "assurance"
)

// ChangeTypes lists every type of change.
var ChangeTypes = []ChangeType{
	CredentialChange, MethodChange, RecoveryChange, DeviceChange, ConsentChange, RoleChange, LifecycleChange, AssuranceChange,
}

// ChangeAction says what was done.
type ChangeAction string

// The actions of changes; "" is unknown.
const (
	Added    ChangeAction = "added"
	Removed  ChangeAction = "removed"
	Updated  ChangeAction = "updated"
	Reset    ChangeAction = "reset"
	Enabled  ChangeAction = "enabled"
	Disabled ChangeAction = "disabled"
	Locked   ChangeAction = "locked"
	Unlocked ChangeAction = "unlocked"
)

// ChangeActions lists every action.
var ChangeActions = []ChangeAction{Added, Removed, Updated, Reset, Enabled, Disabled, Locked, Unlocked}

// Change is what was changed about the event's user.
type Change struct {
	Type   ChangeType   `json:"type,omitempty,nocopy"`
	Action ChangeAction `json:"action,omitempty,nocopy"`
	// Target is what was changed: a method such as "fido2", a device, a role, the application that was consented to.
	Target Ref `json:"target,omitempty"`
	// Actor is who did it, when that is not the user.
	Actor Ref `json:"actor,omitempty"`
	// Grants are the scopes of a consent.
	Grants []string `json:"grants,omitempty"`
	// From and To are the values before and after, where there are such.
	From string `json:"from,omitempty,nocopy"`
	To   string `json:"to,omitempty,nocopy"`
}

// IsDefined reports whether anything is known.
func (a Access) IsDefined() bool {
	return a.Result != "" || len(a.Policies) > 0 || len(a.Locations) > 0
}

// IsDefined reports whether anything is known.
func (r Risk) IsDefined() bool {
	return r.Level != "" || r.User != "" || r.State != "" || len(r.Detections) > 0 || r.Detail != "" || r.SignIn != "" || r.Happened != 0
}

// IsDefined reports whether anything is known.
func (c Change) IsDefined() bool {
	return c.Type != "" || c.Action != "" || c.Target != Ref{} || c.Actor != Ref{} || len(c.Grants) > 0 || c.From != "" || c.To != ""
}
