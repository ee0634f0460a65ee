package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type kafka struct {
	Brokers []string      `yaml:"brokers"`
	Timeout time.Duration `yaml:"timeout"`
	TLS     struct {
		Enabled bool `yaml:"enabled"`
	} `yaml:"tls"`
}

func (k kafka) Validate() error {
	if len(k.Brokers) == 0 {
		return errors.New("brokers: is empty, name at least one host:port")
	}
	return nil
}

type token struct {
	Name   string `yaml:"name"`
	Secret string `yaml:"secret" secret:"true"`
}

type api struct {
	Limit  int     `yaml:"limit"`
	Rate   float64 `yaml:"rate"`
	Tokens []token `yaml:"tokens"`
}

func (a api) Validate() error {
	if a.Limit < 1 {
		return errors.Join(errors.New("limit: must be at least 1"), errors.New("rate: unrelated"))
	}
	return nil
}

type root struct {
	Kafka kafka `yaml:"kafka"`
	API   api   `yaml:"api"`
}

func defaults() root {
	return root{Kafka: kafka{Brokers: []string{"a:1", "b:2", "c:3"}, Timeout: time.Second}, API: api{Limit: 5}}
}

func TestFileOverDefaultsAndEnvironmentOverFile(t *testing.T) {
	got, err := Parse(defaults(), []byte("kafka: {brokers: ['x:9'], tls: {enabled: true}}\napi: {tokens: [{name: n, secret: s}]}"),
		[]string{"COUNTERSIGN_KAFKA__TIMEOUT=3s", "COUNTERSIGN_API__LIMIT=7", "COUNTERSIGN_API__RATE=1.5", "COUNTERSIGN_ENGINE_LIB=/x", "PATH=/bin"})
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Kafka.Brokers, want.Kafka.Timeout, want.Kafka.TLS.Enabled = []string{"x:9"}, 3*time.Second, true
	want.API = api{Limit: 7, Rate: 1.5, Tokens: []token{{"n", "s"}}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	got, err = Parse(defaults(), nil, []string{"COUNTERSIGN_KAFKA__BROKERS=p:1,q:2"})
	if err != nil || !cmp.Equal(got.Kafka.Brokers, []string{"p:1", "q:2"}) {
		t.Errorf("brokers from the environment: %v, %v", got.Kafka.Brokers, err)
	}
}

func TestEveryProblemIsReportedWithItsPath(t *testing.T) {
	_, err := Parse(defaults(), []byte("kafka: {brokers: [], tls: {enable: true}, timeout: soon}\napi: {limit: 0, tokens: [{nam: n}]}\nmore: 1"),
		[]string{"COUNTERSIGN_API__LIMITS=7"})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, path := range []string{
		"kafka.brokers: ", "kafka.tls.enable: unknown key", "kafka.timeout: ", "api.limit: ", "api.rate: ", "api.limits: unknown key",
		"api.tokens[0].nam: unknown key", "more: unknown key",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+path) {
			t.Errorf("nothing about %q in\n%v", path, err)
		}
	}
}

func TestSectionsThatAreNotUsedMayBeIncomplete(t *testing.T) {
	content := []byte("kafka: {brokers: []}")
	if _, err := Parse(defaults(), content, nil, "api"); err != nil {
		t.Errorf("the kafka section was asked although only api is used: %v", err)
	}
	if _, err := Parse(defaults(), content, nil, "api", "kafka"); err == nil {
		t.Error("accepted")
	}
	if _, err := Parse(defaults(), []byte("kafka: {broker: []}"), nil, "api"); err == nil {
		t.Error("an unknown key in another section was accepted")
	}
}

func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"not yaml": "a: [", "not a map": "- a\n- b", "too large": strings.Repeat("#\n", MaxFile),
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(defaults(), file, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Load(defaults(), filepath.Join(dir, "absent"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

func TestDumpReadsBackAndHidesSecrets(t *testing.T) {
	in := defaults()
	in.API.Tokens = []token{{"n", "hunter2"}}
	out, err := Dump(in)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "hunter2") || !strings.Contains(string(out), Redacted) {
		t.Errorf("the dump shows the secret:\n%s", out)
	}
	got, err := Parse(root{}, out, nil)
	if err != nil {
		t.Fatal(err)
	}
	in.API.Tokens[0].Secret = Redacted
	if diff := cmp.Diff(got, in); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("kafka: {brokers: ['x:9']}"))
	f.Add([]byte("api: {tokens: {a: 1}}"))
	f.Add([]byte("? {a: b}\n: c"))
	f.Fuzz(func(_ *testing.T, in []byte) {
		_, _ = Parse(defaults(), in, nil) // must not panic
	})
}

func TestDurationsInDaysAndWhatToWriteInstead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"30d": 30 * 24 * time.Hour, "90s": 90 * time.Second, "0d": 0} {
		got, err := Parse(whole{Kafka: kafka{Brokers: []string{"a:1"}}}, []byte("kafka: {timeout: "+text+"}"), nil)
		if err != nil || got.Kafka.Timeout != want {
			t.Errorf("%s: %v, %v", text, got.Kafka.Timeout, err)
		}
	}
	_, err := Parse(whole{Kafka: kafka{Brokers: []string{"a:1"}}}, []byte("kafka: {timeout: 3 weeks}"), nil)
	if err == nil || !strings.Contains(err.Error(), `kafka.timeout: is "3 weeks", write for example 90s, 15m, 72h or 30d`) {
		t.Errorf("%v", err)
	}
}

// whole is a configuration that has something to say about its sections together.
type whole struct {
	Kafka kafka `yaml:"kafka"`
}

func (w whole) Validate() error {
	if len(w.Kafka.Brokers) > 1 && w.Kafka.TLS.Enabled {
		return errors.New("kafka.tls: one problem of the whole")
	}
	return nil
}

func TestTheWholeHasItsSayWhateverTheSections(t *testing.T) {
	t.Parallel()
	_, err := Parse(whole{}, []byte("kafka: {brokers: [a, b], tls: {enabled: true}}"), nil, "other")
	if err == nil || err.Error() != "kafka.tls: one problem of the whole" {
		t.Errorf("%v", err)
	}
}

func TestSectionsThatAreNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	for _, c := range []struct {
		content       string
		environ       []string
		named, others []string
	}{
		{"", nil, nil, []string{"kafka", "api"}},
		{"api: {limit: 3}", nil, []string{"api"}, []string{"kafka"}},
		{"api:\n", nil, []string{"api"}, []string{"kafka"}},
		{"apes: {}", []string{"COUNTERSIGN_KAFKA__TIMEOUT=3s", "COUNTERSIGN_API=x"}, []string{"kafka"}, []string{"api"}},
	} {
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		named, others, err := Sections[root](file, c.environ)
		if err != nil || cmp.Diff([][]string{named, others}, [][]string{c.named, c.others}) != "" {
			t.Errorf("%q: %q and %q, %v", c.content, named, others, err)
		}
	}
	if named, others, err := Sections[root]("", nil); err != nil || named != nil || len(others) != 2 {
		t.Errorf("no file: %q and %q, %v", named, others, err)
	}
	if _, _, err := Sections[root](filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a file that is not there is taken")
	}
	if err := os.WriteFile(file, []byte("api: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Sections[root](file, nil); err == nil {
		t.Error("broken YAML is taken")
	}
}
