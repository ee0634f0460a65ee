package idp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Claims are those of the provider's tokens. What a kind of token does not have is zero.
type Claims struct {
	jwt.Claims
	ClientID string           `json:"client_id,omitempty"`
	Tenant   string           `json:"tenant,omitempty"`
	Session  string           `json:"sid,omitempty"`
	Name     string           `json:"name,omitempty"`
	Nonce    string           `json:"nonce,omitempty"`
	AuthTime *jwt.NumericDate `json:"auth_time,omitempty"`
	ACR      string           `json:"acr,omitempty"`
	AMR      []string         `json:"amr,omitempty"`
	// Of Entra-like access tokens.
	TenantID string   `json:"tid,omitempty"`
	ACRS     []string `json:"acrs,omitempty"`
	XMSCC    []string `json:"xms_cc,omitempty"`
}

func (p *Provider) newSigner(typ jose.ContentType) (jose.Signer, error) {
	key := jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: p.key, KeyID: p.keyID}}
	s, err := jose.NewSigner(key, new(jose.SignerOptions).WithType(typ))
	if err != nil {
		return nil, fmt.Errorf("making a signer: %w", err)
	}
	return s, nil
}

// token exchanges a code for tokens.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_request"})
		return
	}
	f := r.PostForm
	if f.Get("grant_type") != "authorization_code" {
		answer(w, http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
		return
	}
	g, ok := p.codes.Take(f.Get("code")) // a code works once, also for who guesses the rest wrong
	sum := sha256.Sum256([]byte(f.Get("code_verifier")))
	verifier := base64.RawURLEncoding.EncodeToString(sum[:])
	if !ok || g.Client.ID != f.Get("client_id") || g.redirectURI != f.Get("redirect_uri") ||
		subtle.ConstantTimeCompare([]byte(verifier), []byte(g.challenge)) != 1 {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	access, id, err := p.tokens(&g, time.Now())
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"error": "server_error"})
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"access_token": access, "id_token": id, "token_type": "Bearer", "expires_in": int(tokenLifetime / time.Second),
	})
}

func (p *Provider) tokens(g *grant, now time.Time) (access, id string, err error) {
	s := &g.session
	registered := func(audience string) jwt.Claims {
		return jwt.Claims{
			Issuer: p.cfg.Issuer, Subject: s.user.ID, Audience: jwt.Audience{audience}, ID: rand.Text(),
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(tokenLifetime)),
		}
	}
	authTime := jwt.NewNumericDate(s.authTime)
	at := Claims{Claims: registered(g.Client.Audience), ClientID: g.Client.ID, Session: s.id, AMR: s.amr}
	if g.Client.Entra {
		at.TenantID, at.XMSCC, at.ACR = p.cfg.Tenant, g.capabilities, "1"
		for context, class := range contexts {
			if atLeast(s.acr, class) {
				at.ACRS = append(at.ACRS, context)
			}
		}
	} else {
		at.Tenant, at.AuthTime, at.ACR = p.cfg.Tenant, authTime, s.acr
	}
	if access, err = jwt.Signed(p.signer).Claims(at).Serialize(); err != nil {
		return "", "", fmt.Errorf("signing the access token: %w", err)
	}
	it := Claims{
		Claims: registered(g.Client.ID), Tenant: p.cfg.Tenant, Session: s.id, Name: s.user.Name, Nonce: g.nonce,
		AuthTime: authTime, ACR: s.acr, AMR: s.amr,
	}
	if id, err = jwt.Signed(p.idSigner).Claims(it).Serialize(); err != nil {
		return "", "", fmt.Errorf("signing the ID token: %w", err)
	}
	return access, id, nil
}

func (p *Provider) jwks(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: &p.key.PublicKey, KeyID: p.keyID, Algorithm: string(jose.RS256), Use: "sig"},
	}})
}

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	issuer := p.cfg.Issuer
	answer(w, http.StatusOK, map[string]any{
		"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
		"jwks_uri": p.JWKSURL(), "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{string(jose.RS256)}, "scopes_supported": []string{"openid"},
		"code_challenge_methods_supported": []string{"S256"}, "token_endpoint_auth_methods_supported": []string{"none"},
		"acr_values_supported": ranking, "claims_parameter_supported": true, "prompt_values_supported": []string{"none", "login"},
		"authorization_response_iss_parameter_supported": true,
	})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}
