package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// TokenInfo is what may be known of a token.
type TokenInfo struct {
	ID        string        `json:"id"`
	Name      string        `json:"name" doc:"What the audit trail calls its bearer"`
	Role      string        `json:"role,omitempty" enum:"viewer,analyst,admin"`
	Scopes    []string      `json:"scopes" nullable:"false" doc:"All that it may do, its role's included"`
	Tenants   []string      `json:"tenants" nullable:"false" doc:"\"*\" is all"`
	CreatedBy string        `json:"created_by"`
	Created   events.Millis `json:"created"`
	Expires   events.Millis `json:"expires"`
	Revoked   events.Millis `json:"revoked,omitempty"`
	RevokedBy string        `json:"revoked_by,omitempty"`
	State     string        `json:"state" enum:"active,expired,revoked"`
}

func infoOf(t *accessToken, now events.Millis) TokenInfo {
	i := TokenInfo{
		ID: t.ID, Name: t.Name, Role: t.Role, Scopes: t.who.scopes(), Tenants: slices.Clone(t.Tenants), CreatedBy: t.CreatedBy, Created: t.Created,
		Expires: t.Expires, Revoked: t.Revoked, RevokedBy: t.RevokedBy, State: "active",
	}
	switch {
	case t.Revoked != 0:
		i.State = "revoked"
	case t.Expires <= now:
		i.State = "expired"
	}
	return i
}

type tokensAnswer struct {
	Body struct {
		Tokens []TokenInfo `json:"tokens" nullable:"false" doc:"Newest first; those that ended more than 30 days ago are forgotten"`
	}
}

// NewToken is what a token is to be.
type NewToken struct {
	Name        string   `json:"name" minLength:"1" maxLength:"128" doc:"For people; no other token that works has it"`
	Role        string   `json:"role,omitempty" enum:"viewer,analyst,admin" doc:"Gives its scopes; others may be added"`
	Scopes      []string `json:"scopes,omitempty" nullable:"false" maxItems:"16" enum:"read,timeline,triage,backtest,export,operate,audit,erase,admin"`
	Tenants     []string `json:"tenants" nullable:"false" minItems:"1" maxItems:"100" doc:"\"*\" is all; only those that you have"`
	ExpiresDays int      `json:"expires_days" minimum:"1" maximum:"3650" doc:"Not more than the configuration allows"`
}

type tokenOrder struct{ Body NewToken }

type tokenCreated struct {
	Location string `header:"Location"`
	Body     struct {
		TokenInfo
		Token string `json:"token" doc:"The secret. It is shown this once and kept nowhere."`
	}
}

type tokenQuestion struct {
	ID string `path:"id" pattern:"^[0-9a-f]{32}$"`
}

func (a *API) describeTokens(api huma.API) {
	register(a, api, "tokens", "/v1/tokens", "The API's own tokens", ScopeAdmin, a.tokens, aside)
	register(a, api, "token-create", "POST /v1/tokens", "Make a token; its secret is shown once", ScopeAdmin, a.createToken, aside,
		answering(http.StatusCreated), refusing(http.StatusConflict))
	register(a, api, "token-revoke", "DELETE /v1/tokens/{id}", "Revoke a token, for ever and everywhere at once", ScopeAdmin, a.revokeToken, aside,
		refusing(http.StatusNotFound))
}

func (a *API) tokens(ctx context.Context, who *principal, _ *nothing) (*tokensAnswer, error) {
	if err := a.manageTokens(); err != nil {
		return nil, err
	}
	if err := a.audit(ctx, who, events.AuditEntry{Action: "token.list"}); err != nil {
		return nil, err
	}
	answer := &tokensAnswer{}
	answer.Body.Tokens = []TokenInfo{}
	for _, t := range a.gate.access.list(caller(ctx)) {
		answer.Body.Tokens = append(answer.Body.Tokens, infoOf(t, now()))
	}
	return answer, nil
}

// manageTokens reports whether the tokens are known, as an answer.
func (a *API) manageTokens() error {
	if !a.gate.access.ready(time.Now()) {
		return unavailable(logAway, "The tokens are on the log, which is not available now. Ask again soon.")
	}
	return nil
}

