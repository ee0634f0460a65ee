package stepup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrUnmetRequirements says that the identity provider cannot prove the user as a challenge demands (RFC 9470 §5, error
// unmet_authentication_requirements). It is final: asking again would loop.
var ErrUnmetRequirements = errors.New("the identity provider cannot meet the authentication requirements")

// InteractionRequiredError says that a token cannot be had without the user. Token sources return it, see [ParseTokenError].
type InteractionRequiredError struct {
	// Code is the error code, such as interaction_required, Suberror refines it at Microsoft Entra ID, Description is
	// for developers.
	Code, Suberror, Description string
	// Claims is the JSON of a claims request, and ACRValues are the contexts, that the authorization request has to
	// carry. From a [Transport] they hold everything that is known: what the API asked for, the client's capabilities,
	// and what the token endpoint added; and MaxAge is what the API asked for.
	Claims    string
	ACRValues []string
	MaxAge    int
}

// Error holds the code, and the description if there is one.
func (e *InteractionRequiredError) Error() string {
	text := "the user has to sign in: " + e.Code
	if e.Suberror != "" {
		text += " (" + e.Suberror + ")"
	}
	if e.Description != "" {
		text += ": " + e.Description
	}
	return text
}

// interactive are the errors that another sign-in can mend (RFC 6749 §5.2, OpenID Connect Core §3.1.2.6, RFC 9470 §3).
var interactive = []string{
	"interaction_required", "invalid_grant", "login_required", "consent_required", "account_selection_required",
	ErrorInsufficientAuthentication,
}

// NewTokenError is the error of a token or authorization endpoint, by the parameters of its answer: an
// [InteractionRequiredError], or one that is [ErrUnmetRequirements]. Errors of other kinds are nil: they are for the token
// source to tell.
func NewTokenError(code, suberror, description, claims string) error {
	description = oneLine(description)
	switch {
	case code == "unmet_authentication_requirements":
		if description == "" {
			return ErrUnmetRequirements
		}
		return fmt.Errorf("%w: %s", ErrUnmetRequirements, description)
	case slices.Contains(interactive, code):
		if !json.Valid([]byte(claims)) {
			claims = ""
		}
		return &InteractionRequiredError{
			Code: code, Suberror: oneLine(suberror), Description: description, Claims: claims, MaxAge: NoMaxAge,
		}
	}
	return nil
}

// ParseTokenError is [NewTokenError] of the body of a token endpoint's answer. What is no such body is nil.
func ParseTokenError(body []byte) error {
	if len(body) > MaxClaims {
		return nil
	}
	var answer struct {
		Error       string          `json:"error"`
		Suberror    string          `json:"suberror"`
		Description string          `json:"error_description"`
		Claims      json.RawMessage `json:"claims"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return nil //nolint:nilerr // what is no such body is nil
	}
	claims := string(answer.Claims)
	var text string
	if json.Unmarshal(answer.Claims, &text) == nil { // it comes as JSON in a string
		claims = text
	}
	return NewTokenError(answer.Error, answer.Suberror, answer.Description, claims)
}

// oneLine bounds a text of another's, and leaves control characters out.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "")
	}
	return text
}

// capabilityClaims is the claims request that tells what a client can do.
func capabilityClaims(capabilities []string) string {
	if len(capabilities) == 0 {
		return ""
	}
	b, _ := json.Marshal(map[string]map[string]claimValues{"access_token": {"xms_cc": {capabilities}}}) // texts cannot fail
	return string(b)
}

// MergeClaims merges claims requests (OpenID Connect Core §5.5): the result asks for all that any of them asks for. Lists of
// acceptable values are joined; where two ask for one claim with different single values, the later one counts. Empty ones
// are skipped.
func MergeClaims(requests ...string) (string, error) {
	var merged json.RawMessage
	for _, r := range requests {
		if r == "" {
			continue
		}
		if len(r) > MaxClaims {
			return "", fmt.Errorf("claims request has %d bytes, at most %d are allowed", len(r), MaxClaims)
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(r), &object); err != nil || object == nil {
			return "", errors.New("claims request is no JSON object")
		}
		var err error
		if merged, err = mergeJSON("", merged, json.RawMessage(r)); err != nil {
			return "", err
		}
	}
	return string(merged), nil
}

// mergeJSON merges two values of the member name.
func mergeJSON(name string, a, b json.RawMessage) (json.RawMessage, error) {
	if len(a) == 0 || bytes.Equal(a, []byte("null")) {
		return b, nil
	}
	if bytes.Equal(b, []byte("null")) {
		return a, nil
	}
	var x, y map[string]json.RawMessage
	if json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil {
		for member, value := range y {
			merged, err := mergeJSON(member, x[member], value)
			if err != nil {
				return nil, err
			}
			x[member] = merged
		}
		return json.Marshal(x)
	}
	var v, w []any
	if name == "values" && json.Unmarshal(a, &v) == nil && json.Unmarshal(b, &w) == nil {
		for _, value := range w {
			if !slices.ContainsFunc(v, func(have any) bool { return fmt.Sprintf("%T%v", have, have) == fmt.Sprintf("%T%v", value, value) }) {
				v = append(v, value)
			}
		}
		return json.Marshal(v)
	}
	return b, nil
}
