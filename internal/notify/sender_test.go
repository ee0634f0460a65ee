package notify

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/outbound"
)

var update = flag.Bool("update", false, "write the golden files anew")

const at = events.Millis(1767571200123)

// sample is a message about an incident whose texts an attacker has chosen.
func sample() Message {
	return Message{
		ID: "m1", Phase: incident.Firing, Incident: incident.Incident{
			ID: "i1", Kind: incident.User, Tenant: "acme", User: "u=1", UserName: "ada|x\\@example.com <!channel> @everyone", Severity: events.High,
			Title: "Impossible travel", Summary: "Lagos\r\n<134>1 forged=yes\u202e [click](https://evil.example) & *bold*", Since: at - 60_000, Opened: at, Updated: at,
			Findings: 3, Users: 1, Detections: []string{"LOC-01", "DEV-02"}, IP: "203.0.113.9", Place: "Lagos, NG", Device: "Linux Chrome\x1b[31m",
			App: "mail", Action: events.StepUp, Policy: "travel", Reason: "too fast", Requirement: "txn-1", Expires: at + 3_600_000,
		},
	}
}

func written(t *testing.T, dialect escape) Message {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DashboardURL = "https://countersign.example/app/"
	templates, err := newTemplates(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := sample()
	templates.write(&m, dialect)
	return m
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, string(want)); diff != "" {
		t.Errorf("%s (-got, +want)\n%s", name, diff)
	}
}

func pretty(t *testing.T, b []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		t.Fatal(err)
	}
	return out.String() + "\n"
}

// posted sends a message to a target of a type and returns the request and its body.
func posted(t *testing.T, target Target, m Message) (*http.Request, string) {
	t.Helper()
	requests := make(chan *http.Request, 1)
	bodies := make(chan []byte, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		requests <- r
		bodies <- b
	}))
	defer server.Close()
	cfg := outbound.DefaultConfig()
	cfg.PlainHTTP, cfg.AllowNetworks = true, []string{"127.0.0.0/8"}
	client, err := outbound.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	guard, err := outbound.NewGuard(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if target.Type == TypeTeams {
		target.URLFile = writeFile(t, filepath.Join(t.TempDir(), "url"), server.URL+"/workflows/x?sig=secret\n")
	} else {
		target.URL = server.URL
	}
	s, _, err := newSender(&target, client, guard)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.send(t.Context(), &m); err != nil {
		t.Fatal(err)
	}
	return <-requests, pretty(t, <-bodies)
}

func TestAlertmanager(t *testing.T) {
	t.Parallel()
	token := writeFile(t, filepath.Join(t.TempDir(), "token"), "a-token\n")
	m := written(t, plain)
	r, body := posted(t, Target{Name: "a", Type: TypeAlertmanager, TokenFile: token}, m)
	if r.URL.Path != "/api/v2/alerts" || r.Header.Get("Authorization") != "Bearer a-token" {
		t.Errorf("%s %v", r.URL, r.Header)
	}
	golden(t, "alertmanager.json", body)
	m.Phase, m.Closed, m.Ending = incident.Resolved, at+1000, incident.Satisfied
	_, over := posted(t, Target{Name: "a", Type: TypeAlertmanager}, m)
	var fired, ended []alert
	if err := errors.Join(json.Unmarshal([]byte(body), &fired), json.Unmarshal([]byte(over), &ended)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ended[0].Labels, fired[0].Labels); diff != "" || ended[0].StartsAt != fired[0].StartsAt || ended[0].EndsAt != "2026-01-05T00:00:01.123Z" {
		t.Errorf("what resolves is not the same alert: %+v %s", ended, diff)
	}
}

func TestSplunk(t *testing.T) {
	t.Parallel()
	token := writeFile(t, filepath.Join(t.TempDir(), "token"), "b-token")
	r, body := posted(t, Target{Name: "s", Type: TypeSplunk, TokenFile: token}, written(t, plain))
	if r.URL.Path != "/services/collector/event" || r.Header.Get("Authorization") != "Splunk b-token" {
		t.Errorf("%s %v", r.URL, r.Header)
	}
	golden(t, "splunk.json", body)
}

func TestWebhookBody(t *testing.T) {
	t.Parallel()
	secret := writeFile(t, filepath.Join(t.TempDir(), "secret"), whsec)
	r, body := posted(t, Target{Name: "w", Type: TypeWebhook, SecretFile: secret}, written(t, plain))
	if r.Header.Get("Webhook-Id") != "m1" {
		t.Error(r.Header)
	}
	golden(t, "webhook.json", body)
}

