package okta

import (
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// proof is how much a method proves by itself.
type proof int

const (
	nothing proof = iota
	// knowledge is what can be told or forwarded: passwords, security questions, and e-mail, which NIST SP 800-63B
	// section 5.1.3.1 does not take for an out-of-band authenticator.
	knowledge
	// possession is a second factor.
	possession
	// resistant is one that cannot be relayed.
	resistant
)

// usage is what identity was proved with.
type usage struct {
	names     []string
	strongest proof
}

// prove sets what a success proves.
func (u usage) prove(e *events.Event) {
	switch u.strongest {
	case nothing:
	case knowledge:
		e.Auth.Strength = events.SingleFactor
	case possession:
		e.Auth.MFA, e.Auth.Strength = events.MFAPerformed, events.MultiFactor
	case resistant:
		e.Auth.MFA, e.Auth.Strength = events.MFAPerformed, events.PhishingResistant
	}
}

func (u *usage) add(name string, p proof) {
	if name != "" && !slices.Contains(u.names, name) && len(u.names) < events.MaxElements {
		u.names = append(u.names, name)
	}
	u.strongest = max(u.strongest, p)
}

// numberMatched is the answer to a push by the number on the other screen.
const numberMatched = "OV_WITH_CHALLENGE_RESPONSE_VALID"

// methods are what the record says was used. The targets say it best: also whether the use could not be relayed, which
// for Okta FastPass depends on the device. Then come the factor of the debug data, the authenticator's name, and the type
// of the credential.
func (r *record) methods() (u usage) {
	for i := range r.targets {
		if t := &r.targets[i]; t.method != "" {
			name, p := method(t.method)
			switch {
			case strings.Contains(t.properties, "PHISHING_RESISTANT"):
				p = resistant
			case t.properties != "" && name == "fastpass":
				p = possession
			}
			u.add(name, p)
		}
	}
	if len(u.names) == 0 && r.debug.factor != "" {
		u.add(method(r.debug.factor))
	}
	if len(u.names) == 0 {
		for i := range r.targets {
			if t := &r.targets[i]; strings.HasPrefix(t.kind, "Authenticator") && t.name != "" {
				u.add(method(t.name))
			}
		}
	}
	if at := slices.Index(u.names, "push"); at >= 0 && r.debug.challenge == numberMatched {
		u.names[at] = "push_number_match"
	}
	if c, known := credentialTypes[strings.ToUpper(r.auth.credential)]; known && len(u.names) == 0 {
		u.add(c.name, c.proof)
	}
	return u
}

// credentialTypes are the types of credentials that say how a person signed in; the others are about programs and sessions.
var credentialTypes = map[string]struct {
	name  string
	proof proof
}{
	"PASSWORD": {"password", knowledge}, "EMAIL": {"email", knowledge}, "OTP": {"otp", possession}, "SMS": {"sms", possession},
	"CERTIFICATE": {"certificate", resistant},
}

// method is the short name of a factor and what it proves. Names nobody knows keep theirs, and are second factors: the
// custom and foreign ones.
func method(s string) (name string, p proof) {
	if name, p, ok := known(s); ok {
		return name, p
	}
	return strings.ToLower(s), possession
}

// known finds a method that a text names.
func known(s string) (name string, p proof, ok bool) {
	lower := strings.ToLower(s)
	for _, m := range methods {
		if strings.Contains(lower, m.mark) {
			return m.name, m.proof, true
		}
	}
	return "", nothing, false
}

// methods are matched in order by a part of their name, of which there are three kinds: of the API (token:software:totp),
// of the debug data (OKTA_SOFT_TOKEN), and of the sign-in page ("Enter a code").
var methods = []struct {
	mark, name string
	proof      proof
}{
	{"webauthn", "fido2", resistant},
	{"fido", "fido2", resistant},
	{"u2f", "fido2", resistant},
	{"passkey", "passkey", resistant},
	{"security key", "fido2", resistant},
	{"biometric", "fido2", resistant},
	{"signed_nonce", "fastpass", resistant},
	{"fastpass", "fastpass", resistant},
	{"smart card", "certificate", resistant},
	{"smart_card", "certificate", resistant},
	{"certificate", "certificate", resistant},
	{"x509", "certificate", resistant},
	{"piv", "certificate", resistant},
	{"push", "push", possession},
	{"sms", "sms", possession},
	{"call", "voice", possession},
	{"voice", "voice", possession},
	{"phone", "phone", possession},
	{"email", "email", knowledge},
	{"question", "security_question", knowledge},
	{"password", "password", knowledge},
	{"otp", "otp", possession},
	{"soft_token", "otp", possession},
	{"token:", "otp", possession},
	{"a code", "otp", possession},
	{"google", "otp", possession},
	{"yubikey", "otp", possession},
	{"securid", "otp", possession},
	{"symantec", "otp", possession},
	{"temporary", "temporary_access_code", knowledge},
	{"duo", "duo", possession},
}
