package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // of the convention's published example

func parse(t *testing.T, text string) Secret {
	t.Helper()
	s, err := ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPublishedExample(t *testing.T) {
	t.Parallel()
	h, body, at := http.Header{}, []byte(`{"test": 2432232314}`), time.Unix(1614265330, 0)
	secrets := Secrets{parse(t, text)}
	secrets.Sign(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body)
	if got := h.Get("webhook-signature"); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signature %s", got)
	}
	if h.Get("webhook-id") != "msg_p5jXN8AQM9LWM0D4loKWxJek" || h.Get("webhook-timestamp") != "1614265330" {
		t.Errorf("headers %v", h)
	}
	if err := secrets.Verify(h, body, at); err != nil {
		t.Error(err)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	old, next := parse(t, text), parse(t, "whsec_"+strings.Repeat("QUJD", 8))
	h, body, now := http.Header{}, []byte("body"), time.Unix(1800000000, 0)
	Secrets{next, old}.Sign(h, "m1", now, body)
	for name, receiver := range map[string]Secrets{"old": {old}, "next": {next}, "both": {old, next}} {
		if err := receiver.Verify(h, body, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (Secrets{parse(t, "whsec_"+strings.Repeat("eHl6", 8))}).Verify(h, body, now); !errors.Is(err, ErrSignature) {
		t.Errorf("a stranger's secret: %v", err)
	}
	h.Set(HeaderSignature, "v2,abc v1a,%% "+h.Get(HeaderSignature))
	if err := (Secrets{old}).Verify(h, body, now); err != nil {
		t.Errorf("signatures of other versions: %v", err)
	}
}

// Whatever is changed of a signed message, it is refused.
func TestNothingCanBeChanged(t *testing.T) {
	t.Parallel()
	secrets := Secrets{parse(t, text)}
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64Range(1e9, 4e9).Draw(t, "now"), 0)
		id, body := rapid.StringMatching(`[a-z0-9_-]{1,40}`).Draw(t, "id"), rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "body")
		h := http.Header{}
		secrets.Sign(h, id, now, body)
		received := now.Add(time.Duration(rapid.Int64Range(-300, 300).Draw(t, "delay")) * time.Second)
		if err := secrets.Verify(h, body, received); err != nil {
			t.Fatalf("untouched: %v", err)
		}
		switch rapid.IntRange(0, 5).Draw(t, "change") {
		case 0:
			h.Set(HeaderID, id+"x")
		case 1:
			h.Set(HeaderTimestamp, fmt.Sprint(now.Unix()+1))
		case 2:
			body[rapid.IntRange(0, len(body)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case 3:
			h.Set(HeaderSignature, h.Get(HeaderSignature)[:20])
		case 4:
			h.Del(rapid.SampledFrom([]string{HeaderID, HeaderTimestamp, HeaderSignature}).Draw(t, "header"))
		case 5:
			received = now.Add(Tolerance + time.Second)
		}
		if secrets.Verify(h, body, received) == nil {
			t.Fatal("a changed message is taken")
		}
	})
}

func TestSecretsAreReadAndNeverShown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secrets")
	read := func(content string) (Secrets, error) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return ReadSecrets(path)
	}
	list, err := read("# next\n" + text + "\n\n " + text + " \n")
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	holder := struct{ secrets Secrets }{list}
	for _, shown := range []string{fmt.Sprint(list), fmt.Sprintf("%+v %#v %x", holder, holder, list[0])} {
		if strings.Contains(shown, "MfKQ") || strings.Contains(shown, "31f290") || strings.Contains(shown, "49 242 144") {
			t.Errorf("the secret is shown: %s", shown)
		}
	}
	for content, want := range map[string]string{
		"":                                     "holds 0 secrets",
		strings.Repeat(text+"\n", 5):           "holds 5 secrets",
		"hunter2":                              ":1: secret does not begin",
		text + "\nwhsec_hunter2!":              ":2: secret is not",
		"whsec_aHVudGVyMg==":                   "has 7 bytes",
		"whsec_" + strings.Repeat("QUJD", 22):  "has 66 bytes",
		strings.Repeat("# hunter2\n", maxFile): "larger",
	} {
		if _, err := read(content); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "aHVu") {
			t.Errorf("%.30q: %v", content, err)
		}
	}
	if _, err := ReadSecrets(path + ".gone"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func FuzzVerify(f *testing.F) {
	s, err := ParseSecret(text)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("m", "1614265330", "v1,", []byte("x"))
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		h := http.Header{HeaderID: {id}, HeaderTimestamp: {timestamp}, HeaderSignature: {signature}}
		if (Secrets{s}).Verify(h, body, time.Unix(1614265330, 0)) == nil {
			t.Error("a forged message is taken")
		}
	})
}