// createToken makes a token that may do nothing that its maker may not, and that lives no longer than the token that its maker
// came in with.
func (a *API) createToken(ctx context.Context, who *principal, q *tokenOrder) (*tokenCreated, error) {
	if err := a.manageTokens(); err != nil {
		return nil, err
	}
	order, at := q.Body, time.Now()
	ends := at.Add(time.Duration(order.ExpiresDays) * 24 * time.Hour)
	t := accessToken{
		ID: hexID(), Name: strings.TrimSpace(order.Name), Role: order.Role, Scopes: slices.Compact(slices.Sorted(slices.Values(order.Scopes))),
		Tenants: slices.Compact(slices.Sorted(slices.Values(order.Tenants))), CreatedBy: who.name, Created: events.MillisOf(at), Expires: events.MillisOf(ends),
	}
	whole := newPrincipal(t.Name, events.ViaToken, t.Role, t.Scopes, t.Tenants)
	me := visitOf(ctx)
	switch {
	case t.Name == "" || events.ValidLine(t.Name, events.MaxID) != nil:
		return nil, wrong("name", "must be a line of text", order.Name)
	case len(whole.scopes()) == 0:
		return nil, wrong("scopes", "name a role or at least one scope", order.Scopes)
	case slices.ContainsFunc(t.Tenants, func(s string) bool { return s != AllTenants && !events.ValidTenant(s) }):
		return nil, wrong("tenants", "has one that is no tenant", order.Tenants)
	case ends.After(at.Add(a.cfg.MaxTokenTTL)):
		return nil, wrong("expires_days", fmt.Sprintf("may be %d at most here", a.cfg.MaxTokenTTL/(24*time.Hour)), order.ExpiresDays)
	case !me.tokenEnds.IsZero() && ends.After(me.tokenEnds):
		return nil, wrong("expires_days", "is longer than the token lives that you came in with", order.ExpiresDays)
	case !me.who.covers(whole.scopes(), whole.tenants):
		a.note(ctx, events.AuditEntry{Action: "token.create", Target: t.ID, Detail: describeToken(&t), Outcome: events.AuditRefused})
		return nil, huma.Error403Forbidden("A token may do nothing that you may not: you lack one of its scopes for one of its tenants.")
	case a.nameTaken(t.Name):
		return nil, huma.Error409Conflict("There is a token of this name. Choose another, so that the audit trail tells them apart.")
	case a.gate.access.working(now()) >= maxAccessTokens:
		return nil, huma.Error409Conflict(fmt.Sprintf("There are %d tokens that work; revoke some first.", maxAccessTokens))
	}
	secret := newSecret()
	sum := sha256.Sum256([]byte(secret))
	t.SHA256 = hex.EncodeToString(sum[:])
	entry := events.AuditEntry{Action: "token.create", Target: t.ID, Detail: describeToken(&t)}
	if err := a.audit(ctx, who, entry); err != nil {
		return nil, err
	}
	if err := a.writeAccess(ctx, t); err != nil {
		entry.Outcome = events.AuditFailed
		a.note(ctx, entry)
		return nil, err
	}
	t.who = whole
	answer := &tokenCreated{Location: "/v1/tokens/" + t.ID}
	answer.Body.TokenInfo, answer.Body.Token = infoOf(&t, now()), secret
	return answer, nil
}

// wrong is a body's field that cannot be taken.
func wrong(field, message string, value any) error {
	return huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "body." + field, Message: message, Value: value})
}

// describeToken is for the audit trail.
func describeToken(t *accessToken) string {
	return fmt.Sprintf("%q: role %q, scopes %s, tenants %s, until %s", t.Name, t.Role, strings.Join(t.Scopes, " "), strings.Join(t.Tenants, " "),
		t.Expires.Time().UTC().Format(time.DateOnly))
}

// hexID is an id of 128 random bits.
func hexID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func (a *API) nameTaken(name string) bool {
	if slices.ContainsFunc(a.cfg.Tokens, func(t Token) bool { return t.Name == name }) {
		return true
	}
	a.gate.access.mu.RLock()
	defer a.gate.access.mu.RUnlock()
	at := now()
	for _, t := range a.gate.access.byID {
		if t.Name == name && !t.ended(at) {
			return true
		}
	}
	return false
}

func (a *API) revokeToken(ctx context.Context, who *principal, q *tokenQuestion) (*nothing, error) {
	if err := a.manageTokens(); err != nil {
		return nil, err
	}
	list := a.gate.access.list(caller(ctx))
	i := slices.IndexFunc(list, func(t *accessToken) bool { return t.ID == q.ID })
	if i < 0 {
		return nil, a.refusal(report.ErrNotFound)
	}
	t := *list[i]
	if t.Revoked != 0 {
		return &nothing{}, nil
	}
	entry := events.AuditEntry{Action: "token.revoke", Target: t.ID, Detail: describeToken(&t)}
	if err := a.audit(ctx, who, entry); err != nil {
		return nil, err
	}
	t.Revoked, t.RevokedBy = now(), who.name
	if err := a.writeAccess(ctx, t); err != nil {
		entry.Outcome = events.AuditFailed
		a.note(ctx, entry)
		return nil, err
	}
	return &nothing{}, nil
}
