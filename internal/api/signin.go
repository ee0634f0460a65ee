package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
)

// signInWays tells the page how one can sign in.
func (a *API) signInWays(w http.ResponseWriter, _ *http.Request) {
	var ways struct {
		OIDC  bool   `json:"oidc"`
		Label string `json:"label,omitempty"`
	}
	if p := a.gate.provider; p != nil {
		ways.OIDC, ways.Label = true, p.cfg.Label
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(ways) // the reader has gone
}

// unhurried lets an address try to sign in from time to time only. Secrets are too long to be guessed; it keeps the log and
// the provider from being flooded.
func (a *API) unhurried(w http.ResponseWriter, r *http.Request) bool {
	wait := a.signIns.take(addressKey(visitOf(r.Context()).address), time.Now())
	if wait == 0 {
		return true
	}
	a.metrics.throttled.Inc()
	tooMany(w, wait, "Too many sign-ins from your address; wait a moment.")
	return false
}

// login opens a browser's session: with a one-time code from a link, or with a token from the page's form.
func (a *API) login(w http.ResponseWriter, r *http.Request) {
	if !a.unhurried(w, r) {
		return
	}
	now, to := time.Now(), "/"
	var s standing
	var err error
	if r.Method == http.MethodGet {
		s.who = a.gate.follow(r.URL.Query().Get("code"), now)
	} else if err = r.ParseForm(); err == nil {
		to = localPath(r.PostForm.Get("return"))
		s, err = a.gate.bearer(r.Context(), r.PostForm.Get("token"), now)
	}
	switch {
	case errors.Is(err, errAway):
		w.Header().Set("Retry-After", retryAfter)
		signPage{
			Title: "Not now", Text: "Whether this token is valid cannot be found out now, because the log or the provider does not answer. Try again soon.",
			To: to, ToText: "Sign in",
		}.serve(w, http.StatusServiceUnavailable)
	case s.who == nil:
		a.refuseSignIn(w, r, "by a link or a token that is not valid", signPage{
			Title: "That did not work",
			Text:  "A link works once and for a limited time, and a token must be one that the API knows. `countersign up` prints a new link each time it starts.",
			To:    to, ToText: "Sign in another way",
		}, http.StatusForbidden)
	case len(s.who.scopes()) == 0:
		// A provider's token may be good, and its bearer have no role here.
		page := signPage{Title: "You have no access", Text: "Your token is good, and gives you no role here.", To: to, ToText: "Back to the sign-in"}
		if p := a.gate.provider; p != nil && p.cfg.Help != "" {
			page.Text += " " + p.cfg.Help
		}
		a.refuseSignIn(w, r, s.who.name+" has no role; by a token", page, http.StatusForbidden)
	default:
		a.admit(w, r, s.who, s.tokenEnds, to, "")
	}
}

// admit starts a session for somebody who has proven who they are, by a token that ends or not, and sends the browser on.
func (a *API) admit(w http.ResponseWriter, r *http.Request, who *principal, tokenEnds time.Time, to, detail string) {
	if err := a.writeAudit(r.Context(), who, events.AuditEntry{Action: "sign_in", Detail: detail}); err != nil {
		// Nobody is kept out for it: what they read and do needs an entry of its own.
		a.metrics.unaudited.Inc()
		a.log.Warn("writing an audit entry", zap.String("action", "sign_in"), zap.Error(err))
	}
	now := time.Now()
	secret, until := a.gate.start(who, sessionCookie(r), tokenEnds, now)
	setCookie(w, r, sessionCookieName, secret, until.Sub(now), http.SameSiteStrictMode)
	// A page that goes on by itself, not a redirect: a browser that came from elsewhere sends a strict cookie only with
	// a request that this site has started.
	signPage{Title: "countersign", Text: "You are signed in.", To: to, ToText: "Go on", AtOnce: true}.serve(w, http.StatusOK)
}

// logout ends the browser's session. Who signed in with a provider may end the session there too.
func (a *API) logout(w http.ResponseWriter, r *http.Request) {
	secret := sessionCookie(r)
	if secret != "" && !sameOrigin(r) {
		a.metrics.crossSite.Inc()
		problem(w, http.StatusForbidden, "Signing out must come from the dashboard itself.")
		return
	}
	who := a.gate.end(secret)
	setCookie(w, r, sessionCookieName, "", -time.Second, http.SameSiteStrictMode)
	if who == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	if err := a.writeAudit(r.Context(), who, events.AuditEntry{Action: "sign_out"}); err != nil {
		a.metrics.unaudited.Inc()
		a.log.Warn("writing an audit entry", zap.String("action", "sign_out"), zap.Error(err))
	}
	if p := a.gate.provider; p != nil && who.via == events.ViaOIDC {
		if to := p.endSession(p.home()); to != "" {
			signPage{
				Title: "Signed out", Text: fmt.Sprintf("You are signed out of countersign, and still signed in at %s.", p.label()),
				To: to, ToText: "Sign out there too",
			}.serve(w, http.StatusOK)
			return
		}
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
