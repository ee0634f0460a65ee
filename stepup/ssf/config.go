package stepupssf

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/stepup"
)

// Delivery is how the transmitter's SETs come.
type Delivery string

// The deliveries.
const (
	// Push: the transmitter posts them to [Receiver.ServeHTTP] (RFC 8935).
	Push Delivery = "push"
	// Poll: the receiver asks for them (RFC 8936). It needs no address of its own that the transmitter can reach.
	Poll Delivery = "poll"
)

// Config configures a [Receiver]. The zero value of a field means its default.
type Config struct {
	// Issuer is the transmitter's issuer, exactly as it writes it; there is no default. Its metadata are at the well-known
	// address (SSF 1.0 §7.2), unless MetadataURL names another.
	Issuer, MetadataURL string
	// Audience are the `aud` values of this receiver; a SET must have one. Default: that of the stream's configuration.
	Audience []string
	// Delivery must be Push or Poll.
	Delivery Delivery

	// PushURL is where the transmitter reaches ServeHTTP. Required with Push.
	PushURL string
	// AuthorizationFile holds the whole value of the Authorization header that comes with every push, such as
	// "Bearer x7…", at least 20 characters; it is given to the transmitter with the stream's configuration. Without it
	// pushes are known by their signature only. New reads it.
	AuthorizationFile string
	// PollURL is the stream's endpoint_url where the transmitter has no stream management; it is not needed otherwise.
	PollURL string

	// StreamID is the stream to use. Without it one is found or made: the one with PushURL, or with Poll the one with
	// Description, else a new one, else, where the transmitter grants no second, the one there is.
	StreamID string
	// Description names the stream at the transmitter. Instances that poll need one each, such as the host's name: two with
	// the same would take each other's SETs. So with Poll it is required, unless StreamID or PollURL says which stream it
	// is. Default "stepup" with Push.
	Description string
	// Events are the event types to ask for. Default: step-up-required, unless ThirdParty is set, session-revoked,
	// assurance-level-change, risk-level-change, credential-change and device-compliance-change.
	Events []string

	// Token returns the bearer token for the transmitter's management and poll endpoints; renew says that the last one was
	// refused. ClientCredentials gets one by OAuth 2.0. One of the two, unless the transmitter has no such endpoints.
	Token             func(ctx context.Context, renew bool) (string, error)
	ClientCredentials *ClientCredentials

	// ThirdParty says that the transmitter is not countersign: then countersign's own members in its events mean nothing,
	// so that it can close no requirement of countersign, and its signs of life do not make the index fresh.
	ThirdParty bool
	// Tenant stands in for the tenant of subjects that name none, and no other one is accepted. It may be empty for
	// countersign's own streams, whose subjects name theirs.
	Tenant string
	// Subject says who is meant by a subject identifier. Its error may be [ErrUnknownSubject] or [ErrForeignSubject];
	// after any other the transmitter is to send the SET again. It must not take long. Default: the user is an opaque id,
	// or the `sub` at Issuer or one of SubjectIssuers; the session is an opaque id; anything else is ErrUnknownSubject.
	Subject func(ctx context.Context, id SubjectIdentifier) (stepup.Subject, error)
	// SubjectIssuers are the identity providers whose `sub` names a user, besides Issuer: the `iss` of the application's
	// own tokens, where the transmitter names users by iss_sub.
	SubjectIssuers []string
	// SubjectMembers are the members of complex subjects that Subject takes into account, besides tenant, user and session.
	// An event with another one that the transmitter declares critical is discarded, as SSF demands.
	SubjectMembers []string
	// HighRisk and LowerAssurance say what is required after a plain risk-level-change to HIGH of a user or session, and
	// after a plain assurance-level-change that is a decrease. Without one such events go to OnEvent.
	HighRisk, LowerAssurance *Demand

	// Store keeps what was accepted: see [OpenStore]. There is no default; [NoStore] is for tests, and for applications
	// that get the same decisions from Kafka as well.
	Store Store

	// Algorithms are those that SETs may be signed by: RS256, PS256, ES256. Default RS256, as the interoperability
	// profile demands.
	Algorithms []string
	// MaxSkew is how far in the future `iat` may be: default 1 minute. A SET that is further ahead has to come again, for a
	// clock that is slow is put right sooner or later; one that is more than a day ahead is refused. MaxAge is how old a SET may be: default 7 days.
	// A SET is known as a repeat that long.
	MaxSkew, MaxAge time.Duration

	// MaxEvents bounds the SETs of one poll. Default 100, at most 1000.
	MaxEvents int
	// ShortPoll asks the transmitter to answer at once instead of holding the request until there is something.
	ShortPoll bool
	// RedeliverAfter is how long the transmitter waits for acknowledgements until it sends SETs again. An answer may be lost
	// on its way, and then nothing says that SETs are on hold there: that long after a poll that failed, or a SET that could
	// not be accepted, an empty answer does not keep the index fresh. Default 30 seconds, as at countersign.
	RedeliverAfter time.Duration
	// PollInterval is the pause after an answer that brought nothing new, unless the transmitter has held it so long
	// itself. Default 2 seconds.
	PollInterval time.Duration
	// VerifyEvery is how often the transmitter is asked for a verification SET; its min_verification_interval may make it
	// longer. Default 15 seconds with Push, whose only sign of life it is, and 1 minute with Poll.
	VerifyEvery time.Duration
	// VerifyWithin is how long one may take to come. Default 30 seconds; then the stream counts as dead.
	VerifyWithin time.Duration

	// HTTP sends the requests to the transmitter; set its transport's roots for a private authority. Redirects are not
	// followed, and every request has a time limit in any case.
	HTTP *http.Client
	// PlainHTTP allows http addresses, for tests and for a transmitter on this very machine.
	PlainHTTP bool

	// Applied is called after an event has changed the index; OnEvent is called for every accepted event that asks for no
	// requirement, such as credential-change and device-compliance-change. Run calls them, one call at a time, once for
	// each SET, or again when the application ended before the call was noted.
	Applied func(stepup.Claims)
	OnEvent func(Event)
	// StateChanged is told when the stream's state changes, with the reason, one call at a time; it must not block. An application alerts on
	// [StateDead], and on paused and disabled.
	StateChanged func(s State, reason string)
	// Logger is told about what is wrong; nil is fine.
	Logger *slog.Logger
}

