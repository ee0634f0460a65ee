// Package bank is a small bank whose sensitive pages are guarded by countersign: confidential statements, account
// settings, high-value transfers, and an API for other programs. It comes with an identity provider of its own, and
// reports sign-ins and the use of sessions to countersign, so that the whole loop can be clicked through: attack,
// requirement, challenge, stronger sign-in, cleared.
package bank

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/examples/bank/access"
	"github.com/countersign-io/countersign/examples/bank/expiring"
	"github.com/countersign-io/countersign/examples/bank/idp"
	"github.com/countersign-io/countersign/stepup"
)

// The bank's clients at the identity provider.
const (
	WebClient = "bank-web"
	// CLIClient asks for access tokens by RFC 9470, EntraClient as clients of Microsoft Entra ID do.
	CLIClient   = "bank-cli"
	EntraClient = "bank-cli-entra"
	// Audience is what access tokens are for.
	Audience = "bank-api"
	// CLIRedirect is where programs on the user's machine listen, on any port.
	CLIRedirect = "http://127.0.0.1/callback"
)

// HighValue is the amount from which a transfer needs the security key.
const HighValue = 1000

// What the sensitive routes demand of everybody.
var (
	confidential = stepup.Proof{ACRValues: []string{idp.PhishingResistant, idp.MultiFactor}}
	settings     = stepup.Proof{ACRValues: []string{idp.PhishingResistant, idp.MultiFactor}, MaxAge: 10 * time.Minute}
	highValue    = stepup.Proof{ACRValues: []string{idp.PhishingResistant}, MaxAge: 5 * time.Minute}
	api          = stepup.Proof{MaxAge: time.Hour}
)

// Bank is the application.
type Bank struct {
	cfg      Config
	provider *idp.Provider
	guard    *stepup.Guard
	keys     *access.Keys
	client   *http.Client // towards the identity provider
	reporter *reporter
	handler  http.Handler
	sessions *expiring.Map[*session]
	flows    *expiring.Map[flow]
	uses     *expiring.Map[struct{}]
	ledger   ledger
}

const maxHeld = 10_000

// New puts a bank together. It opens no connection; Run does.
func New(cfg Config) (*Bank, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("bank: %w", err)
	}
	b := &Bank{
		cfg: cfg, client: &http.Client{Timeout: 5 * time.Second}, reporter: newReporter(cfg.Events, cfg.Logger), sessions: expiring.New[*session](maxHeld),
		flows: expiring.New[flow](maxHeld), uses: expiring.New[struct{}](maxHeld), ledger: newLedger(),
	}
	users := make([]idp.User, len(cfg.Users))
	for i, u := range cfg.Users {
		users[i] = u.User
	}
	shown := ""
	if cfg.Demo && !slices.ContainsFunc(users, func(u idp.User) bool { return u.Password != DemoPassword }) {
		shown = DemoPassword
	}
	var err error
	b.provider, err = idp.New(idp.Config{
		Issuer: b.issuer(), Tenant: cfg.Tenant, Users: users, ShownPassword: shown, Report: b.reportSignIn,
		Clients: []idp.Client{
			{ID: WebClient, RedirectURIs: []string{b.redirectURI()}, Audience: Audience},
			{ID: CLIClient, RedirectURIs: []string{CLIRedirect}, Audience: Audience},
			{ID: EntraClient, RedirectURIs: []string{CLIRedirect}, Audience: Audience, Entra: true},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("bank: identity provider: %w", err)
	}
	b.keys = access.NewKeys(b.provider.JWKSURL())
	b.guard, err = stepup.New(stepup.Config{
		Index: cfg.Index, Identify: b.identify, Stale: cfg.Stale, App: "bank", Receipts: cfg.Receipts, Logger: cfg.Logger,
		Ranking: stepup.Ranking{idp.Password, idp.MultiFactor, idp.PhishingResistant},
		Entra:   stepup.Entra{AuthContext: "c1", AuthorizationURI: b.issuer() + "/authorize"},
		SignIn:  signInURL, EndSession: b.endSession, Refuse: b.refuse,
	})
	if err != nil {
		return nil, fmt.Errorf("bank: %w", err)
	}
	b.handler = b.routes()
	return b, nil
}

func (b *Bank) issuer() string      { return b.cfg.BaseURL + "/idp" }
func (b *Bank) redirectURI() string { return b.cfg.BaseURL + "/callback" }

// URL is where the bank is.
func (b *Bank) URL() string { return b.cfg.BaseURL }

// Guard is what stands before the bank's handlers, for its numbers.
func (b *Bank) Guard() *stepup.Guard { return b.guard }

// Handler serves the bank and its identity provider.
func (b *Bank) Handler() http.Handler { return b.handler }

func (b *Bank) routes() http.Handler {
	mux := http.NewServeMux()
	page := func(pattern string, h http.HandlerFunc, demands ...func(http.Handler) http.Handler) {
		var handler http.Handler = h
		for _, d := range demands {
			handler = d(handler)
		}
		mux.Handle(pattern, handler)
	}
	page("GET /{$}", b.home)
	page("GET /statements", b.signedIn(b.statements), stepup.Require(confidential))
	page("GET /settings", b.signedIn(b.settingsForm), stepup.Require(settings))
	page("POST /settings", b.signedIn(b.saveSettings), stepup.Require(settings))
	page("GET /transfer", b.signedIn(b.transferForm))
	page("POST /transfer", b.signedIn(b.transfer))
	page("GET /api/accounts", b.apiAccounts, stepup.Require(api))

	outer := http.NewServeMux()
	outer.Handle("/", b.guard.Middleware(b.observed(mux)))
	// Signing in and out must work for whoever is restrained.
	outer.HandleFunc("GET /signin", b.signIn)
	outer.HandleFunc("GET /callback", b.callback)
	outer.HandleFunc("POST /signout", b.signOut)
	outer.HandleFunc("GET /style.css", stylesheet)
	outer.HandleFunc("POST /demo/from", b.pretend)
	outer.Handle("/idp/", b.provider)
	// Browsers say where a form comes from; one from another site changes nothing here.
	return secured(http.NewCrossOriginProtection().Handler(outer))
}

// secured sets what protects every page.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		next.ServeHTTP(w, r)
	})
}

// Run serves on the listener and reports events until ctx ends, and returns nil then.
func (b *Bank) Run(ctx context.Context) error {
	if b.cfg.Listener == nil {
		return errors.New("bank: Run needs a Listener")
	}
	server := &http.Server{
		Handler: b.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10, BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(b.cfg.Listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving the bank: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			return errors.Join(fmt.Errorf("stopping the bank: %w", err), server.Close())
		}
		return nil
	})
	group.Go(func() error {
		b.reporter.run(ctx)
		return nil
	})
	return group.Wait()
}
