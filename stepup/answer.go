package stepup

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// answer challenges a caller whose token lacks something.
func (g *Guard) answer(w http.ResponseWriter, r *http.Request, t *Token, d *demand, lack string) {
	f := Refusal{Status: http.StatusUnauthorized, Title: "A stronger or fresher sign-in is required", Challenge: g.challenge(t, d)}
	id := "route " + strings.Join(d.acr, " ")
	if d.requirement != nil {
		f.Requirement, f.Reason = d.requirement.ID, d.requirement.Reason
		id = d.requirement.ID
	}
	now := time.Now()
	first, tokens := g.attempts.challenged(attemptKey(t, id), t.IssuedAt, now)
	log := g.cfg.Logger.With("app", g.cfg.App, "requirement", f.Requirement, "lacks", lack)
	if first {
		log.InfoContext(r.Context(), "caller challenged")
		status := Challenged
		if d.revokes() {
			status = Revoked
		}
		if d.requirement != nil {
			g.receipt(t, d.requirement, status, now)
		}
	}
	switch {
	case d.revokes():
		f.Title = "The session has been ended"
		if t.Kind == Cookie && g.cfg.EndSession != nil {
			g.cfg.EndSession(w, r)
		}
	case tokens > g.cfg.MaxChallenges:
		f.Status, f.Title, f.Challenge = http.StatusForbidden, "The sign-in could not be made strong enough", Challenge{}
		g.stats.refused.Add(1)
		if tokens == g.cfg.MaxChallenges+1 && g.attempts.refused(attemptKey(t, id)) {
			log.WarnContext(r.Context(), "challenge limit reached")
			if d.requirement != nil {
				g.receipt(t, d.requirement, Refused, now)
			}
		}
		g.refuse(w, r, f)
		return
	case t.Kind == Cookie && g.redirect(w, r, f.Challenge):
		g.stats.challenged.Add(1)
		return
	}
	g.stats.challenged.Add(1)
	g.refuse(w, r, f)
}

// answerStranger answers a request without a token on a route that needs a proof. What the route demands is told to
// browsers only, whose sign-in needs it; others learn it once they have a token.
func (g *Guard) answerStranger(w http.ResponseWriter, r *http.Request, d *demand) {
	if g.redirect(w, r, Challenge{ACRValues: d.acr, MaxAge: d.maxAge}) {
		return
	}
	g.refuse(w, r, Refusal{
		Status: http.StatusUnauthorized, Title: "A sign-in is required", Challenge: Challenge{MaxAge: NoMaxAge},
	})
}

// redirect sends a browser that navigates to the sign-in.
func (g *Guard) redirect(w http.ResponseWriter, r *http.Request, c Challenge) bool {
	if g.cfg.SignIn == nil || !Navigates(r) {
		return false
	}
	to := g.cfg.SignIn(r, c, returnTo(r))
	if to == "" {
		return false
	}
	w.Header().Set("Cache-Control", "no-store")
	// 303 turns a POST into a GET: the form is never sent to the identity provider.
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	return true
}

// Navigates tells a browser's navigation from a script's request: whether a page or a redirect is of use as the answer.
func Navigates(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return r.Header.Get("X-Requested-With") == "" && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// returnTo is where a browser goes after its sign-in: the same page, or for a form that was sent the page of the form. It
// is always a path on this host.
func returnTo(r *http.Request) string {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return local(r.URL)
	}
	if from, err := url.Parse(r.Referer()); err == nil && from.Host == r.Host {
		return local(from)
	}
	return "/"
}

// local is the path and query of u, such that no browser can take it for another host.
func local(u *url.URL) string {
	path := "/" + strings.TrimLeft(u.EscapedPath(), `/\`)
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return path
}

// refuse writes the answer's headers and lets the application, or WriteProblem, write the rest.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, f Refusal) {
	w.Header().Set("Cache-Control", "no-store")
	if f.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", f.Challenge.String())
	}
	g.cfg.Refuse(w, r, f)
}

// WriteProblem writes a refusal as application/problem+json (RFC 9457). It is the default of Config.Refuse.
func WriteProblem(w http.ResponseWriter, _ *http.Request, f Refusal) {
	problem := struct {
		Title       string   `json:"title"`
		Status      int      `json:"status"`
		Detail      string   `json:"detail,omitempty"`
		Error       string   `json:"error,omitempty"`
		ACRValues   []string `json:"acr_values,omitempty"`
		Requirement string   `json:"requirement,omitempty"`
	}{f.Title, f.Status, f.Reason, f.Challenge.Error, f.Challenge.ACRValues, f.Requirement}
	body, err := json.Marshal(problem)
	if err != nil {
		panic("stepup: encoding strings: " + err.Error()) // cannot happen: the type holds nothing else
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(f.Status)
	_, _ = w.Write(body) // the client may have gone; there is nobody left to tell
}