// ClientCredentials is how to get a token by the client credentials grant of OAuth 2.0 (RFC 6749 §4.4).
type ClientCredentials struct {
	// TokenURL is the token endpoint.
	TokenURL, ClientID string
	// ClientSecretFile holds the secret; it is read for every new token. One trailing line break is ignored.
	ClientSecretFile string
	// Scopes default to ssf.manage and ssf.read.
	Scopes []string
}

// Demand is what a plain CAEP event requires of its subject.
type Demand struct {
	// Action defaults to a step-up.
	Action stepup.Action
	// ACRValues and MaxAge are as in [stepup.Requirement].
	ACRValues []string
	MaxAge    int
	// Lifetime is when the requirement ends by itself. Default [stepup.DefaultLifetime]. A lower risk or a higher level
	// ends nothing before: a token that satisfies does.
	Lifetime time.Duration
	// Severity and Reason explain it; Reason is for the person concerned.
	Severity, Reason string
}

// The event types that are asked for unless Config.Events says otherwise, besides those of package stepup.
const (
	EventCredentialChange       = caep + "credential-change"
	EventDeviceComplianceChange = caep + "device-compliance-change"

	caep = "https://schemas.openid.net/secevent/caep/event-type/"
	own  = "https://schemas.openid.net/secevent/ssf/event-type/"

	eventVerification  = own + "verification"
	eventStreamUpdated = own + "stream-updated"
)

const (
	defaultMaxEvents = 100
	mostEvents       = 1000
	minAuthorization = 20
	maxSecret        = 16 << 10
	// usuallyHeld is how long transmitters hold a poll, countersign among them.
	usuallyHeld = 30 * time.Second
)

