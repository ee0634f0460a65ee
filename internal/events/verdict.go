package events

// Cause says why an attempt did not succeed, in one vocabulary for all sources. The source's own word stays in Code.
type Cause string

// The causes of failures; "" is unknown, and taken for a wrong proof by what counts guesses. Steps of a flow that goes on are outcome interrupt and have none.
const (
	BadPassword   Cause = "bad_password"
	UnknownUser   Cause = "unknown_user"
	AccountLocked Cause = "locked"
	// AccountDisabled is of an account that was disabled, deleted or whose user has left.
	AccountDisabled Cause = "account_disabled"
	// Expired is of a password or account that has run out.
	Expired Cause = "expired"
	// MFARefused is a prompt that the user denied, or answered with the wrong number; MFATimeout one nobody answered.
	MFARefused Cause = "mfa_denied"
	MFATimeout Cause = "mfa_timeout"
	// BadCode is a wrong one-time code.
	BadCode Cause = "bad_code"
	// PolicyBlock is a refusal by the provider's own policies.
	PolicyBlock Cause = "policy_block"
	// OtherCause is of a failure that is surely none of the above, such as a token that ran out, a request that was malformed
	// or a client that is not registered: it says nothing against the user, and nobody guessed.
	OtherCause Cause = "other"
)

// Causes lists every cause.
var Causes = []Cause{BadPassword, UnknownUser, AccountLocked, AccountDisabled, Expired, MFARefused, MFATimeout, BadCode, PolicyBlock, OtherCause}

// WrongPassword tells an attempt that failed for want of the right password. One without a cause, and without a word of the second
// factor, is taken for one: sources that know causes name whatever else it can be, if only as [OtherCause].
func (e *Event) WrongPassword() bool {
	if e.Kind != SignIn || e.Outcome != Failure && e.Outcome != Blocked {
		return false
	}
	return e.Cause == BadPassword || e.Cause == "" && e.Outcome == Failure && e.Auth.MFA == ""
}

// Verdict is what the network stage concluded from the events of many users, sent to each user concerned.
type Verdict struct {
	// Detection is the catalogue id, such as "CRD-03"; Severity what it is worth before suppressions.
	Detection string   `json:"detection,omitempty,nocopy"`
	Severity  Severity `json:"severity,omitempty,nocopy"`
	// Incident is one firing: the verdicts of all users concerned share it.
	Incident string `json:"incident,omitempty,nocopy"`
	// Source is what is guilty: "ip 192.0.2.1", "prefix 192.0.2.0/24", "asn 64496", "agent Windows Edge", or "" for the
	// tenant as a whole.
	Source string `json:"source,omitempty,nocopy"`
	// EventID is the event of this user that it rests on, when there is one.
	EventID string `json:"event_id,omitempty,nocopy"`
	// Users were tried, in Tries attempts; Succeeded is how many users got in from the source.
	Users     int `json:"users,omitempty"`
	Tries     int `json:"tries,omitempty"`
	Succeeded int `json:"succeeded,omitempty"`
	// From and To are the time it covers.
	From Millis `json:"from,omitempty"`
	To   Millis `json:"to,omitempty"`
	// Sample are some of the users; Histogram counts users by tries: 1, 2, 3 to 6, more.
	Sample    []string `json:"sample,omitempty"`
	Histogram []int    `json:"histogram,omitempty"`
	// Mean and Deviation are the seasonal baseline of Users, Z how many deviations above it they are.
	Mean      float64 `json:"mean,omitempty"`
	Deviation float64 `json:"deviation,omitempty"`
	Z         float64 `json:"z,omitempty"`
	// Fingerprint is the operating system, browser, application and grant that the attempts share; Share is how many of them do.
	Fingerprint string  `json:"fingerprint,omitempty,nocopy"`
	Share       float64 `json:"share,omitempty"`
}

