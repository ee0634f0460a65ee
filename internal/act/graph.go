package act

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// graphAPI asks Microsoft Graph by plain REST: the SDK for it is too large to link.
type graphAPI struct {
	kind, base string
	client     *upstream.Client
	tokens     *upstream.Tokens
}

func newGraph(kind string, a *GraphAccount, client *http.Client) (source, error) {
	base, authority := a.addresses()
	g := &graphAPI{
		kind: kind, base: base, client: upstream.New(upstream.Config{HTTP: client, Base: base, MaxBody: maxAnswer}),
		tokens: &upstream.Tokens{
			HTTP: client, URL: authority + "/" + url.PathEscape(a.Directory) + "/oauth2/v2.0/token", ClientID: a.ClientID,
			SecretFile: a.SecretFile, Scopes: []string{base + "/.default"}, Style: oauth2.AuthStyleInParams,
		},
	}
	var err error
	switch {
	case a.CertificateFile != "":
		prove := func() (string, error) { return certified(a.CertificateFile, a.ClientID, g.tokens.URL) }
		_, err = prove()
		g.tokens.Assertion = prove
	case a.TokenFile != "":
		prove := func() (string, error) { return upstream.ReadSecret(a.TokenFile) }
		_, err = prove()
		g.tokens.Assertion = prove
	default:
		_, err = upstream.ReadSecret(a.SecretFile)
	}
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", a.Name, err)
	}
	return g, nil
}

// certified is the signed statement by which an app proves that it has its certificate.
func certified(file, clientID, audience string) (string, error) {
	text, err := upstream.ReadSecret(file)
	if err != nil {
		return "", err
	}
	var certificate []byte
	for rest := []byte(text); certificate == nil; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return "", fmt.Errorf("%s holds no certificate in PEM", file)
		}
		if block.Type == "CERTIFICATE" {
			certificate = block.Bytes
		}
	}
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		return "", fmt.Errorf("reading the certificate of %s: %w", file, err)
	}
	key, err := upstream.ParsePrivateKey(text)
	if err != nil {
		return "", fmt.Errorf("%s %w", file, err)
	}
	algorithm := jose.PS256
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if !k.PublicKey.Equal(parsed.PublicKey) {
			return "", fmt.Errorf("%s holds a private key that is not the certificate's", file)
		}
	case *ecdsa.PrivateKey:
		return "", fmt.Errorf("%s holds an elliptic key, must hold an RSA key: Entra ID takes no other", file)
	default:
		return "", fmt.Errorf("%s holds no RSA key", file)
	}
	digest := sha256.Sum256(certificate)
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("x5t#S256", base64.RawURLEncoding.EncodeToString(digest[:]))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		return "", fmt.Errorf("signing with %s: %w", file, err)
	}
	return upstream.Assertion(signer, clientID, audience, time.Now())
}

func (g *graphAPI) request(c *revocation.Claims) (request, error) {
	if !guid.MatchString(c.User) {
		return request{}, errors.New("the user's id is no object id of Entra ID")
	}
	if g.kind == GraphRevoke {
		return request{method: http.MethodPost, address: g.base + "/v1.0/users/" + c.User + "/revokeSignInSessions"}, nil
	}
	verb := "confirmCompromised"
	if g.kind == GraphDismiss {
		verb = "dismiss"
	}
	body, err := json.Marshal(map[string][]string{"userIds": {c.User}})
	return request{method: http.MethodPost, address: g.base + "/v1.0/identityProtection/riskyUsers/" + verb, body: body}, err
}

func (g *graphAPI) send(ctx context.Context, r request) error {
	answer, err := g.client.Authorized(ctx, g.tokens, r.method, r.address, r.body)
	if err != nil {
		return err
	}
	var said struct {
		Value *bool `json:"value"`
	}
	if json.Unmarshal(answer.Body, &said) == nil && said.Value != nil && !*said.Value {
		return &upstream.Error{Status: answer.Status, Err: errors.New("according to Graph it was not done")}
	}
	return nil
}

func (g *graphAPI) receipt() (string, events.ReceiptStatus) {
	if g.kind == GraphRevoke {
		return "graph", events.Revoked
	}
	return "graph", events.Delivered
}

// enough are the application permissions one of which a kind needs, the least first.
var enough = map[string][]string{
	GraphRevoke:      {"User.RevokeSessions.All", "User.ReadWrite.All", "Directory.ReadWrite.All"},
	GraphCompromised: {"IdentityRiskyUser.ReadWrite.All"},
	GraphDismiss:     {"IdentityRiskyUser.ReadWrite.All"},
}

// check looks at the permissions in the access token. To read a risky user also shows that the directory has a licence for
// them; to read users is no permission that the end of sessions needs, so it is tried only where the token cannot be read.
func (g *graphAPI) check(ctx context.Context) (string, error) {
	token, err := g.tokens.Get(ctx)
	if err != nil {
		return "", err
	}
	roles, readable := rolesOf(token)
	need := enough[g.kind]
	if readable && !slices.ContainsFunc(need, func(role string) bool { return slices.Contains(roles, role) }) {
		return "", fmt.Errorf("the application permission %s is missing; the app has %q", need[0], roles)
	}
	probe := "/v1.0/identityProtection/riskyUsers?$top=1&$select=id"
	if g.kind == GraphRevoke {
		if readable {
			return "", nil
		}
		probe = "/v1.0/users?$top=1&$select=id"
	}
	_, err = g.client.Authorized(ctx, g.tokens, http.MethodGet, g.base+probe, nil)
	if err == nil && !readable {
		return "the access token does not show its permissions; needed is " + need[0], nil
	}
	return "", err
}

// rolesOf are the application permissions that an access token shows. It is not verified: it came from the authority.
func rolesOf(token string) (roles []string, readable bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, false
	}
	var claims struct {
		Roles []string `json:"roles"`
	}
	readable = json.Unmarshal(payload, &claims) == nil
	return claims.Roles, readable
}