// withDefaults checks the configuration, reads no file, and fills in what it leaves out.
func (c Config) withDefaults() (Config, error) {
	var problems []error
	bad := func(field string, is any, must string) {
		problems = append(problems, fmt.Errorf("%s: is %.200q, must be %s", field, fmt.Sprint(is), must))
	}
	address := func(field, v string, needed bool) {
		if problem := c.addressProblem(v); problem != "" && (needed || v != "") {
			bad(field, v, problem)
		}
	}
	address("Issuer", c.Issuer, true)
	if u, err := url.Parse(c.Issuer); err == nil && (u.RawQuery != "" || u.Fragment != "") {
		bad("Issuer", c.Issuer, "an address without query and fragment")
	}
	address("MetadataURL", c.MetadataURL, false)
	address("PushURL", c.PushURL, c.Delivery == Push)
	address("PollURL", c.PollURL, false)
	switch {
	case c.Delivery != Push && c.Delivery != Poll:
		bad("Delivery", c.Delivery, "push or poll")
	case c.Delivery == Poll && (c.PushURL != "" || c.AuthorizationFile != ""):
		bad("PushURL, AuthorizationFile", c.PushURL+c.AuthorizationFile, "left out with poll")
	case c.Delivery == Poll && c.Description == "" && c.StreamID == "" && c.PollURL == "":
		bad("Description", "", "this instance's own name with poll, such as the host's")
	case c.Delivery == Push && c.PollURL != "":
		bad("PollURL", c.PollURL, "left out with push")
	}
	if c.Token != nil && c.ClientCredentials != nil {
		bad("Token", "set", "left out with ClientCredentials")
	}
	if cc := c.ClientCredentials; cc != nil {
		address("ClientCredentials.TokenURL", cc.TokenURL, true)
		if cc.ClientID == "" || cc.ClientSecretFile == "" {
			problems = append(problems, errors.New("ClientCredentials: ClientID and ClientSecretFile must be set"))
		}
	}
	if slices.Contains(c.SubjectIssuers, "") {
		bad("SubjectIssuers", "", "names")
	}
	if c.Store == nil {
		problems = append(problems, errors.New("Store: is missing, open one with OpenStore"))
	}
	for _, alg := range c.Algorithms {
		if !slices.Contains([]string{"RS256", "PS256", "ES256"}, alg) {
			bad("Algorithms", alg, "RS256, PS256 or ES256")
		}
	}
	for name, d := range map[string]*Demand{"HighRisk": c.HighRisk, "LowerAssurance": c.LowerAssurance} {
		if d != nil && (d.MaxAge < 0 || d.Lifetime < 0 || !slices.Contains([]stepup.Action{"", stepup.ActionStepUp, stepup.ActionRevokeSession, stepup.ActionRevokeAll}, d.Action)) {
			bad(name, d.Action, "a demand with an action that is known, and no negative number")
		}
	}
	for name, d := range map[string]time.Duration{
		"MaxSkew": c.MaxSkew, "MaxAge": c.MaxAge, "PollInterval": c.PollInterval, "RedeliverAfter": c.RedeliverAfter, "VerifyEvery": c.VerifyEvery, "VerifyWithin": c.VerifyWithin,
	} {
		if d < 0 {
			bad(name, d, "positive")
		}
	}
	if c.MaxEvents < 0 || c.MaxEvents > mostEvents {
		bad("MaxEvents", c.MaxEvents, fmt.Sprint("1 to ", mostEvents))
	}
	if c.ThirdParty && c.Tenant == "" && c.Subject == nil {
		bad("Tenant", "", "set when ThirdParty is, and Subject is not")
	}
	if err := errors.Join(problems...); err != nil {
		return c, fmt.Errorf("stepupssf: %w", err)
	}
	c.Description = cmp.Or(c.Description, "stepup")
	if len(c.Events) == 0 {
		c.Events = []string{
			stepup.EventStepUpRequired, stepup.EventSessionRevoked, stepup.EventAssuranceLevelChange, stepup.EventRiskLevelChange,
			EventCredentialChange, EventDeviceComplianceChange,
		}
		if c.ThirdParty {
			c.Events = c.Events[1:]
		}
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = []string{"RS256"}
	}
	c.MaxSkew = cmp.Or(c.MaxSkew, time.Minute)
	c.MaxAge = cmp.Or(c.MaxAge, 7*24*time.Hour)
	c.MaxEvents = cmp.Or(c.MaxEvents, defaultMaxEvents)
	c.PollInterval = cmp.Or(c.PollInterval, 2*time.Second)
	if c.VerifyEvery == 0 {
		c.VerifyEvery = map[Delivery]time.Duration{Push: 15 * time.Second, Poll: time.Minute}[c.Delivery]
	}
	c.RedeliverAfter = cmp.Or(c.RedeliverAfter, 30*time.Second)
	c.VerifyWithin = cmp.Or(c.VerifyWithin, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	client := http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		DialContext: (&net.Dialer{Timeout: askTimeout, KeepAlive: 15 * time.Second}).DialContext, TLSHandshakeTimeout: askTimeout,
		IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 4,
		// A poll that is held on a connection that is gone must not be waited for.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}}
	if c.HTTP != nil {
		client = *c.HTTP
	}
	// An answer that leads elsewhere would carry the token there.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.HTTP = &client
	return c, nil
}

// apart is how far signs of life are apart while all is well, as far as it is known here.
func (c *Config) apart() time.Duration {
	switch {
	case c.Delivery == Push:
		return c.VerifyEvery
	case c.ShortPoll:
		return c.PollInterval
	}
	return usuallyHeld
}

// addressProblem says what an address must be; "" when it is that.
func (c *Config) addressProblem(v string) string {
	u, err := url.Parse(v)
	switch {
	case err == nil && u.Host != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && c.PlainHTTP):
		return ""
	case c.PlainHTTP:
		return "an http or https address"
	}
	return "an https address"
}

// readSecret reads a file with one secret. Errors name the file, never what is in it.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", err
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if secret == "" || strings.ContainsAny(secret, "\r\n\x00") {
		return "", fmt.Errorf("%s must hold one line", path)
	}
	return secret, nil
}