// OrgContext is what is known of a tenant as a whole, as of Until. The network stage sends it to every partition of the
// events, about once a day, so that a user's decisions rest on what the log says and nothing else.
type OrgContext struct {
	Since Millis `json:"since,omitempty"`
	Until Millis `json:"until,omitempty"`
	// Users have been seen; Logins is the decayed number of their successes.
	Users  int     `json:"users,omitempty"`
	Logins float64 `json:"logins,omitempty"`
	// Countries, Networks (AS numbers), Cells (whole degrees, "lat,lon" of the south-west corner), Apps and Agents
	// ("Windows Edge") in use, most users first, bounded.
	Countries []OrgTerm `json:"countries,omitempty"`
	Networks  []OrgTerm `json:"networks,omitempty"`
	Cells     []OrgTerm `json:"cells,omitempty"`
	Apps      []OrgTerm `json:"apps,omitempty"`
	Agents    []OrgTerm `json:"agents,omitempty"`
	// Egress are prefixes learned as the organisation's own; Hubs are AS numbers that move their users about.
	Egress []string `json:"egress,omitempty"`
	Hubs   []uint32 `json:"hubs,omitempty"`
	// Levels are the counts behind the familiarity score, Thresholds its limits.
	Levels     []OrgLevel     `json:"levels,omitempty"`
	Thresholds []OrgThreshold `json:"thresholds,omitempty"`
}

// OrgTerm is something in use in a tenant.
type OrgTerm struct {
	Value string `json:"value"`
	Users int    `json:"users"`
	First Millis `json:"first,omitempty"`
	Last  Millis `json:"last,omitempty"`
}

// OrgLevel counts the values of one level of the familiarity score: Total logins, Distinct values, and the most frequent
// values by their hash.
type OrgLevel struct {
	Name     string     `json:"name"`
	Total    float64    `json:"total"`
	Distinct float64    `json:"distinct"`
	Top      []OrgCount `json:"top,omitempty"`
}

// OrgCount is how often a value was seen. Hash is 16 hexadecimal digits.
type OrgCount struct {
	Hash  string  `json:"hash"`
	Count float64 `json:"count"`
}

// OrgThreshold is the familiarity score above which a login of a login-frequency class is unfamiliar, and how many
// scores it rests on.
type OrgThreshold struct {
	Class  string  `json:"class"`
	Score  float64 `json:"score"`
	Scores float64 `json:"scores"`
}

// Sighting is what the network stage is told of one event: the part of it, and of what was decided about it, that
// concerns the tenant as a whole. Its identity is the event's.
type Sighting struct {
	EventID string `json:"event_id"`
	Tenant  string `json:"tenant"`
	User    string `json:"user"`
	Kind    Kind   `json:"kind"`
	Time    Millis `json:"time"`
	// Ingested is when the event was accepted; Partition and Offset say where it is on the log, so that a repeat is known.
	Ingested  Millis  `json:"ingested,omitempty"`
	Partition int     `json:"partition"`
	Offset    int64   `json:"offset"`
	Outcome   Outcome `json:"outcome,omitempty"`
	Cause     Cause   `json:"cause,omitempty"`
	// Unresolved is set for a name that was tried and belongs to nobody.
	Unresolved bool    `json:"unresolved,omitempty"`
	IP         string  `json:"ip,omitempty"`
	Network    Network `json:"network,omitempty"`
	// Lat, Lon and Country are 0 and "" when the place is unknown.
	Lat     float64 `json:"lat,omitempty"`
	Lon     float64 `json:"lon,omitempty"`
	Country string  `json:"country,omitempty"`
	Device  Device  `json:"device,omitempty"`
	// Agent is the hash of the whole user agent, 16 hexadecimal digits.
	Agent    string `json:"agent,omitempty"`
	App      Ref    `json:"app,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	// Adverse tells that the event, or one of the user's in the 24 hours before it, raised a finding of medium or more; Proved
	// that the proof of identity cannot have been relayed.
	Adverse bool `json:"adverse,omitempty"`
	Proved  bool `json:"proved,omitempty"`
	// Familiar tells that network and device are known of the user.
	Familiar bool `json:"familiar,omitempty"`
	// Moved tells that the same device was seen within the hour before, Jumped that it was at least 100 km away.
	Moved  bool `json:"moved,omitempty"`
	Jumped bool `json:"jumped,omitempty"`
	// Scored tells that Score is the familiarity score of a login in the login-frequency class Class.
	Scored bool    `json:"scored,omitempty"`
	Score  float64 `json:"score,omitempty"`
	Class  string  `json:"class,omitempty"`
	// Revoked are the sessions' prefixes that a revocation makes doubtful.
	Revoked []string `json:"revoked,omitempty"`
}
