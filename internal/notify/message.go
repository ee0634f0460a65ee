package notify

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
)

// The phases of a message besides those of an incident.
const (
	phaseSummary incident.Phase = "summary"
	phaseTest    incident.Phase = "test"
)

// Message is what one target is told, and what templates see. Title and Text are written by the templates, with texts from
// outside made harmless for the target; all else is as it came.
type Message struct {
	// ID stays the same when the message is sent again.
	ID    string         `json:"message_id"`
	Phase incident.Phase `json:"phase"`
	incident.Incident
	// Link leads to the user's timeline, "" when there is none.
	Link string `json:"link,omitempty"`
	// More is how many incidents a summary stands for.
	More int `json:"more,omitempty"`
	// TitleText and Text are what a person reads.
	TitleText string `json:"title_text"`
	Text      string `json:"text"`
}

// Bounds of what is written, in bytes.
const (
	maxTitle    = 200
	maxBody     = 3500
	maxTemplate = 8 << 10
)

// Who is whom it is about, in words.
func (m *Message) Who() string {
	switch m.Kind {
	case incident.User:
		return cmp.Or(m.UserName, m.User)
	case incident.Network:
		return fmt.Sprintf("%d users of %s", m.Users, m.Tenant)
	default:
		return "users of " + m.Tenant
	}
}

// What is what happened, in a few words.
func (m *Message) What() string {
	switch m.Kind {
	case incident.Breaker:
		return "the breaker holds back what policies decide"
	case incident.Flood:
		return "too many incidents to tell of each"
	default:
		return m.Title
	}
}

// Where lists what is known of where it came from.
func (m *Message) Where() string {
	var parts []string
	for _, p := range []string{m.Source, m.Place, m.IP, m.Network, m.Device, m.App} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ", ")
}

// Decided is what was decided, in words.
func (m *Message) Decided() string {
	words := map[events.Action]string{
		events.StepUp: "a second proof of identity is asked for", events.RevokeSession: "the session is ended",
		events.RevokeAll: "every session is ended and the credential must be changed", events.Notify: "nothing but this message",
	}
	what := cmp.Or(words[m.Action], "nothing")
	switch {
	case m.Kind == incident.Breaker || m.Held:
		what = "nothing, until the breaker is reset"
	case m.Observed:
		what = "nothing, the policy only watches; it would be: " + what
	case m.Cooling:
		what = "nothing anew, the policy asked the same of the user lately: " + what
	}
	if m.Policy != "" {
		what += " (policy " + m.Policy + ")"
	}
	return what
}

// ToDo is what a person should do.
func (m *Message) ToDo() string {
	switch {
	case m.Phase == incident.Resolved && m.Ending == incident.Satisfied:
		return "Nothing: the user has proved who they are."
	case m.Phase == incident.Resolved:
		return "Nothing, unless the findings were not looked at yet."
	case m.Kind == incident.Breaker:
		return "Look at what the policies ask for, then run `countersign breaker reset`."
	case m.Kind == incident.Network:
		return "Block the source if it is not yours, and look at who got in."
	case m.Action.Rank() >= events.StepUp.Rank() && !m.Observed && !m.Held:
		return "Ask the user whether it was them; if not, reset the credential."
	default:
		return "Look at the timeline and decide."
	}
}

// Time writes a moment for people.
func (m *Message) Time(at events.Millis) string {
	return at.Time().UTC().Format("2006-01-02 15:04:05 UTC")
}

const (
	defaultTitle = `{{if eq .Phase "resolved"}}over: {{else if eq .Phase "test"}}test: {{end}}{{.Severity}}: {{.What}}: {{.Who}}`
	defaultText  = `Who: {{.Who}} ({{.Tenant}}{{with .User}}/{{.}}{{end}})
What: {{.Summary}}
Where: {{or .Where "unknown"}}
Since: {{.Time .Since}}, {{.Findings}} finding{{if ne .Findings 1}}s{{end}} ({{range $k, $d := .Detections}}{{if $k}}, {{end}}{{$d}}{{end}})
{{- if eq .Phase "resolved"}}
Over: {{.Time .Closed}}, {{.Ending}}{{end}}
Decided: {{.Decided}}{{with .Reason}}: {{.}}{{end}}
To do: {{.ToDo}}
{{- with .Link}}
Timeline: {{.}}{{end}}
`
)

// templates write messages.
type templates struct {
	title, text *template.Template
	dashboard   string
}

// newTemplates reads the templates and tries them.
func newTemplates(cfg Config) (*templates, error) {
	t := &templates{dashboard: cfg.DashboardURL}
	var errs []error
	parse := func(name, text, byDefault string) *template.Template {
		if len(text) > maxTemplate {
			errs = append(errs, fmt.Errorf("%s: has %d bytes, at most %d are allowed", name, len(text), maxTemplate))
			return nil
		}
		parsed, err := template.New(name).Parse(cmp.Or(text, byDefault))
		if err == nil {
			err = parsed.Execute(&bounded{left: maxBody}, &Message{Phase: incident.Firing, Incident: incident.Incident{Kind: incident.User}})
		}
		if err != nil && !errors.Is(err, errFull) {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		return parsed
	}
	t.title, t.text = parse("title_template", cfg.TitleTemplate, defaultTitle), parse("text_template", cfg.TextTemplate, defaultText)
	return t, errors.Join(errs...)
}

// errFull ends a template that writes more than is sent.
var errFull = errors.New("message is full")

// bounded takes as many bytes as are left.
type bounded struct {
	strings.Builder
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.Builder.Write(p[:n])
	b.left -= n
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

// write fills in the texts of a message for a target. A template that fails is replaced by the default one.
func (t *templates) write(m *Message, dialect escape) {
	m.Link = t.link(m)
	safe := *m
	for _, s := range []*string{
		&safe.Tenant, &safe.User, &safe.UserName, &safe.Title, &safe.Summary, &safe.IP, &safe.Place, &safe.Network, &safe.Device, &safe.App,
		&safe.Source, &safe.Policy, &safe.Team, &safe.Reason, &safe.Requirement, &safe.Group,
	} {
		*s = dialect(*s)
	}
	safe.Requirements = slices.Clone(m.Requirements)
	for k := range safe.Requirements {
		safe.Requirements[k].ID = dialect(safe.Requirements[k].ID)
	}
	safe.Sample, safe.Detections = escaped(m.Sample, dialect), escaped(m.Detections, dialect)
	m.TitleText = strings.Join(strings.Fields(render(t.title, defaultTitle, &safe, maxTitle)), " ")
	m.Text = strings.TrimSpace(render(t.text, defaultText, &safe, maxBody))
}

func escaped(list []string, dialect escape) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = dialect(s)
	}
	return out
}

