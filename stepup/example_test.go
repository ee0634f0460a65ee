package stepup_test

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/countersign-io/countersign/stepup"
)

// A guard challenges a restrained user, and lets the stronger token pass at once.
func Example() {
	index, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		log.Fatal(err)
	}
	index.CaughtUp() // the feed's part, as is Apply below

	now := time.Now().Truncate(time.Second)
	tokens := map[string]stepup.Token{ // a real application validates a JWT
		"Bearer yesterday": {Subject: stepup.Subject{Tenant: "acme", User: "ada"}, AuthTime: now.Add(-24 * time.Hour), ACR: "pwd"},
		"Bearer key":       {Subject: stepup.Subject{Tenant: "acme", User: "ada"}, AuthTime: now, ACR: "phr"},
	}
	guard, err := stepup.New(stepup.Config{
		Index: index,
		Stale: stepup.FailClosed,
		App:   "bank",
		Identify: func(r *http.Request) (stepup.Token, error) {
			header := r.Header.Get("Authorization")
			if header == "" {
				return stepup.Token{}, stepup.ErrNoToken
			}
			t, ok := tokens[header]
			if !ok {
				return stepup.Token{}, errors.New("unknown token")
			}
			return t, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	handler := guard.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, _ := stepup.FromContext(r.Context())
		fmt.Fprintf(w, "hello %s", t.User)
	}))
	get := func(token string) {
		r := httptest.NewRequest(http.MethodGet, "/accounts", nil)
		r.Header.Set("Authorization", token)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			fmt.Println(w.Code, w.Body)
			return
		}
		fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	}

	get("Bearer yesterday")
	index.Apply(stepup.Claims{JTI: "1", Status: stepup.StatusOpen, Requirement: stepup.Requirement{
		ID: "r1", Subject: stepup.Subject{Tenant: "acme", User: "ada"}, Action: stepup.ActionStepUp, ACRValues: []string{"phr"},
		NotBefore: now, Expires: now.Add(time.Hour),
	}})
	get("Bearer yesterday")
	get("Bearer key")
	// Output:
	// 200 hello ada
	// 401 Bearer error="insufficient_user_authentication", error_description="A more recent or stronger authentication is required", acr_values="phr", max_age="0"
	// 200 hello ada
}

// A client reads what it has to ask its identity provider for.
func ExampleParseChallenges() {
	h := http.Header{}
	h.Add("WWW-Authenticate", `Bearer error="insufficient_user_authentication", acr_values="phr mfa", max_age="0"`)
	for _, c := range stepup.ParseChallenges(h) {
		fmt.Println(c.Error)
		p := c.AuthorizationParams()
		fmt.Println(p["acr_values"], p["max_age"])
	}
	// Output:
	// insufficient_user_authentication
	// phr mfa 0
}

// A feed reads the claims of a Security Event Token and applies them.
func ExampleParseClaims() {
	c, err := stepup.ParseClaims([]byte(`{"iss":"https://countersign.example","iat":1767225600,"jti":"7c2f","txn":"9a3e",
		"sub_id":{"format":"complex","tenant":{"format":"opaque","id":"acme"},"user":{"format":"opaque","id":"ada"}},
		"events":{"https://schemas.countersign.io/secevent/event-type/step-up-required":{"status":"open",
		"requirement":"9a3e","acr_values":["phr"],"max_age":0,"not_before":1767225600,"expires":1767268799,"scope":"user"}}}`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Status, c.Requirement.User, c.Requirement.ACRValues, c.Requirement.NotBefore.Format(time.RFC3339))
	// Output:
	// open ada [phr] 2026-01-01T00:00:00Z
}

// Require marks a route that needs a strong and fresh proof from everybody.
func ExampleRequire() {
	index, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		log.Fatal(err)
	}
	index.CaughtUp()
	guard, err := stepup.New(stepup.Config{
		Index: index, Stale: stepup.FailOpen,
		Identify: func(*http.Request) (stepup.Token, error) {
			return stepup.Token{Subject: stepup.Subject{Tenant: "acme", User: "ada"}, AuthTime: time.Now(), ACR: "pwd"}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	transfer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "sent") })
	handler := guard.Middleware(stepup.Require(stepup.Proof{ACRValues: []string{"phr"}, MaxAge: 5 * time.Minute})(transfer))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/transfers", nil))
	fmt.Println(w.Code, stepup.ParseChallenges(w.Header())[0].AuthorizationParams())
	// Output:
	// 401 map[acr_values:phr max_age:300]
}

// Requirements close by a later status, and never open again.
func ExampleIndex() {
	index, err := stepup.NewIndex(stepup.IndexConfig{MaxOpen: 100_000})
	if err != nil {
		log.Fatal(err)
	}
	ada := stepup.Subject{Tenant: "acme", User: "ada"}
	now := time.Now()
	open := stepup.Claims{Status: stepup.StatusOpen, Requirement: stepup.Requirement{
		ID: "r1", Subject: ada, Action: stepup.ActionStepUp, NotBefore: now, Expires: now.Add(time.Hour),
	}}
	satisfied := open
	satisfied.Status, satisfied.ClosedAt = stepup.StatusSatisfied, now

	for _, change := range []stepup.Claims{open, satisfied, open} {
		index.Apply(change)
		_, restrained := index.Check(ada)
		fmt.Println(change.Status, restrained)
	}
	// Output:
	// open true
	// satisfied false
	// open false
}
