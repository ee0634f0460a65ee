package okta

import "net/http"

// Verification answers Okta's question whether an address is meant to be an event hook's; it is sent as JSON.
type Verification struct {
	Verification string `json:"verification"`
}

// maxChallenge bounds the challenge that is sent back, in bytes.
const maxChallenge = 1024

// Challenge answers the request by which Okta verifies an event hook, once: a GET with a value that comes back in the
// answer. ok is false for requests that are none. Who may ask is for the caller to check: Okta sends the header that the
// operator set for the hook with this request, too.
func Challenge(r *http.Request) (answer any, ok bool) {
	challenge := r.Header.Get("X-Okta-Verification-Challenge")
	if r.Method != http.MethodGet || challenge == "" || len(challenge) > maxChallenge {
		return nil, false
	}
	return Verification{challenge}, true
}