func TestTeams(t *testing.T) {
	t.Parallel()
	r, body := posted(t, Target{Name: "t", Type: TypeTeams}, written(t, markdown))
	if r.URL.Query().Get("sig") != "secret" {
		t.Error(r.URL)
	}
	golden(t, "teams.json", body)
}

func TestTextsOfEachDialect(t *testing.T) {
	t.Parallel()
	for name, dialect := range map[string]escape{"plain": plain, "chat": chat, "slack": slack, "markdown": markdown} {
		m := written(t, dialect)
		text := m.TitleText + "\n" + m.Text + "\n"
		golden(t, name+".txt", text)
		if strings.ContainsAny(text, "\r\x1b\u202e") {
			t.Errorf("%s: control characters are left: %q", name, text)
		}
		for _, bad := range map[string][]string{
			"chat": {"<!channel>", "@everyone", "https://evil"}, "slack": {"<!channel>", "https://evil"}, "markdown": {"<!channel>", "@everyone", "https://evil", "[click](", " *bold*"},
		}[name] {
			if strings.Contains(text, bad) {
				t.Errorf("%s: %q is left in %q", name, bad, text)
			}
		}
	}
}

func TestTemplatesAreBounded(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.TextTemplate = `{{range $i, $c := .Summary | printf "%9999999s" }}{{$i}}{{end}}`
	if _, err := newTemplates(cfg); err == nil {
		t.Error("ranging over a text is accepted")
	}
	cfg.TextTemplate = `{{.Nothing}}`
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "text_template") {
		t.Error(err)
	}
	cfg.TextTemplate = `{{range .Detections}}{{.}} {{end}}`
	templates, err := newTemplates(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := sample()
	for range 10_000 {
		m.Detections = append(m.Detections, "LOC-01")
	}
	templates.write(&m, plain)
	if len(m.Text) > maxBody || len(m.TitleText) > maxTitle {
		t.Errorf("%d and %d bytes", len(m.Text), len(m.TitleText))
	}
}

// listener takes one connection, and gives what came.
func listener(t *testing.T) (address string, got chan string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	got = make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b, _ := io.ReadAll(bufio.NewReader(conn))
		got <- string(b)
	}()
	return l.Addr().String(), got
}

func TestSyslog(t *testing.T) {
	t.Parallel()
	address, got := listener(t)
	s, err := newSyslog("tcp://" + address)
	if err != nil {
		t.Fatal(err)
	}
	s.host = "host"
	m := written(t, plain)
	if err := s.send(t.Context(), &m); err != nil {
		t.Fatal(err)
	}
	line := <-got
	size, rest, _ := strings.Cut(line, " ")
	if size != fmt.Sprint(len(rest)) || strings.ContainsAny(rest, "\r\n") {
		t.Errorf("framing: %q", line)
	}
	golden(t, "syslog.txt", rest+"\n")

	udp, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	if s, err = newSyslog("udp://" + udp.LocalAddr().String()); err != nil {
		t.Fatal(err)
	}
	m.Summary = strings.Repeat("ä", 10_000)
	if err := s.send(t.Context(), &m); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	n, _, err := udp.ReadFrom(buf)
	if err != nil || n > maxDatagram || !bytes.HasPrefix(buf, []byte("<35>1 ")) {
		t.Errorf("%d bytes, %v: %.60q", n, err, buf[:n])
	}
	if s, err = newSyslog("tcp://" + address); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.send(ctx, &m); err == nil {
		t.Error("sent nowhere")
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	for _, c := range []struct {
		status int
		header string
		final  bool
		after  time.Duration
	}{
		{400, "", true, 0},
		{413, "", true, 0},
		{422, "5", true, 0},
		{401, "", false, 0},
		{404, "", false, 0},
		{307, "", false, 0},
		{429, "7", false, 7 * time.Second},
		{503, "999999999999", false, 0},
		{429, "99999999", false, time.Hour},
		{429, "-1", false, 0},
		{503, now.Add(time.Minute).UTC().Format(http.TimeFormat), false, time.Minute},
		{500, "7", false, 0},
	} {
		r, ok := errors.AsType[*rejection](judge(c.status, c.header, now))
		if !ok || r.final != c.final || c.header != "999999999999" && r.after != c.after || r.after > time.Hour {
			t.Errorf("%d %q: %+v", c.status, c.header, r)
		}
	}
	if err := judge(204, "", now); err != nil {
		t.Error(err)
	}
}

// through sends what a client of a service would send to a server of the test.
type through struct{ to *url.URL }

func (t through) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Was", r.URL.String())
	r.URL.Scheme, r.URL.Host = t.to.Scheme, t.to.Host
	return http.DefaultTransport.RoundTrip(r)
}