func render(t *template.Template, byDefault string, m *Message, limit int) string {
	w := bounded{left: limit + 1}
	if err := t.Execute(&w, m); err != nil && !errors.Is(err, errFull) {
		w = bounded{left: limit + 1}
		_ = template.Must(template.New("default").Parse(byDefault)).Execute(&w, m) // errFull only
	}
	return events.Cut(strings.ToValidUTF8(w.String(), ""), limit)
}

// link leads to the timeline of the user, or of the tenant.
func (t *templates) link(m *Message) string {
	if t.dashboard == "" || m.Tenant == "" {
		return ""
	}
	q := url.Values{"tenant": {m.Tenant}}
	if m.User != "" {
		q.Set("user", m.User)
	}
	return strings.TrimSuffix(t.dashboard, "/") + "/?" + q.Encode()
}

// message is what a delivery says.
func message(i *incident.Incident, d *incident.Delivery) Message {
	m := Message{ID: d.MessageID(i.ID), Phase: d.Phase, Incident: *i}
	m.Seen, m.Deliveries = nil, nil
	m.Requirements = slices.Clone(i.Requirements) // they end while it is being sent
	return m
}

// summary stands for several incidents that a target would be told of at once.
func summary(target string, list []*incident.Incident, now time.Time) Message {
	m := Message{Phase: phaseSummary, More: len(list), Incident: incident.Incident{Kind: incident.Flood, Opened: events.MillisOf(now), Updated: events.MillisOf(now)}}
	ids := []string{"alert-summary", target}
	tenants := map[string]bool{}
	for _, i := range list {
		ids = append(ids, i.ID)
		tenants[i.Tenant] = true
		m.Findings += i.Findings
		m.Users += i.Users
		if i.Severity.Rank() > m.Severity.Rank() {
			m.Severity = i.Severity
		}
		if m.Since == 0 || i.Since < m.Since {
			m.Since = i.Since
		}
		if len(m.Sample) < 20 {
			m.Sample = append(m.Sample, fmt.Sprintf("%s: %s: %s", i.Severity, i.Title, cmp.Or(i.UserName, i.User, i.Tenant)))
		}
		if len(tenants) == 1 {
			m.Tenant = i.Tenant
		} else {
			m.Tenant = ""
		}
	}
	m.ID = events.ID(ids...)
	m.Incident.ID = m.ID
	return m
}

// writeSummary fills in the texts of a summary, which has no template.
func (t *templates) writeSummary(m *Message, dialect escape) {
	m.TitleText = fmt.Sprintf("%s: %d more incidents", m.Severity, m.More)
	lines := make([]string, 0, len(m.Sample)+1)
	for _, s := range m.Sample {
		lines = append(lines, "- "+dialect(s))
	}
	if rest := m.More - len(m.Sample); rest > 0 {
		lines = append(lines, fmt.Sprintf("and %d others", rest))
	}
	m.Title, m.Summary = "more incidents", m.TitleText
	m.Text = events.Cut(strings.Join(lines, "\n"), maxBody)
	m.Link = t.link(m)
}

// escape makes a text from outside harmless in what a target shows.
type escape func(string) string

// plain drops what is not to be seen, and what turns the direction of writing; white space becomes a space.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r): // controls, and formats such as bidi overrides and zero-width characters
			return -1
		}
		return r
	}, s)
}

// chat is for what makes links of addresses and mentions of names by itself.
func chat(s string) string {
	return strings.NewReplacer("://", "[:]//", "@", "@\u200b", "<", "‹", ">", "›").Replace(plain(s))
}

// slack is by Slack's rules for text: the three characters are control characters, all else is text.
func slack(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(strings.ReplaceAll(plain(s), "://", "[:]//"))
}

// markdown is for Discord, Teams and others that format by Markdown.
func markdown(s string) string {
	var b strings.Builder
	for _, r := range chat(s) {
		if strings.ContainsRune("\\`*_{}[]()#+!|~", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// testMessage is what `countersign alerts test` sends.
func testMessage(now time.Time) Message {
	at := events.MillisOf(now)
	id := events.ID("alert-test", at.String())
	return Message{ID: id, Phase: phaseTest, Incident: incident.Incident{
		ID: id, Kind: incident.User, Tenant: "test", User: "test", UserName: "test@example.com", Severity: events.Info, Title: "test message",
		Summary: "This is a test of countersign, nothing happened.", Since: at, Opened: at, Updated: at, Detections: []string{"TEST"},
	}}
}
