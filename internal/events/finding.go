package events

// Severity of a finding. Severity is not an action: policy decides what happens.
type Severity string

// The severities, lowest first.
const (
	Info     Severity = "info"
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// Severities lists every severity, lowest first.
var Severities = []Severity{Info, Low, Medium, High, Critical}

// Rank orders severities: info is 1, critical 5, anything else 0.
func (s Severity) Rank() int {
	for i, v := range Severities {
		if s == v {
			return i + 1
		}
	}
	return 0
}

// Disposition says whether a finding counts.
type Disposition string

// The dispositions. Nothing is dropped: a finding that does not count is recorded with the reason.
const (
	// Active findings reach policy.
	Active Disposition = "active"
	// Learning findings fell while too little was known of the user.
	Learning Disposition = "learning"
	// Suppressed findings were explained by something harmless; see Suppressions.
	Suppressed Disposition = "suppressed"
	// Observed findings are of a detection that is only watched: it is configured so.
	Observed Disposition = "observed"
)

// Dispositions lists every disposition.
var Dispositions = []Disposition{Active, Learning, Suppressed, Observed}

// Finding is what one detection saw in one event, with all that it rests on. The same log gives the same findings, byte
// for byte: no wall clock goes in.
type Finding struct {
	// ID is derived from detection, version, tenant, user, event and anchors by [FindingID].
	ID string `json:"id"`
	// Detection is the catalogue id, such as "LOC-01"; Version grows when its outcome for some input changes.
	Detection string `json:"detection"`
	Version   int    `json:"version"`
	Title     string `json:"title"`
	// Summary explains this finding in one plain sentence.
	Summary string `json:"summary"`
	Tenant  string `json:"tenant"`
	User    User   `json:"user"`
	// EventID caused the finding; Anchors are the earlier (or, for late events, later) events it was compared with.
	EventID     string      `json:"event_id"`
	Anchors     []string    `json:"anchors,omitempty"`
	Time        Millis      `json:"time"`
	Ingested    Millis      `json:"ingested,omitempty"`
	Severity    Severity    `json:"severity"`
	Disposition Disposition `json:"disposition"`
	// Technique is the MITRE ATT&CK technique, such as "T1078.004".
	Technique    string        `json:"technique,omitempty"`
	Evidence     Evidence      `json:"evidence"`
	Suppressions []Suppression `json:"suppressions,omitempty"`
	// Parameters are the detection's parameters in force, by name.
	Parameters []Parameter `json:"parameters,omitempty"`
	// Decision is what policy made of the event's findings. Every finding of one event carries the same decision.
	Decision *Decision `json:"decision,omitempty"`
}

// Parameter is one parameter in force.
type Parameter struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
}

// Suppression is one reason considered for not counting a finding, and its effect: "none", "lower" (one severity step)
// or "record" (recorded only).
type Suppression struct {
	Rung   string `json:"rung"`
	Fact   string `json:"fact"`
	Effect string `json:"effect"`
}

// Evidence is what a finding rests on. Sight is the event itself; the other parts are there when the detection used them.
type Evidence struct {
	Sight   Sight        `json:"sight"`
	Travel  *Travel      `json:"travel,omitempty"`
	Others  []Travel     `json:"other_travels,omitempty"`
	Return  *Travel      `json:"return,omitempty"`
	Novel   []NovelTerm  `json:"novel,omitempty"`
	Session *SessionUsed `json:"session,omitempty"`
	History *History     `json:"history,omitempty"`
	// Conflict is set when the provider's place and ours disagree by more than both radii and 500 km.
	Conflict bool `json:"geo_conflict,omitempty"`
	// Score is the familiarity score, Risk the user's risk, each with its parts.
	Score *Score    `json:"score,omitempty"`
	Risk  *UserRisk `json:"risk,omitempty"`
	// Attempts are failures or prompts, oldest first; Chain are other observations that belong to it, in order of time.
	Attempts []Attempt `json:"attempts,omitempty"`
	Chain    []Sight   `json:"chain,omitempty"`
	// Earlier are findings it builds on; Verdict is what the network stage said; Vendor what the provider said.
	Earlier []Earlier `json:"earlier,omitempty"`
	Verdict *Verdict  `json:"verdict,omitempty"`
	Vendor  *Risk     `json:"vendor,omitempty"`
	Change  *Change   `json:"change,omitempty"`
	// Facts are whatever else decided, such as the list that an address is on.
	Facts []Fact `json:"facts,omitempty"`
}

// Fact is one named fact.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Score is how unfamiliar a login is: the natural logarithm of a likelihood ratio, higher is less familiar.
type Score struct {
	Value     float64     `json:"value"`
	Threshold float64     `json:"threshold"`
	Class     string      `json:"class,omitempty"`
	Parts     []ScorePart `json:"parts"`
}

