package bank

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/countersign-io/countersign/examples/bank/idp"
	"github.com/countersign-io/countersign/stepup"
)

// family is the identity space of the bank's event ids.
const family = "bank-idp"

// event is what countersign's ingest takes; its schema is schemas/event.json. Only what the bank knows is here.
type event struct {
	Kind          string         `json:"kind"`
	Tenant        string         `json:"tenant"`
	User          ref            `json:"user"`
	Time          time.Time      `json:"time"`
	Source        source         `json:"source"`
	Outcome       string         `json:"outcome"`
	Reason        string         `json:"reason,omitempty"`
	Interactive   bool           `json:"interactive"`
	App           ref            `json:"app"`
	Session       ref            `json:"session,omitzero"`
	IP            string         `json:"ip,omitempty"`
	ProviderPlace *providerPlace `json:"provider_place,omitempty"`
	UserAgent     string         `json:"user_agent,omitempty"`
	Auth          auth           `json:"auth,omitzero"`
}

type ref struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

type source struct {
	Name   string `json:"name"`
	Family string `json:"family"`
	ID     string `json:"id"`
}

type providerPlace struct {
	Lat     float64 `json:"lat"`
	Lon     float64 `json:"lon"`
	Radius  float64 `json:"radius_km"`
	City    string  `json:"city"`
	Country string  `json:"country"`
}

type auth struct {
	MFA      string    `json:"mfa,omitempty"`
	Strength string    `json:"strength,omitempty"`
	Methods  []string  `json:"methods,omitempty"`
	ACR      string    `json:"acr,omitempty"`
	Time     time.Time `json:"time,omitzero"`
}

// strengths are countersign's names for the provider's classes.
var strengths = map[string]string{
	idp.Password: "single", idp.MultiFactor: "multi", idp.PhishingResistant: "phishing_resistant",
}

func authOf(acr string, amr []string, at time.Time) auth {
	a := auth{Strength: strengths[acr], Methods: amr, ACR: acr, Time: at.UTC()}
	if acr == idp.MultiFactor || acr == idp.PhishingResistant {
		a.MFA = "performed"
	}
	return a
}

func (b *Bank) newEvent(r *http.Request, kind, user string, at time.Time) event {
	e := event{
		Kind: kind, Tenant: b.cfg.Tenant, User: ref{ID: user}, Time: at.UTC(), Outcome: "success",
		Source: source{Name: family, Family: family, ID: rand.Text()}, UserAgent: r.UserAgent(), App: ref{ID: "bank", Name: "Sample bank"},
	}
	e.IP, e.ProviderPlace = b.from(r, user)
	return e
}

// reportSignIn is told by the identity provider.
func (b *Bank) reportSignIn(r *http.Request, s idp.SignIn) {
	e := b.newEvent(r, "sign_in", s.User.ID, s.Time)
	e.User.Name, e.App, e.Interactive = s.User.Name, ref{ID: s.Client}, s.Interactive
	if s.OK {
		e.Session.ID, e.Auth = s.Session, authOf(s.ACR, s.AMR, s.AuthTime)
	} else {
		e.Outcome, e.Reason = "failure", "wrong password"
	}
	b.reporter.report(e)
}

// observed reports that a session is used, for every session, address and browser every ten seconds at most.
func (b *Bank) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if t, ok := stepup.FromContext(r.Context()); ok && t.Session != "" {
			e := b.newEvent(r, "session_use", t.User, time.Now())
			key := t.Session + "\x00" + e.IP + "\x00" + e.UserAgent
			if _, reported := b.uses.Get(key); !reported {
				b.uses.Put(key, struct{}{}, 10*time.Second)
				e.Session.ID, e.Auth = t.Session, authOf(t.ACR, t.AMR, t.AuthTime)
				b.reporter.report(e)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// demoHeader says where a demo caller pretends to be; demoCookie says it for browsers.
const (
	demoHeader = "X-Demo-From"
	demoCookie = "demo_from"
)

// from is the caller's address, and in the demo its place.
func (b *Bank) from(r *http.Request, user string) (string, *providerPlace) {
	ip := remoteIP(r)
	if b.cfg.Demo && ip.IsLoopback() {
		name := r.Header.Get(demoHeader)
		if c, err := r.Cookie(demoCookie); err == nil && name == "" {
			name = c.Value
		}
		if _, ok := b.cfg.Places[name]; !ok {
			name = b.homeOf(user)
		}
		if p, ok := b.cfg.Places[name]; ok {
			return p.IP.String(), &providerPlace{p.Lat, p.Lon, 20, p.City, p.Country}
		}
	}
	if !ip.IsValid() {
		return "", nil
	}
	return ip.String(), nil
}

func (b *Bank) homeOf(user string) string {
	for _, u := range b.cfg.Users {
		if u.ID == user {
			return u.Home
		}
	}
	return ""
}

func remoteIP(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap().WithZone("")
}

// reporter sends events to ingest, in order. A bank that stopped for lack of an observer would be no bank, so what does
// not fit the queue is dropped and logged.
type reporter struct {
	to     Events
	log    *slog.Logger
	queue  chan event
	client *http.Client
}

const (
	queueLength = 1024
	batchLength = 100
)

func newReporter(to Events, log *slog.Logger) *reporter {
	return &reporter{to: to, log: log, queue: make(chan event, queueLength), client: &http.Client{Timeout: 10 * time.Second}}
}

func (q *reporter) report(e event) {
	if q.to.URL == "" {
		return
	}
	select {
	case q.queue <- e:
	default:
		q.log.Warn("event dropped, ingest takes too few", "kind", e.Kind)
	}
}

// run sends until ctx ends, and then what is left, for two seconds at most.
func (q *reporter) run(ctx context.Context) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(2*time.Second, cancel) })()
	for {
		select {
		case e := <-q.queue:
			q.send(work, q.batch(e))
			continue
		case <-ctx.Done():
		}
		select {
		case e := <-q.queue:
			q.send(work, q.batch(e))
		default:
			return
		}
	}
}

func (q *reporter) batch(first event) []event {
	batch := []event{first}
	for len(batch) < batchLength {
		select {
		case e := <-q.queue:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// send tries until ingest has taken the events or has said that it never will.
func (q *reporter) send(ctx context.Context, batch []event) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := q.post(ctx, batch)
		if err == nil {
			return
		}
		q.log.Warn("reporting events", "events", len(batch), "error", err)
		if _, refused := errors.AsType[*refusedError](err); refused || ctx.Err() != nil {
			return
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// refusedError is an answer that repeating will not change.
type refusedError struct {
	status int
	body   string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("ingest refuses with %d: %s", e.status, e.body)
}

func (q *reporter) post(ctx context.Context, batch []event) error {
	body, err := json.Marshal(batch)
	if err != nil {
		return fmt.Errorf("encoding events: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, q.to.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+q.to.Token)
	resp, err := q.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // for the message only
	switch {
	case resp.StatusCode < 300:
		return nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return fmt.Errorf("ingest answers %d", resp.StatusCode)
	default:
		return &refusedError{resp.StatusCode, strings.TrimSpace(string(text))}
	}
}
