package stepup

import (
	"slices"
	"strings"
	"time"
)

// Status is where a requirement is in its life.
type Status string

// The statuses. A requirement is opened once and closed once.
const (
	StatusOpen      Status = "open"
	StatusSatisfied Status = "satisfied"
	StatusExpired   Status = "expired"
)

// Action is what a requirement asks for.
type Action string

// The actions that reach applications.
const (
	ActionStepUp        Action = "step_up"
	ActionRevokeSession Action = "revoke_session"
	// ActionRevokeAll ends every session of the user.
	ActionRevokeAll Action = "revoke_all"
)

// actions are in order of strictness.
var actions = []Action{ActionStepUp, ActionRevokeSession, ActionRevokeAll}

// Subject names whom a requirement or a token is about. A requirement without Session holds for every session of the
// user. A token without Session does not say which one it belongs to, so requirements on any session of the user hold
// for it: it cannot show that it is another one.
type Subject struct {
	Tenant, User, Session string
}

// Requirement says that earlier proofs of identity are no longer enough. It is shared and must not be changed.
type Requirement struct {
	// ID names the requirement through its life; JTI names the decision that is known last.
	ID, JTI string
	Subject
	Action Action
	// ACRValues are the authentication contexts that are acceptable, best first; one is enough. None means that any
	// fresh proof will do.
	ACRValues []string
	// MaxAge, in seconds, goes into the challenge: 0 asks the identity provider for a new proof now.
	MaxAge int
	// CredentialChange is set while the user has to change the credential: no proof counts before that. Once the change is
	// seen, a requirement without it takes the place of this one.
	CredentialChange bool
	// NotBefore is the earliest time of a proof that counts.
	NotBefore time.Time
	// Expires is when the requirement ends by itself.
	Expires time.Time
	// Severity, Policy and Reason explain it; Reason is written for the person concerned.
	Severity, Policy, Reason string
	// ThirdParty is set when countersign did not ask for it, but another transmitter. Where there is no room for all,
	// such requirements are forgotten first.
	ThirdParty bool
}

// applies tells whether the requirement holds for a token of the given session.
func (r *Requirement) applies(session string) bool {
	return r.Session == "" || session == "" || r.Session == session
}

// stricter orders requirements: a revocation before a step-up, then the one that wants the later proof.
func stricter(a, b *Requirement) int {
	if a.Action != b.Action {
		return slices.Index(actions, b.Action) - slices.Index(actions, a.Action)
	}
	if c := b.NotBefore.Compare(a.NotBefore); c != 0 {
		return c
	}
	switch { // any fixed order will do now
	case a.ID < b.ID:
		return -1
	case a.ID > b.ID:
		return 1
	}
	return 0
}

// Kind is how a token came.
type Kind int

// The kinds of tokens.
const (
	// Bearer is an access token in the Authorization header (RFC 6750).
	Bearer Kind = iota
	// DPoP is an access token bound to a key (RFC 9449).
	DPoP
	// Cookie is a browser session of the application itself.
	Cookie
)

// Token is what the application knows about the caller, after it has validated the caller's token or session. Zero means
// that the token does not say, and what a token does not say never satisfies anything.
type Token struct {
	Subject
	Kind Kind
	// AuthTime is when the person last proved identity (`auth_time`).
	AuthTime time.Time
	// IssuedAt is when the token was issued (`iat`).
	IssuedAt time.Time
	// ACR is the authentication context that was reached, ACRS are Entra's (`c1` to `c99`), AMR the methods used.
	ACR  string
	ACRS []string
	AMR  []string
	// Entra marks an access token of Microsoft Entra ID; XMSCC are its client's capabilities (`xms_cc`).
	Entra bool
	XMSCC []string
}

// handlesClaims tells whether the token's client declared that it understands a claims challenge. Clients write the
// capability in either case: azidentity sends CP1.
func (t *Token) handlesClaims() bool {
	return slices.ContainsFunc(t.XMSCC, func(c string) bool { return strings.EqualFold(c, "cp1") })
}

// proved is when the person last proved identity, as far as the token shows. Entra's access tokens rarely say auth_time;
// there the time of issue counts too, because Entra issues no new token to a session before its own conditions are met.
func (t *Token) proved() time.Time {
	if t.Entra && t.IssuedAt.After(t.AuthTime) {
		return t.IssuedAt
	}
	return t.AuthTime
}

// Ranking lists authentication contexts, weakest first, such as {"pwd", "mfa", "phr"}. A token with a context at least as
// strong as one of the acceptable ones will do. A context that is not listed is acceptable only by its name.
type Ranking []string

// accepts tells whether a context is one of the acceptable ones, or at least as strong as the weakest of them.
func (k Ranking) accepts(acr string, acceptable []string) bool {
	if acr == "" {
		return false
	}
	have := slices.Index(k, acr)
	for _, v := range acceptable {
		if v == acr {
			return true
		}
		if want := slices.Index(k, v); want >= 0 && have >= want {
			return true
		}
	}
	return false
}
