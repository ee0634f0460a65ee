package bank

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/countersign-io/countersign/examples/bank/idp"
	"github.com/countersign-io/countersign/stepup"
)

// Client is a program that uses the bank's API for one person, and knows how to answer a challenge. It is for one
// goroutine.
type Client struct {
	cfg    ClientConfig
	http   *http.Client
	access string
}

// ClientConfig configures a [Client].
type ClientConfig struct {
	// BaseURL is the bank's.
	BaseURL string
	// User and Password are the person's.
	User, Password string
	// ID is the client's; default CLIClient. EntraClient has Entra's tokens, and Capabilities are then those it declares,
	// such as cp1.
	ID           string
	Capabilities []string
	// From is where the program pretends to be in the demo; empty for the person's home.
	From string
	// UserAgent names the program.
	UserAgent string
}

// NewClient returns a client that is not signed in.
func NewClient(cfg ClientConfig) *Client {
	if cfg.ID == "" {
		cfg.ID = CLIClient
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "bank-cli/1.0"
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic("bank: " + err.Error()) // without options it returns none
	}
	return &Client{cfg: cfg, http: &http.Client{
		Jar: jar, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Token is the access token in use.
func (c *Client) Token() string { return c.access }

// UseToken makes the client use a token from elsewhere.
func (c *Client) UseToken(access string) { c.access = access }

var flowField = regexp.MustCompile(`name="flow" value="([A-Z2-7]+)"`)

// SignIn gets an access token by the authorization code flow, with a method of the idp package. A challenge, if there is
// one, is what the API asked for; nil asks for nothing in particular.
func (c *Client) SignIn(ctx context.Context, method string, challenge *stepup.Challenge) error {
	state, verifier := rand.Text(), rand.Text()+rand.Text()
	q := authorizationQuery(c.cfg.ID, CLIRedirect, state, rand.Text(), verifier)
	q.Set("login_hint", c.cfg.User)
	demanded := ""
	if challenge != nil {
		for name, value := range challenge.AuthorizationParams() {
			q.Set(name, value)
		}
		demanded = challenge.Claims
	}
	claims, err := c.claims(demanded)
	if err != nil {
		return err
	}
	if claims != "" {
		q.Set("claims", claims)
	}
	resp, body, err := c.do(ctx, http.MethodGet, c.cfg.BaseURL+"/idp/authorize?"+q.Encode(), nil) //nolint:bodyclose // do has read and closed it
	if err != nil {
		return fmt.Errorf("asking for authorization: %w", err)
	}
	if resp.StatusCode == http.StatusOK { // the login page
		flow := flowField.FindStringSubmatch(body)
		if flow == nil {
			return errors.New("the login page has no form")
		}
		form := url.Values{"flow": {flow[1]}, "user": {c.cfg.User}, "password": {c.cfg.Password}, "method": {method}}
		if resp, _, err = c.do(ctx, http.MethodPost, c.cfg.BaseURL+"/idp/login", form); err != nil { //nolint:bodyclose // do has read and closed it
			return fmt.Errorf("signing in: %w", err)
		}
	}
	to, err := resp.Location()
	if err != nil {
		return fmt.Errorf("the identity provider answers %d and sends nowhere", resp.StatusCode)
	}
	answer := to.Query()
	switch {
	case answer.Get("error") != "":
		return fmt.Errorf("the identity provider says %s: %s", answer.Get("error"), answer.Get("error_description"))
	case answer.Get("state") != state || answer.Get("iss") != c.cfg.BaseURL+"/idp":
		return errors.New("the answer is not to our request")
	}
	tokens, err := exchange(ctx, c.http, c.cfg.BaseURL+"/idp/token", c.cfg.ID, CLIRedirect, answer.Get("code"), verifier)
	if err != nil {
		return fmt.Errorf("exchanging the code: %w", err)
	}
	c.access = tokens.Access
	return nil
}

// claims merges what a challenge demands with the capabilities the client declares, as Entra's clients do.
func (c *Client) claims(demanded string) (string, error) {
	if len(c.cfg.Capabilities) == 0 {
		return demanded, nil
	}
	request := map[string]map[string]any{}
	if demanded != "" {
		if err := json.Unmarshal([]byte(demanded), &request); err != nil {
			return "", fmt.Errorf("reading the demanded claims: %w", err)
		}
	}
	if request["access_token"] == nil {
		request["access_token"] = map[string]any{}
	}
	request["access_token"]["xms_cc"] = map[string]any{"values": c.cfg.Capabilities}
	merged, err := json.Marshal(request)
	if err != nil {
		return "", fmt.Errorf("writing claims: %w", err)
	}
	return string(merged), nil
}

// Answer is what the API says.
type Answer struct {
	Status int
	Body   string
	// Header is WWW-Authenticate as it came, Challenges what it asks for.
	Header     string
	Challenges []stepup.Challenge
}

// Accounts calls the protected API.
func (c *Client) Accounts(ctx context.Context) (*Answer, error) {
	resp, body, err := c.do(ctx, http.MethodGet, c.cfg.BaseURL+"/api/accounts", nil) //nolint:bodyclose // do has read and closed it
	if err != nil {
		return nil, fmt.Errorf("calling the API: %w", err)
	}
	return &Answer{
		Status: resp.StatusCode, Body: body, Header: resp.Header.Get("WWW-Authenticate"), Challenges: stepup.ParseChallenges(resp.Header),
	}, nil
}

func (c *Client) do(ctx context.Context, method, to string, form url.Values) (*http.Response, string, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return nil, "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if c.cfg.From != "" {
		req.Header.Set(demoHeader, c.cfg.From)
	}
	if c.access != "" && strings.HasPrefix(req.URL.Path, "/api/") {
		req.Header.Set("Authorization", "Bearer "+c.access)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, "", fmt.Errorf("reading the answer: %w", err)
	}
	return resp, string(text), nil
}

// Walk goes once around the whole loop: a person signs in and uses the API, an attack happens, the API challenges the
// person, a stronger sign-in clears it, and the older tokens stay refused.
type Walk struct {
	// Person is who signs in, first with a password and then with a security key.
	Person ClientConfig
	// Attack makes countersign require more of the person. Default: somebody signs in as the person, with the right
	// password, from the place AttackFrom, which is tokyo when empty.
	Attack     func(context.Context) error
	AttackFrom string
	// Challenged, if set, is told of the first challenge: the token that was refused, and the requirement. Its error ends
	// the walk.
	Challenged func(ctx context.Context, token, requirement string) error
	// Within bounds the wait for the challenge. Default 10 seconds.
	Within time.Duration
}

// Walked is how a walk went.
type Walked struct {
	// Header is the challenge as it came, Challenge what it asks for.
	Header    string           `json:"www_authenticate"`
	Challenge stepup.Challenge `json:"-"`
	// Requirement is what was required.
	Requirement string `json:"requirement"`
	// Challenged is the time from the attack to the first challenge, SteppedUp from there to the stronger token, Cleared
	// from there to the API's answer.
	Challenged time.Duration `json:"challenged_ns"`
	SteppedUp  time.Duration `json:"stepped_up_ns"`
	Cleared    time.Duration `json:"cleared_ns"`
	// Calls is how often the API was called until it challenged, StepUps how many stronger sign-ins it took.
	Calls   int `json:"calls"`
	StepUps int `json:"step_ups"`
}

// Run walks, and returns an error at the first step that does not go as it should.
func (w Walk) Run(ctx context.Context) (*Walked, error) {
	if w.Within == 0 {
		w.Within = 10 * time.Second
	}
	person := NewClient(w.Person)
	if err := person.SignIn(ctx, idp.Password, nil); err != nil {
		return nil, fmt.Errorf("the person's first sign-in: %w", err)
	}
	first := person.Token()
	if err := person.expect(ctx, http.StatusOK, "before the attack"); err != nil {
		return nil, err
	}
	attack, thief := w.Attack, (*Client)(nil)
	if attack == nil {
		thief = w.thief()
		attack = func(ctx context.Context) error { return thief.SignIn(ctx, idp.Password, nil) }
	}
	if err := attack(ctx); err != nil {
		return nil, fmt.Errorf("the attack: %w", err)
	}
	result := new(Walked)
	began := time.Now()
	if err := w.awaitChallenge(ctx, person, result); err != nil {
		return nil, err
	}
	result.Challenged = time.Since(began)
	if w.Challenged != nil {
		if err := w.Challenged(ctx, first, result.Requirement); err != nil {
			return nil, err
		}
	}

	if err := stepUp(ctx, person, result); err != nil {
		return nil, err
	}

	person.UseToken(first)
	if err := person.expect(ctx, http.StatusUnauthorized, "with the token from before the attack"); err != nil {
		return nil, err
	}
	if thief != nil {
		if err := thief.expect(ctx, http.StatusUnauthorized, "for the attacker"); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// maxStepUps is after how many challenges of one request a client gives up.
const maxStepUps = 2

// stepUp answers the challenge, and once more if the API is not content.
func stepUp(ctx context.Context, person *Client, result *Walked) error {
	challenge := result.Challenge
	for {
		began := time.Now()
		// A proof counts from the whole second after the event that asked for it.
		if err := wait(ctx, time.Until(began.Truncate(time.Second).Add(time.Second))); err != nil {
			return err
		}
		if err := person.SignIn(ctx, idp.PhishingResistant, &challenge); err != nil {
			return fmt.Errorf("the stronger sign-in: %w", err)
		}
		result.StepUps++
		result.SteppedUp += time.Since(began)
		began = time.Now()
		a, err := person.Accounts(ctx)
		if err != nil {
			return err
		}
		result.Cleared = time.Since(began)
		switch {
		case a.Status == http.StatusOK:
			return nil
		case a.Status != http.StatusUnauthorized || len(a.Challenges) != 1 || result.StepUps == maxStepUps:
			return fmt.Errorf("the API answers %d after the stronger sign-in, want 200: %s %.200s", a.Status, a.Header, a.Body)
		}
		challenge = a.Challenges[0]
	}
}

func (w Walk) thief() *Client {
	cfg := w.Person
	if cfg.From = w.AttackFrom; cfg.From == "" {
		cfg.From = "tokyo"
	}
	cfg.UserAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	return NewClient(cfg)
}

// awaitChallenge calls the API as a busy program does until it is challenged.
func (w Walk) awaitChallenge(ctx context.Context, person *Client, result *Walked) error {
	ctx, cancel := context.WithTimeoutCause(ctx, w.Within, fmt.Errorf("no challenge within %s of the attack", w.Within))
	defer cancel()
	for {
		result.Calls++
		a, err := person.Accounts(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		case a.Status == http.StatusUnauthorized && len(a.Challenges) == 1:
			result.Header, result.Challenge = a.Header, a.Challenges[0]
			var problem struct{ Requirement string }
			if err := json.Unmarshal([]byte(a.Body), &problem); err != nil {
				return fmt.Errorf("reading the challenge's body: %w", err)
			}
			result.Requirement = problem.Requirement
			return nil
		case a.Status != http.StatusOK:
			return fmt.Errorf("the API answers %d after the attack: %.200s", a.Status, a.Body)
		}
		if err := wait(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

func (c *Client) expect(ctx context.Context, status int, when string) error {
	a, err := c.Accounts(ctx)
	if err != nil {
		return err
	}
	if a.Status != status {
		return fmt.Errorf("the API answers %d %s, want %d: %s %.200s", a.Status, when, status, a.Header, a.Body)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