func TestShoutrrr(t *testing.T) {
	t.Parallel()
	const key = "0123456789abcdef0123456789abcdef"
	status, requests := http.StatusAccepted, make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		requests <- r.Header.Get("X-Was") + "\n" + pretty(t, b)
		w.WriteHeader(status)
	}))
	defer server.Close()
	to, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := &shout{urlFile: writeFile(t, filepath.Join(t.TempDir(), "url"), "pagerduty:///"+key), client: &http.Client{Transport: through{to}}}
	m := written(t, plain)
	if err := s.send(t.Context(), &m); err != nil {
		t.Fatal(err)
	}
	golden(t, "pagerduty.txt", <-requests)
	m.Phase = incident.Resolved
	if err := s.send(t.Context(), &m); err != nil {
		t.Fatal(err)
	}
	if got := <-requests; !strings.Contains(got, `"event_action": "resolve"`) || !strings.Contains(got, `"dedup_key": "i1"`) {
		t.Error(got)
	}
	status = http.StatusTooManyRequests
	if err := s.send(t.Context(), &m); err == nil || err.Error() != "answered 429" {
		t.Error(err)
	}

	status = http.StatusNoContent
	s = &shout{urlFile: writeFile(t, filepath.Join(t.TempDir(), "url"), "discord://token@1234567"), client: &http.Client{Transport: through{to}}}
	<-requests
	m = written(t, markdown)
	if err := s.send(t.Context(), &m); err != nil {
		t.Fatal(err)
	}
	golden(t, "discord.txt", <-requests)
}

// A call of the library that hangs is not joined by others, and does not stop the target for ever.
func TestShoutrrrThatHangs(t *testing.T) {
	t.Parallel()
	hanging, release := make(chan struct{}, 1), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		hanging <- struct{}{}
		<-release
	}))
	defer server.Close()
	defer close(release)
	to, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := &shout{urlFile: writeFile(t, filepath.Join(t.TempDir(), "url"), "discord://token@1234567"), client: &http.Client{Transport: through{to}}}
	m := written(t, markdown)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.send(ctx, &m) }()
	<-hanging
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.send(t.Context(), &m); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Error(err)
	}
	s.since.Store(1) // long ago
	ctx, cancel = context.WithCancel(t.Context())
	go func() { done <- s.send(ctx, &m) }()
	<-hanging
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Only services whose host is fixed are allowed, and what is wrong with an address does not quote it.
func TestShoutrrrRefuses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"generic://10.0.0.1/secret", "gotify://internal/secret", "logger://secret", "mattermost://10.0.0.1/secret", "ntfy://10.0.0.1/secret", "slack+https://10.0.0.1/secret",
		"pagerduty://169.254.169.254/0123456789abcdef0123456789abcdef", "opsgenie://10.0.0.1/secret", "googlechat://10.0.0.1/secret?key=a&token=b",
		"smtp://u:secret@mail.example:587/?from=a@b.example&to=c@d.example&usehtml=yes", "smtp://mail.example/?from=a@b.example&to=c@d.example&SkipTLSVerify=yes",
		"telegram://secret@evil.example?chats=1", "slack://secret", "not an address secret", "secret\nsecret", "",
	} {
		s := &shout{urlFile: writeFile(t, filepath.Join(t.TempDir(), "url"), address)}
		if _, err := s.check(); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{
		"slack://hook:AAAAAAAAA-BBBBBBBBB-123456789123456789123456@webhook", "discord://token@1234567", "telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0@telegram?chats=@channel",
		"opsgenie://api.eu.opsgenie.com/key", "googlechat://chat.googleapis.com/v1/spaces/FOO/messages?key=a&token=b",
		"smtp://u:p@mail.example:587/?from=a@b.example&to=c@d.example", "pushover://shoutrrr:token@user/",
	} {
		s := &shout{urlFile: writeFile(t, filepath.Join(t.TempDir(), "url"), address)}
		if _, err := s.check(); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// What is not in force is not told as done.
func TestDecided(t *testing.T) {
	t.Parallel()
	for want, i := range map[string]incident.Incident{
		"a second proof of identity is asked for (policy p)":                                                  {},
		"nothing, the policy only watches; it would be: a second proof of identity is asked for":              {Observed: true},
		"nothing anew, the policy asked the same of the user lately: a second proof of identity is asked for": {Cooling: true},
		"nothing, until the breaker is reset":                                                                 {Held: true},
	} {
		i.Action, i.Policy, i.Kind = events.StepUp, "p", incident.User
		if got := (&Message{Incident: i}).Decided(); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
