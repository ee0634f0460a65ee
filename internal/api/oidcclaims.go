package api

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-io/countersign/internal/events"
)

// leeway is how far the clocks of the provider and of this API may differ.
const leeway = time.Minute

// maxToken bounds a token, in bytes.
const maxToken = 32 << 10

// claims are those of a token that is proven.
type claims struct {
	*oidc.IDToken
	all map[string]any
}

// provenKeys proves signatures with the provider's keys. It remembers when it could not, because go-oidc does not tell.
type provenKeys struct {
	*metadata
	away error
}

// VerifySignature implements [oidc.KeySet].
func (k *provenKeys) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	algorithms := make([]jose.SignatureAlgorithm, len(k.Algorithms))
	for i, a := range k.Algorithms {
		algorithms[i] = jose.SignatureAlgorithm(a)
	}
	signed, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil {
		return nil, err
	}
	if len(signed.Signatures) != 1 {
		return nil, errors.New("is not signed once")
	}
	header := signed.Signatures[0].Protected
	if err := acceptable(header); err != nil {
		return nil, err
	}
	found, err := k.keys.Find(ctx, header.KeyID)
	if err != nil {
		k.away = err
		return nil, err
	}
	for _, key := range found {
		if !key.Signs(header.Algorithm) {
			continue
		}
		payload, err := signed.Verify(key.Key)
		if err != nil {
			continue
		}
		return payload, ofItsIssuer(key.Issuer, payload)
	}
	return nil, errors.New("no key of the provider's has signed it")
}

// acceptable refuses what is no ID token and no access token by its own word (RFC 8725 §3.11).
func acceptable(header jose.Header) error {
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
	case "", "jwt", "at+jwt":
		return nil
	}
	return fmt.Errorf("is another type of token, %.40q", typ)
}

// ofItsIssuer refuses a token that is signed with another issuer's key, where a set holds those of several.
func ofItsIssuer(of string, payload []byte) error {
	var c struct {
		Issuer string `json:"iss"`
		Tenant string `json:"tid"`
	}
	if of == "" {
		return nil
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return err
	}
	if strings.ReplaceAll(of, tenantPlaceholder, c.Tenant) != c.Issuer {
		return errors.New("the key is another issuer's")
	}
	return nil
}

// verify proves a token: signature, issuer, audience and time. The error wraps errAway when the keys are not known now.
func (p *provider) verify(ctx context.Context, m *metadata, raw, audience string) (*claims, error) {
	if len(raw) > maxToken {
		return nil, fmt.Errorf("the token has %d bytes", len(raw))
	}
	keys := &provenKeys{metadata: m}
	token, err := oidc.NewVerifier(p.cfg.Issuer, keys, &oidc.Config{
		ClientID: audience, SupportedSigningAlgs: m.Algorithms,
		SkipIssuerCheck: true, SkipExpiryCheck: true, // below: of several directories, and with a leeway of our own
	}).Verify(ctx, raw)
	switch {
	case keys.away != nil:
		return nil, errors.Join(errAway, keys.away)
	case err != nil:
		return nil, err
	}
	var payload json.RawMessage
	if err := token.Claims(&payload); err != nil {
		return nil, err
	}
	c := &claims{IDToken: token}
	if c.all, err = members(payload); err != nil {
		return nil, err
	}
	var times struct {
		NotBefore *float64 `json:"nbf"`
		Expiry    *float64 `json:"exp"`
		IssuedAt  *float64 `json:"iat"`
	}
	if err := token.Claims(&times); err != nil {
		return nil, err
	}
	now := p.now()
	switch {
	case !p.issued(c):
		return nil, fmt.Errorf("the token is of the issuer %.200q", token.Issuer)
	case token.Subject == "":
		return nil, errors.New("the token has no subject")
	case times.Expiry == nil || !now.Before(token.Expiry.Add(leeway)):
		return nil, errors.New("the token has expired")
	case times.IssuedAt == nil || token.IssuedAt.After(now.Add(leeway)):
		return nil, errors.New("the token is of the future")
	case times.NotBefore != nil && time.Unix(int64(*times.NotBefore), 0).After(now.Add(leeway)):
		return nil, errors.New("the token is not valid yet")
	}
	return c, nil
}

// issued reports whether a token is of the configured issuer, or of one of its directories.
func (p *provider) issued(c *claims) bool {
	if len(p.cfg.IssuerTenants) == 0 {
		return c.Issuer == p.cfg.Issuer
	}
	tenant, _ := c.all["tid"].(string)
	return slices.ContainsFunc(p.cfg.IssuerTenants, func(t string) bool { return strings.EqualFold(t, tenant) }) &&
		c.Issuer == strings.ReplaceAll(p.cfg.Issuer, tenantPlaceholder, tenant)
}

// ofSignIn checks what an ID token of a sign-in must have besides (OpenID Connect Core 1.0 §3.1.3.7).
func (c *claims) ofSignIn(client, nonce string) error {
	azp, _ := c.all["azp"].(string)
	switch {
	case subtle.ConstantTimeCompare([]byte(c.Nonce), []byte(nonce)) != 1:
		return errors.New("the ID token is of another sign-in: its nonce is not ours")
	case azp != "" && azp != client || azp == "" && len(c.Audience) > 1:
		return errors.New("the ID token is for another party")
	}
	return nil
}

// name is what people call whom the token is about.
func (c *claims) name(claim string) string {
	if name, ok := c.all[claim].(string); ok && name != "" && events.ValidLine(name, events.MaxID) == nil {
		return name
	}
	return c.Subject
}

// texts are the values of a claim that is a text or a list of texts. The name may be dotted, for objects in objects.
func (c *claims) texts(claim string) []string {
	switch v := member(c.all, claim).(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, one := range v {
			if s, ok := one.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// member finds a member of that very name, or else one inside of objects by a dotted name.
func member(object map[string]any, name string) any {
	if v, ok := object[name]; ok {
		return v
	}
	first, rest, dotted := strings.Cut(name, ".")
	if inner, ok := object[first].(map[string]any); dotted && ok {
		return member(inner, rest)
	}
	return nil
}

// principal is what the mappings give to whom the token is about; nil is nothing, and why tells a person the reason.
func (p *provider) principal(c *claims) (who *principal, why string) {
	who = &principal{name: c.name(p.cfg.NameClaim), via: events.ViaOIDC, subject: c.Issuer + " " + c.Subject}
	homeless := false
	for _, m := range p.cfg.Mappings {
		claim := m.Claim
		if claim == "" {
			claim = p.cfg.RolesClaim
		}
		if !slices.Contains(c.texts(claim), m.Value) {
			continue
		}
		tenants := m.Tenants
		if len(tenants) == 0 {
			// "*" is for the configuration to give, not for a claim.
			tenants = slices.DeleteFunc(c.texts(p.cfg.TenantsClaim), func(t string) bool { return t == AllTenants || !events.ValidTenant(t) })
		}
		if len(tenants) == 0 {
			homeless = true
			continue
		}
		who.with(m.Role, nil, tenants)
	}
	switch {
	case len(who.grants) > 0:
		return who, ""
	case homeless:
		return nil, "You have a role in countersign, but no tenant that it is for."
	case c.all["_claim_names"] != nil:
		return nil, "You are in more groups than the provider writes into a sign-in, so that your role cannot be seen. Roles of the application do not have this limit."
	}
	return nil, "You are signed in at the provider, but nothing there gives you a role in countersign."
}
