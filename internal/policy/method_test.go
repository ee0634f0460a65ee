package policy

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestMethodsAreRankedByWhatCanBeRelayed(t *testing.T) {
	order := []string{"never heard of", "password", "voice", "sms", "totp", "number_match", "passkey"}
	for i := 1; i < len(order); i++ {
		if RankMethod(order[i-1]) >= RankMethod(order[i]) {
			t.Errorf("%s is not weaker than %s", order[i-1], order[i])
		}
	}
	// What the sources call them.
	for _, name := range []string{
		"fido2", "passkey", "windows_hello", "platform_credential", "certificate", "phone_sign_in", "temporary_access_pass",
		"password", "push", "otp", "sms", "phone", "email", "fastpass", "security_question", "secret_question", "backup_code",
		"hardware_key", "software_key", "hardware_token", "u2f", "webauthn", "pin", "kba", "seamless_sso", "qr_code_pin",
		"biometric", "face", "fingerprint", "voice",
	} {
		if RankMethod(name) == Unranked {
			t.Errorf("%s has no rank", name)
		}
	}
	if RankMethod("Windows Hello") != MethodResistant || RankMethod("Smart-Card") != MethodResistant {
		t.Error("case, spaces and dashes matter")
	}
	for rank, name := range map[MethodRank]string{MethodKnowledge: "method_knowledge", MethodResistant: "method_resistant"} {
		if constants()[name] != int(rank) {
			t.Errorf("%s is %d", name, constants()[name])
		}
	}
}

func TestStrengthOfMethods(t *testing.T) {
	for _, c := range []struct {
		methods []string
		want    events.Strength
	}{
		{nil, ""},
		{[]string{"captcha"}, ""},
		{[]string{"password"}, events.SingleFactor},
		{[]string{"password", "security_question"}, events.SingleFactor},
		{[]string{"otp"}, events.SingleFactor},
		{[]string{"sms", "otp"}, events.SingleFactor},
		{[]string{"password", "sms"}, events.MultiFactor},
		{[]string{"push", "password"}, events.MultiFactor},
		{[]string{"phone_sign_in"}, events.MultiFactor},
		{[]string{"password", "fido2"}, events.PhishingResistant},
		{[]string{"windows_hello"}, events.PhishingResistant},
	} {
		if got := StrengthOf(c.methods); got != c.want {
			t.Errorf("%v: %q", c.methods, got)
		}
	}
	// The source's word goes before the names of the methods.
	e := event()
	e.Auth = events.Auth{Strength: events.SingleFactor, Methods: []string{"password", "fido2"}}
	if got := ProofOf(e).Strength; got != events.SingleFactor {
		t.Errorf("%q", got)
	}
}