// ScorePart is what one feature contributes: Logins of the user with this value, of all the user's, and the logarithm of
// how much commoner it is among all users than with this one.
type ScorePart struct {
	Feature  string  `json:"feature"`
	Value    string  `json:"value,omitempty"`
	LogRatio float64 `json:"log_ratio"`
}

// UserRisk is the user's accumulated risk in decibans, before and after this event, and what it comes from.
type UserRisk struct {
	Before float64    `json:"before"`
	After  float64    `json:"after"`
	Parts  []RiskPart `json:"parts,omitempty"`
}

// RiskPart is what one detection contributes to the user's risk, in decibans at the time of the event.
type RiskPart struct {
	Detection string  `json:"detection"`
	Time      Millis  `json:"time"`
	Decibans  float64 `json:"decibans"`
}

// Attempt is one failure or prompt.
type Attempt struct {
	Time  Millis `json:"time"`
	Cause Cause  `json:"cause,omitempty"`
	ASN   uint32 `json:"asn,omitempty"`
}

// Earlier is a finding that another builds on.
type Earlier struct {
	Detection string   `json:"detection"`
	EventID   string   `json:"event_id,omitempty"`
	Time      Millis   `json:"time"`
	Severity  Severity `json:"severity,omitempty"`
}

// Sight is one observation of a user: when, where, through what and with what.
type Sight struct {
	EventID       string  `json:"event_id,omitempty"`
	Time          Millis  `json:"time,omitempty"`
	IP            string  `json:"ip,omitempty"`
	Network       Network `json:"network,omitempty"`
	Place         Place   `json:"place,omitempty"`
	ProviderPlace Place   `json:"provider_place,omitempty"`
	Device        Device  `json:"device,omitempty"`
	Session       string  `json:"session,omitempty"`
	App           Ref     `json:"app,omitempty"`
	Resource      Ref     `json:"resource,omitempty"`
}

// SightOf is the event as an observation.
func SightOf(e *Event) Sight {
	return Sight{
		EventID: e.ID, Time: e.Time, IP: e.IP, Network: e.Network, Place: e.Place, ProviderPlace: e.ProviderPlace,
		Device: e.Device, Session: e.Session.ID, App: e.App, Resource: e.Resource,
	}
}

// Travel is the way between two observations. Effective distance is the great-circle distance less both accuracy radii,
// never below zero; speed is effective distance over the gap, which counts as one minute at least.
type Travel struct {
	From        Sight   `json:"from"`
	To          Sight   `json:"to"`
	DistanceKm  float64 `json:"distance_km"`
	RadiusFrom  float64 `json:"radius_from_km"`
	RadiusTo    float64 `json:"radius_to_km"`
	EffectiveKm float64 `json:"effective_km"`
	GapSeconds  float64 `json:"gap_s"`
	SpeedKmh    float64 `json:"speed_kmh"`
}

// NovelTerm is something not seen before of this user, such as a country or a device.
type NovelTerm struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
	// Known is how many terms of this kind the user has; LastSeen is set when the term was known but stale.
	Known    int    `json:"known"`
	LastSeen Millis `json:"last_seen,omitempty"`
}

// SessionUsed compares a session's first observation with the present one.
type SessionUsed struct {
	ID      string   `json:"id"`
	Started Sight    `json:"started"`
	Changed []string `json:"changed"`
}

// History is how much is known of the user.
type History struct {
	FirstSeen Millis `json:"first_seen,omitempty"`
	Successes int    `json:"successes"`
}

// Action is what policy asks for, weakest first.
type Action string

// The actions.
const (
	Observe       Action = "observe"
	Notify        Action = "notify"
	StepUp        Action = "step_up"
	RevokeSession Action = "revoke_session"
	// RevokeAll ends every session of the user and asks for a change of the credential.
	RevokeAll Action = "revoke_all"
)

// Actions lists every action, weakest first.
var Actions = []Action{Observe, Notify, StepUp, RevokeSession, RevokeAll}

// Rank orders actions: observe is 1, revoke all 5, anything else 0.
func (a Action) Rank() int {
	for i, v := range Actions {
		if a == v {
			return i + 1
		}
	}
	return 0
}

// Decision is what policy made of an event's findings, and why.
type Decision struct {
	Policy  string `json:"policy"`
	Version string `json:"version"`
	Action  Action `json:"action"`
	// Observed is set when the policy only watches: Action is what it would have done.
	Observed bool `json:"observed,omitempty"`
	// Requirement is the id of the requirement that was opened or already open, if any; Covered is set when it was
	// already open, so that nothing new was raised.
	Requirement string `json:"requirement,omitempty"`
	Covered     bool   `json:"covered,omitempty"`
	// Held is set when the breaker keeps the action from being taken until a person has looked; Cooling when the policy asked
	// the same of this user so lately that it does not ask again.
	Held    bool   `json:"held,omitempty"`
	Cooling bool   `json:"cooling,omitempty"`
	Reason  string `json:"reason"`
}
