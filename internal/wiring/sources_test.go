package wiring

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/source/entra/graph"
	"github.com/countersign-io/countersign/internal/source/okta"
)

func TestSourcesAreCheckedAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := config.Parse(DefaultConfig(), []byte(`
sources:
  okta:
    - name: one
      tenant: acme
      org_url: http://example.com
      token_file: token
  kafka:
    - name: one
      format: smoke-signals
      tenants: ["*"]
      topics: [a]
      kafka: {brokers: ["127.0.0.1:9092"]}
  entra_graph:
    - name: contoso
      tenant: contoso.example.com
      credential: {kind: client_secret, client_id: 5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315, secret_file: secret}
  google: [{nome: x}]
`), nil, "sources")
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"sources.okta[0].org_url: ", `sources.kafka[0].format: "smoke-signals" is unknown`, "sources.entra_graph[0].tenant: ",
		`the name "one" is also that of a source in kafka`, "sources.google[0].nome: unknown key",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing about %q in\n%v", want, err)
		}
	}
}

// A list of sources in the file has every source's own defaults.
func TestSourcesNeedLittle(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse(DefaultConfig(), []byte(`
sources:
  okta: [{name: okta, tenant: acme, org_url: "https://example.okta.com", token_file: token}]
  google: [{name: google, credentials_file: key.json, admin: admin@example.com}]
  kafka:
    - {name: hub, format: entra-eventhub, tenants: ["*"], connection_string_file: secret}
    - {name: broker, format: event, tenants: [acme], topics: [logins], kafka: {brokers: ["kafka.example.com:9092"]}}
  ssf:
    - {name: peer, tenant: acme, issuer: "https://peer.example.com", audience: [us], push: {token_file: token}}
  entra_graph:
    - name: contoso
      tenant: 0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80
      credential: {kind: managed_identity}
`), nil, "sources")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range cfg.SourceNames() {
		names = append(names, n.Name+" "+n.Format)
	}
	want := "contoso/sign_ins entra-graph, contoso/directory_audits entra-graph, hub entra-eventhub, broker event, okta okta, google google, peer ssf"
	if got := strings.Join(names, ", "); got != want {
		t.Errorf("sources %s\nwant    %s", got, want)
	}
	if _, err := cfg.Sources.asked(nil, nil); err != errNoGraph { //nolint:errorlint // the very one
		t.Errorf("without the Graph SDK: %v", err)
	}
}

func TestMomentsInEveryForm(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 8, 15, 31, 0, time.UTC)
	for text, want := range map[string]string{
		"2026-03-01T12:00:00+02:00": "2026-03-01T10:00:00Z", "2026-03-01": "2026-03-01T00:00:00Z", "30d": "2026-02-02T00:00:00Z",
		"90m": "2026-03-04T06:45:00Z", "soon": "", "": "", "-3h": "", "0d": "", "99999d": "",
	} {
		span, err := ParseSpan(text, "", now)
		if got := span.Since.UTC().Format(time.RFC3339); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
	if _, err := ParseSpan("30d", "tomorrow", now); err == nil || !strings.Contains(err.Error(), "until: ") {
		t.Errorf("until: %v", err)
	}
}

func TestTokensNameFormatsThatMayBeSent(t *testing.T) {
	t.Parallel()
	for format, good := range map[string]bool{"okta": true, "event": true, "*": true, "oktaa": false, "ssf": false} {
		_, err := config.Parse(DefaultConfig(), []byte(`ingest: {tokens: [{file: f, source: s, tenants: [acme], formats: ["`+format+`"]}]}`), nil, "ingest")
		if (err == nil) != good {
			t.Errorf("%s: %v", format, err)
		}
	}
}

// What is wrong with one source does not keep another from being asked for its history.
func TestABackfillConcernsItsSourceOnly(t *testing.T) {
	t.Parallel()
	cfg := DefaultSources()
	cfg.Okta = []okta.Config{{Name: "okta", Tenant: "acme", OrgURL: "https://example.okta.com", TokenFile: "absent"}}
	cfg.EntraGraph = []graph.Config{{Name: "contoso"}}
	only, err := cfg.only("okta")
	if err != nil || len(only.EntraGraph) != 0 || len(only.Okta) != 1 {
		t.Errorf("%+v, %v", only, err)
	}
	if only, err := cfg.only("contoso/sign_ins"); err != nil || len(only.EntraGraph) != 1 || len(only.Okta) != 0 {
		t.Errorf("%+v, %v", only, err)
	}
	if _, err := cfg.only("octa"); err == nil || !strings.Contains(err.Error(), "contoso/sign_ins, contoso/directory_audits, okta") {
		t.Errorf("%v", err)
	}
	if _, err := DefaultSources().only("okta"); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("%v", err)
	}
}
