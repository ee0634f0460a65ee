package api

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/outbound"
)

// OIDC lets people sign in with an OpenID Connect provider, and programs with its tokens. Without an issuer it is off.
type OIDC struct {
	// Issuer is the provider's, as its tokens have it. "{tenantid}" in it stands for one of IssuerTenants: that is how Entra
	// ID names itself to applications of several directories.
	Issuer        string   `yaml:"issuer"`
	IssuerTenants []string `yaml:"issuer_tenants"`
	// Label is what the page calls the provider.
	Label string `yaml:"label"`
	// ClientID is the dashboard's at the provider; ClientSecretFile holds its secret. A public client has none.
	ClientID         string `yaml:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file"`
	// RedirectURL is where the provider sends browsers back to: this API's address with the path /oidc/return.
	RedirectURL string `yaml:"redirect_url"`
	// Scopes are asked for; openid is one of them.
	Scopes []string `yaml:"scopes"`
	// NameClaim is what the audit trail calls a person: one that people cannot choose for themselves. The subject stands in
	// where it is missing.
	NameClaim string `yaml:"name_claim"`
	// RolesClaim holds the roles of a person: a text or a list of texts. A dotted name goes into objects: realm_access.roles.
	RolesClaim string `yaml:"roles_claim"`
	// TenantsClaim holds the tenants that a person may see, for mappings that name none.
	TenantsClaim string `yaml:"tenants_claim"`
	// Mappings say what gives which role. Who has none does not get in.
	Mappings []RoleMapping `yaml:"mappings"`
	// AcceptBearer takes the provider's tokens as bearer tokens too, when they are for Audience.
	AcceptBearer bool   `yaml:"accept_bearer"`
	Audience     string `yaml:"audience"`
	// Help is whom to ask for access, as a text for people.
	Help string `yaml:"help"`
	// Outbound is for requests to the provider; allow_networks names private networks that it is in.
	Outbound outbound.Config `yaml:"outbound"`
}

// RoleMapping gives a role to whom a claim holds a value.
type RoleMapping struct {
	// Claim is roles_claim when empty.
	Claim string `yaml:"claim"`
	Value string `yaml:"value"`
	Role  string `yaml:"role"`
	// Tenants are those that the role is for; "*" is all. Without any, those of tenants_claim.
	Tenants []string `yaml:"tenants"`
}

// DefaultOIDC is off.
func DefaultOIDC() OIDC {
	return OIDC{
		Scopes: []string{"openid", "profile"}, NameClaim: "preferred_username", RolesClaim: "roles", Outbound: outbound.DefaultConfig(),
		Help: "Ask whoever runs countersign at your organization.",
	}
}

// tenantPlaceholder is for the directory in an issuer of many.
const tenantPlaceholder = "{tenantid}"

// oidcReturnPath is where a provider sends browsers back to.
const oidcReturnPath = "/oidc/return"

// Validate reports every problem at once.
func (c OIDC) Validate() error {
	if c.Issuer == "" {
		return nil
	}
	errs := []error{}
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if u, err := url.Parse(strings.ReplaceAll(c.Issuer, tenantPlaceholder, "x")); err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		add("issuer: is %.100q, must be an https URL without query, as the provider's tokens have it", c.Issuer)
	}
	if strings.Contains(c.Issuer, tenantPlaceholder) != (len(c.IssuerTenants) > 0) {
		add("issuer_tenants: names the directories that %s in issuer may stand for; set both or neither", tenantPlaceholder)
	}
	for _, t := range c.IssuerTenants {
		if t == "" || strings.Trim(t, "0123456789abcdefABCDEF-") != "" {
			add("issuer_tenants: %.60q is no id of a directory", t)
		}
	}
	if c.ClientID == "" {
		add("client_id: is empty, must be the dashboard's at the provider")
	}
	if problem := redirectProblem(c.RedirectURL); problem != "" {
		add("redirect_url: is %.100q, %s", c.RedirectURL, problem)
	}
	if !slices.Contains(c.Scopes, "openid") {
		add("scopes: is %v, must hold openid", c.Scopes)
	}
	if len(c.Mappings) == 0 {
		add("mappings: empty, so nobody would get in; say which value of which claim gives which role")
	}
	for i, m := range c.Mappings {
		path := fmt.Sprintf("mappings[%d]", i)
		if m.Claim == "" && c.RolesClaim == "" {
			add("%s.claim: is empty, and so is roles_claim", path)
		}
		if m.Value == "" {
			add("%s.value: is empty", path)
		}
		if !slices.Contains(Roles, m.Role) {
			add("%s.role: is %.40q, must be one of %s", path, m.Role, Roles)
		}
		if len(m.Tenants) == 0 && c.TenantsClaim == "" {
			add("%s.tenants: empty, name the tenants that the role is for, or %q, or set tenants_claim", path, AllTenants)
		}
		for _, t := range m.Tenants {
			if t != AllTenants && !events.ValidTenant(t) {
				add("%s.tenants: %.80q is no tenant", path, t)
			}
		}
	}
	if c.AcceptBearer != (c.Audience != "") {
		add("audience: is for accept_bearer, set both or neither")
	}
	if err := c.Outbound.Validate(); err != nil {
		add("outbound.%w", err)
	}
	return errors.Join(errs...)
}

// redirectProblem says what is wrong with an address to come back to.
func redirectProblem(address string) string {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return "must be an address of this API"
	case u.Path != oidcReturnPath:
		return "must have the path " + oidcReturnPath
	case u.Scheme == "https":
		return ""
	case u.Scheme == "http" && loopback(u.Hostname()):
		return ""
	}
	return "must be https, except on localhost"
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// secret reads the client's secret; "" is a public client.
func (c OIDC) secret() (string, error) {
	if c.ClientSecretFile == "" {
		return "", nil
	}
	raw, err := os.ReadFile(c.ClientSecretFile)
	if err != nil {
		return "", fmt.Errorf("oidc.client_secret_file: %w", err)
	}
	secret := strings.TrimSpace(string(raw))
	if secret == "" {
		return "", fmt.Errorf("oidc.client_secret_file: %s is empty", c.ClientSecretFile)
	}
	return secret, nil
}
