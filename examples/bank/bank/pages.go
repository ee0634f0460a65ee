package bank

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/countersign-io/countersign/stepup"
)

//go:embed pages.html
var pagesText string

//go:embed style.css
var style []byte

var pages = template.Must(template.New("").Funcs(template.FuncMap{"money": money}).Parse(pagesText))

func stylesheet(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(style)
}

// view is what a page shows.
type view struct {
	Page, Title, Text string
	Name, ACR         string // of who is signed in
	AuthTime          time.Time
	SignIn            string
	Places            []string
	From              string
	Account           account
	Draft             draft
	HighValue         int
}

func (b *Bank) show(w http.ResponseWriter, r *http.Request, status int, v view) {
	if s, ok := b.session(r); ok && v.Name == "" {
		v.Name, v.ACR, v.AuthTime = s.name, s.token.ACR, s.token.AuthTime
	}
	v.Places, v.HighValue = b.places(), HighValue
	if c, err := r.Cookie(demoCookie); err == nil {
		v.From = c.Value
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := pages.ExecuteTemplate(w, "page", v); err != nil {
		b.cfg.Logger.Debug("writing a page", "error", err)
	}
}

// say shows a page that only says something. Whoever was just signed out is not greeted by name.
func (b *Bank) say(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	b.show(w, r, status, view{Page: "say", Title: title, Text: text, SignIn: "/signin?prompt=login"})
}

// signedIn is for pages that need a session but no particular proof.
func (b *Bank) signedIn(next func(w http.ResponseWriter, r *http.Request, s *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, ok := b.session(r)
		if !ok {
			http.Redirect(w, r, signInURL(r, stepup.Challenge{MaxAge: stepup.NoMaxAge}, r.URL.Path), http.StatusSeeOther)
			return
		}
		next(w, r, s)
	}
}

func (b *Bank) home(w http.ResponseWriter, r *http.Request) {
	v := view{Page: "home", Title: "Sample bank", SignIn: "/signin"}
	if s, ok := b.session(r); ok {
		v.Account = b.ledger.account(s.token.User)
	}
	b.show(w, r, http.StatusOK, v)
}

func (b *Bank) statements(w http.ResponseWriter, r *http.Request, s *session) {
	b.show(w, r, http.StatusOK, view{Page: "statements", Title: "Statements", Account: b.ledger.account(s.token.User)})
}

func (b *Bank) settingsForm(w http.ResponseWriter, r *http.Request, s *session) {
	b.show(w, r, http.StatusOK, view{Page: "settings", Title: "Account settings", Account: b.ledger.account(s.token.User)})
}

func (b *Bank) saveSettings(w http.ResponseWriter, r *http.Request, s *session) {
	email := strings.TrimSpace(r.PostFormValue("email"))
	if len(email) > 254 || strings.Count(email, "@") != 1 || !utf8.ValidString(email) {
		b.say(w, r, http.StatusBadRequest, "That is no e-mail address", "Please go back and try again.")
		return
	}
	b.ledger.setEmail(s.token.User, email)
	http.Redirect(w, r, "/settings", http.StatusSeeOther)
}

func (b *Bank) transferForm(w http.ResponseWriter, r *http.Request, s *session) {
	b.show(w, r, http.StatusOK, view{Page: "transfer", Title: "Transfer", Account: b.ledger.account(s.token.User), Draft: s.draft})
}

// draft is a transfer that was not made yet.
type draft struct {
	To     string
	Amount int
}

// transfer makes a transfer. From HighValue on it needs the security key; the form is kept until that was shown.
func (b *Bank) transfer(w http.ResponseWriter, r *http.Request, s *session) {
	amount, err := strconv.Atoi(r.PostFormValue("amount"))
	to := strings.TrimSpace(r.PostFormValue("to"))
	if err != nil || amount <= 0 || amount > 1_000_000 || to == "" || len(to) > 70 || !utf8.ValidString(to) {
		b.say(w, r, http.StatusBadRequest, "That transfer cannot be made", "Name a payee, and an amount in whole euros.")
		return
	}
	c, err := r.Cookie(b.cookieName(sessionCookie))
	if err != nil {
		http.Error(w, "the session is gone", http.StatusUnauthorized)
		return
	}
	var move http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.sessions.Put(c.Value, &session{token: s.token, name: s.name}, sessionLifetime)
		b.ledger.move(s.token.User, to, amount)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	if amount >= HighValue {
		b.sessions.Put(c.Value, &session{token: s.token, name: s.name, draft: draft{to, amount}}, sessionLifetime)
		move = stepup.Require(highValue)(move)
	}
	move.ServeHTTP(w, r)
}

// apiAccounts is the protected API.
func (b *Bank) apiAccounts(w http.ResponseWriter, r *http.Request) {
	t, _ := stepup.FromContext(r.Context()) // Require lets nobody pass without
	a := b.ledger.account(t.User)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client may have gone
		"user": t.User, "balance": a.Balance, "currency": "EUR", "entries": len(a.Entries),
	})
}

// account is what a customer has.
type account struct {
	Email   string
	Balance int
	Entries []entry
}

type entry struct {
	Time   time.Time
	To     string
	Amount int
}

// ledger holds the accounts.
type ledger struct {
	mu  *sync.Mutex
	all map[string]*account
}

const maxEntries = 50

func newLedger() ledger { return ledger{new(sync.Mutex), map[string]*account{}} }

func (l ledger) of(user string) *account {
	if l.all[user] == nil {
		l.all[user] = &account{Email: user + "@acme.example", Balance: 12_345, Entries: []entry{{time.Now().Add(-48 * time.Hour), "Rent", -1150}}}
	}
	return l.all[user]
}

func (l ledger) account(user string) account {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := *l.of(user)
	a.Entries = append([]entry(nil), a.Entries...)
	return a
}

func (l ledger) setEmail(user, email string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(user).Email = email
}

func (l ledger) move(user, to string, amount int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(user)
	a.Balance -= amount
	a.Entries = append([]entry{{time.Now(), to, -amount}}, a.Entries...)
	a.Entries = a.Entries[:min(len(a.Entries), maxEntries)]
}

func money(euros int) string { return fmt.Sprintf("€ %d", euros) }
