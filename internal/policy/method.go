package policy

import (
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// MethodRank orders the methods of proving identity, weakest first: by how much of it whoever watches, calls or relays
// gets away with. It is the one ranking: proofs are judged by it where the source names methods and no strength, and
// conditions see it as event.auth.method.
type MethodRank int

// The ranks. Unranked is a method that nobody knows.
const (
	Unranked MethodRank = iota
	// MethodKnowledge is what can be told to somebody: a password, a PIN, an answer, a link in a mailbox.
	MethodKnowledge
	// MethodVoice is a call, which is forwarded and talked through.
	MethodVoice
	// MethodSMS is a text message: not spoken, but numbers are ported and messages rerouted.
	MethodSMS
	// MethodCode is a one-time code of an app or token, or a prompt that is answered with one tap: relayed within its
	// half minute, or pressed out of habit.
	MethodCode
	// MethodNumberMatch is a prompt that is answered with the number on the other screen: no tap out of habit, but a
	// look-alike site shows the number as well.
	MethodNumberMatch
	// MethodResistant is bound to the site it is for, so that nothing can be relayed: FIDO2, passkeys, certificates,
	// Windows Hello and its like.
	MethodResistant
)

// methodRanks are by the names that sources use, in lower case with underscores.
var methodRanks = map[string]MethodRank{
	"password": MethodKnowledge, "pwd": MethodKnowledge, "pin": MethodKnowledge, "kba": MethodKnowledge,
	"security_question": MethodKnowledge, "secret_question": MethodKnowledge, "email": MethodKnowledge,
	"seamless_sso": MethodKnowledge, "magic_link": MethodKnowledge,

	"voice": MethodVoice, "phone": MethodVoice, "call": MethodVoice, "tel": MethodVoice,

	"sms": MethodSMS, "text": MethodSMS,

	"otp": MethodCode, "totp": MethodCode, "hotp": MethodCode, "oath": MethodCode, "push": MethodCode, "authenticator": MethodCode,
	"hardware_token": MethodCode, "hardware_key": MethodCode, "software_key": MethodCode, "backup_code": MethodCode,
	"temporary_access_pass": MethodCode, "qr_code_pin": MethodCode, "biometric": MethodCode, "face": MethodCode,
	"fingerprint": MethodCode, "iris": MethodCode, "retina": MethodCode, "duo": MethodCode,

	"push_number_match": MethodNumberMatch, "number_match": MethodNumberMatch, "phone_sign_in": MethodNumberMatch,
	"fastpass": MethodNumberMatch, // more with the right device, which its source then says

	"fido": MethodResistant, "fido2": MethodResistant, "passkey": MethodResistant, "webauthn": MethodResistant,
	"u2f": MethodResistant, "security_key": MethodResistant, "certificate": MethodResistant, "x509": MethodResistant,
	"smart_card": MethodResistant, "piv": MethodResistant, "windows_hello": MethodResistant,
	"windows_hello_for_business": MethodResistant, "platform_credential": MethodResistant,
}

// wholeMethods prove a second factor by themselves: the device is unlocked, or an administrator has looked.
var wholeMethods = []string{"phone_sign_in", "temporary_access_pass", "fastpass"}

var plainMethod = strings.NewReplacer(" ", "_", "-", "_")

func methodName(method string) string { return plainMethod.Replace(strings.ToLower(method)) }

// RankMethod ranks one method by its name, in any case, with spaces, dashes or underscores.
func RankMethod(method string) MethodRank {
	if rank, ok := methodRanks[method]; ok {
		return rank
	}
	return methodRanks[methodName(method)]
}

// BestMethod is the highest rank among methods.
func BestMethod(methods []string) MethodRank {
	best := Unranked
	for _, m := range methods {
		best = max(best, RankMethod(m))
	}
	return best
}

// StrengthOf is how strong a proof by all of the methods together is: something known and something held are two factors,
// two things of one kind are one. "" when none of them is known.
func StrengthOf(methods []string) events.Strength {
	known, held, whole := false, false, false
	for _, m := range methods {
		switch rank := RankMethod(m); {
		case rank == MethodResistant:
			return events.PhishingResistant
		case rank == MethodKnowledge:
			known = true
		case rank > MethodKnowledge:
			held = true
			whole = whole || slices.Contains(wholeMethods, methodName(m))
		}
	}
	switch {
	case whole || known && held:
		return events.MultiFactor
	case known || held:
		return events.SingleFactor
	}
	return ""
}

// strengthOfACR is what well-known authentication context classes stand for (OpenID EAP ACR values, and the short name
// that providers use for several factors). Any other class has to be named by the proof itself.
func strengthOfACR(acr string) events.Strength {
	switch acr {
	case acrResistant, "phrh":
		return events.PhishingResistant
	case acrMFA:
		return events.MultiFactor
	}
	return ""
}

// Our own names of authentication context classes.
const (
	acrResistant = "phr"
	acrMFA       = "mfa"
)

// Proof is what an event says about who is there: when that was proved, and how strongly.
type Proof struct {
	// Time is 0 when the event tells of no proof.
	Time     events.Millis
	ACR      string
	Strength events.Strength
}

// Clock is the moment of an event: when it was accepted, or when it happened if that is later or all that is known.
func Clock(e *events.Event) events.Millis { return max(e.Time, e.Ingested) }

// ProofOf reads the proof out of an event. A second factor that was only carried over from an earlier sign-in is no new
// proof unless the source says when it was made. The methods count where the source gave no strength.
func ProofOf(e *events.Event) Proof {
	p := Proof{ACR: e.Auth.ACR, Strength: e.Auth.Strength}
	switch {
	case e.Auth.Time != 0:
		p.Time = min(e.Auth.Time, Clock(e)) // nobody has proved anything tomorrow
	case e.Kind == events.SignIn && e.Interactive == events.Yes:
		p.Time = e.Time
	}
	if p.Strength == "" {
		p.Strength = StrengthOf(e.Auth.Methods)
	}
	p.Strength = stronger(p.Strength, strengthOfACR(e.Auth.ACR))
	if e.Auth.MFA == events.MFAPerformed {
		p.Strength = stronger(p.Strength, events.MultiFactor)
	}
	if e.Auth.MFA == events.MFAByClaim && e.Auth.Time == 0 {
		p.ACR = ""
		if p.Strength.Rank() > events.SingleFactor.Rank() {
			p.Strength = events.SingleFactor
		}
	}
	return p
}

func stronger(a, b events.Strength) events.Strength {
	if b.Rank() > a.Rank() {
		return b
	}
	return a
}

// Enough reports whether the proof is of one of the classes, or as strong as one of them stands for; no class at all asks
// for nothing. Whether it is fresh enough is another question.
func (p Proof) Enough(acrValues []string) bool {
	if len(acrValues) == 0 {
		return true
	}
	for _, wanted := range acrValues {
		if wanted == p.ACR {
			return true
		}
		if s := strengthOfACR(wanted); s != "" && p.Strength.Rank() >= s.Rank() {
			return true
		}
	}
	return false
}

// AsksForAtLeast reports whether every proof that is enough for the classes have is enough for the classes want.
func AsksForAtLeast(have, want []string) bool {
	if len(want) == 0 {
		return true
	}
	if len(have) == 0 {
		return false
	}
	for _, v := range have {
		enough := slices.ContainsFunc(want, func(w string) bool {
			least := strengthOfACR(w)
			return v == w || least != "" && strengthOfACR(v).Rank() >= least.Rank()
		})
		if !enough {
			return false
		}
	}
	return true
}
