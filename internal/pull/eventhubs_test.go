package pull

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	sharedKey  = "c2VjcmV0IHNlY3JldCBzZWNyZXQ="
	namespace  = "Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=listen;SharedAccessKey=" + sharedKey
	ofOneHub   = namespace + ";EntityPath=insights-logs-signinlogs"
	ofEmulator = "Endpoint=sb://localhost;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=" + sharedKey + ";UseDevelopmentEmulator=true;"
)

func TestConnectionStringIsRead(t *testing.T) {
	t.Parallel()
	type parsed struct {
		Broker, Hub string
		Encrypted   bool
	}
	for text, want := range map[string]parsed{
		namespace:  {"contoso.servicebus.windows.net:9093", "", true},
		ofOneHub:   {"contoso.servicebus.windows.net:9093", "insights-logs-signinlogs", true},
		ofEmulator: {"localhost:9092", "", false},
		"endpoint=sb://h:1/;entitypath=a;sharedaccesssignature=SharedAccessSignature sr=x&sig=y": {"h:1", "a", true},
	} {
		broker, hub, encrypted, err := parseConnectionString(text)
		if d := cmp.Diff(want, parsed{broker, hub, encrypted}); d != "" || err != nil {
			t.Errorf("error %v (-want, +got):\n%s", err, d)
		}
	}
	for text, want := range map[string]string{
		"":                                      "Endpoint is missing",
		sharedKey:                               "Endpoint is missing",
		"just words":                            "every field must be name=value",
		`"` + namespace + `"`:                   "without spaces, quotes",
		namespace + "\n" + namespace:            "further lines",
		" " + namespace:                         "without spaces",
		"Endpoint=https://h/;SharedAccessKey=k": "not of the form sb://",
		"Endpoint=sb://h/;SharedAccessKey=k":    "no SharedAccessKeyName",
		"Endpoint=sb://" + sharedKey + "\x7f/;": "Endpoint is missing or not",
	} {
		if _, _, _, err := parseConnectionString(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
}

func TestConnectionStringFillsTheConfig(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "connection")
	for _, c := range []struct {
		text   string
		topics []string
		want   []string // topics
		err    string
	}{
		{ofOneHub + "\r\n", nil, []string{"insights-logs-signinlogs"}, ""},
		{ofOneHub, []string{"insights-logs-signinlogs"}, []string{"insights-logs-signinlogs"}, ""},
		{namespace, []string{"a", "b"}, []string{"a", "b"}, ""},
		{namespace, nil, nil, "names no event hub"},
		{ofOneHub, []string{"other"}, nil, "only, and topics names others"},
		{strings.Repeat("x", maxConnectionString+1), nil, nil, "no connection string has"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := KafkaConfig{Topics: c.topics, ConnectionStringFile: path}
		err := cfg.fromConnectionString()
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("error is %v, want one with %q", err, c.err)
			}
		case err != nil:
			t.Errorf("%q: %v", c.topics, err)
		default:
			if d := cmp.Diff(c.want, cfg.Topics); d != "" {
				t.Errorf("topics (-want, +got):\n%s", d)
			}
			if err := withDefaults(cfg.Kafka).Validate(); err != nil {
				t.Errorf("what it fills in is not valid: %v", err)
			}
		}
	}
	missing := KafkaConfig{ConnectionStringFile: path + ".none"}
	if err := missing.fromConnectionString(); err == nil {
		t.Error("a file that is not there is read")
	}
}

// Whatever is in the file, no error shows a secret of it, and what is accepted names a broker.
func FuzzConnectionString(f *testing.F) {
	for _, text := range []string{namespace, ofOneHub, ofEmulator, "", "=;=", "Endpoint=sb://[::1]:9/;SharedAccessSignature=x", "Endpoint=sb://%zz"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const secret = "U2VjcmV0IQ"
		broker, _, _, err := parseConnectionString(strings.ReplaceAll(text, sharedKey, secret) + ";SharedAccessKey=" + secret)
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows the key: %v", err)
		}
		if err == nil && (broker == "" || strings.HasPrefix(broker, ":")) {
			t.Errorf("accepted without a broker: %q", broker)
		}
	})
}
