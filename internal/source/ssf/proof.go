package ssf

import (
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// factor is what kind of thing a method proves.
type factor int

const (
	unknownFactor factor = iota
	knowledge
	possession
	inherence
)

// amr are the authentication methods of RFC 8176 and some in use beside them.
var amr = map[string]struct {
	name   string
	factor factor
}{
	"pwd": {"password", knowledge}, "pin": {"pin", knowledge}, "kba": {"kba", knowledge},
	"otp": {"otp", possession}, "sms": {"sms", possession}, "tel": {"phone", possession}, "hwk": {"hardware_key", possession},
	"swk": {"software_key", possession}, "sc": {"certificate", possession}, "fido": {"fido2", possession},
	"fido2": {"fido2", possession}, "webauthn": {"fido2", possession}, "passkey": {"passkey", possession}, "u2f": {"fido2", possession},
	"face": {"face", inherence}, "fpt": {"fingerprint", inherence}, "iris": {"iris", inherence},
	"retina": {"retina", inherence}, "vbm": {"voice", inherence},
}

// bound are methods that no look-alike site can pass on, unphishable the authentication contexts that demand one.
var (
	bound       = []string{"fido2", "passkey", "certificate"}
	unphishable = []string{"phr", "phrh"}
)

// proof is what the methods and the authentication context of a session say of how identity was proved.
func proof(methods []string, acr string) (names []string, mfa events.MFA, strength events.Strength) {
	var factors [inherence + 1]bool
	multi := false
	for _, m := range methods {
		m = strings.ToLower(m)
		if m == "mfa" || m == "ngcmfa" {
			multi = true
			continue
		}
		known := amr[m]
		if known.name == "" {
			known.name = m
		}
		factors[known.factor] = true
		if !slices.Contains(names, known.name) {
			names = append(names, known.name)
		}
	}
	kinds := 0
	for f := knowledge; f <= inherence; f++ {
		if factors[f] {
			kinds++
		}
	}
	if multi = multi || kinds > 1; multi {
		mfa = events.MFAPerformed
	}
	switch {
	case slices.Contains(unphishable, acr), slices.ContainsFunc(names, func(n string) bool { return slices.Contains(bound, n) }):
		strength = events.PhishingResistant
	case multi:
		strength = events.MultiFactor
	case kinds == 1:
		strength = events.SingleFactor
	}
	return names, mfa, strength
}
