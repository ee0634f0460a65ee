package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// DeadLetter is a record that could not be taken in or delivered, without its bytes.
type DeadLetter struct {
	ID        string        `json:"id"`
	Time      events.Millis `json:"time"`
	Source    string        `json:"source"`
	Stage     string        `json:"stage" doc:"What gave it up: ingest, detector, network, archiver or courier"`
	Reason    string        `json:"reason" doc:"May hold words of others"`
	Topic     string        `json:"topic,omitempty" doc:"Where on the log it was, with partition and offset"`
	Partition int           `json:"partition"`
	Offset    int64         `json:"offset"`
	Line      int           `json:"line,omitempty" doc:"Its number in a request or file, from 1"`
	Size      int           `json:"size" doc:"The record's full length in bytes"`
	Format    string        `json:"format,omitempty" doc:"What ingest took it for"`
	Replay    string        `json:"replay" enum:"log,ingest,stream,no" doc:"Where a replay puts it: on its topic, through ingest, to the stream's courier; or that it cannot be replayed here"`
	Hint      string        `json:"hint,omitempty" doc:"What to do with one that cannot be replayed here"`
}

// WholeLetter is a dead letter with its bytes.
type WholeLetter struct {
	DeadLetter
	Bytes []byte `json:"bytes" doc:"The record as it came, base64; the beginning of it when size says more"`
	Text  string `json:"text" doc:"The beginning as text, for a look: what is not printable is escaped"`
	Cut   bool   `json:"cut" doc:"Bytes is not the whole record"`
}

type lettersQuestion struct {
	From   time.Time `query:"from" doc:"Start of the time asked for, RFC 3339; 30 days before its end when left out"`
	To     time.Time `query:"to" doc:"End of the time asked for, not part of it; now when left out"`
	Stage  string    `query:"stage" maxLength:"64"`
	Source string    `query:"source" maxLength:"256"`
	Paging
}

type lettersAnswer struct {
	Body struct {
		Letters []DeadLetter `json:"dead_letters" nullable:"false" doc:"Newest first"`
		Next    string       `json:"next_cursor,omitempty" doc:"Left out on the last page"`
	}
}

type letterQuestion struct {
	ID string `path:"id" pattern:"^[0-9A-Za-z._:-]{1,128}$"`
}

type letterAnswer struct{ Body WholeLetter }

type replayLetter struct {
	ID   string `path:"id" pattern:"^[0-9A-Za-z._:-]{1,128}$"`
	Body *struct {
		Format string `json:"format,omitempty" maxLength:"40" doc:"With ingest: what to take it for, when the letter does not say or says it wrong"`
	}
}

type replayedLetter struct {
	Body struct {
		Replayed string `json:"replayed" enum:"log,ingest,stream" doc:"Where it went"`
		Result   string `json:"result" doc:"What became of it, for people"`
	}
}

func (a *API) describeLetters(api huma.API) {
	all := saying("Dead letters belong to no tenant: only callers who may see all tenants may see them.")
	register(a, api, "dead-letters", "/v1/deadletters", "What could not be taken in or delivered, newest first", ScopeOperate, a.letters, all)
	register(a, api, "dead-letter", "/v1/deadletters/{id}", "One dead letter, with its bytes", ScopeOperate, a.letter, all, refusing(http.StatusNotFound))
	register(a, api, "replay-dead-letter", "POST /v1/deadletters/{id}/replay", "Put the untouched bytes back where they came from", ScopeOperate, a.replayLetter,
		all, refusing(http.StatusNotFound, http.StatusConflict), aside)
}

func (a *API) letters(ctx context.Context, who *principal, q *lettersQuestion) (*lettersAnswer, error) {
	if !who.tenants.All {
		return nil, a.allTenantsOnly(ctx, "GET /v1/deadletters")
	}
	after, err := q.follow(&q.From, &q.To)
	if err != nil {
		return nil, err
	}
	w := Window{From: q.From, To: q.To}
	if w.To.IsZero() {
		w.To = time.Now()
	}
	if w.From.IsZero() {
		w.From = w.To.AddDate(0, 0, -30)
	}
	span, err := w.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	page, err := a.deps.History.DeadLetters(ctx, report.LetterQuery{Span: span, Stage: q.Stage, Source: q.Source, After: after, Limit: q.Limit})
	if err != nil {
		return nil, a.refusal(err)
	}
	answer := &lettersAnswer{}
	answer.Body.Letters = make([]DeadLetter, len(page.Letters))
	for i := range page.Letters {
		answer.Body.Letters[i] = a.letterView(&page.Letters[i], false)
	}
	answer.Body.Next = encodeCursor(page.Next, span)
	return answer, nil
}

// allTenantsOnly refuses what belongs to no tenant to who may not see them all.
func (a *API) allTenantsOnly(ctx context.Context, target string) error {
	return a.forbidden(ctx, target, "the scope "+ScopeOperate+" for all tenants")
}

// letterView is what people see of a dead letter. whole tells that its bytes are there.
func (a *API) letterView(d *events.DeadLetter, whole bool) DeadLetter {
	way, hint := a.wayOf(d, whole)
	return DeadLetter{
		ID: d.ID, Time: d.Time, Source: d.Source, Stage: d.Stage, Reason: d.Reason, Topic: d.Topic, Partition: d.Partition, Offset: d.Offset,
		Line: d.Line, Size: d.Size, Format: d.Format, Replay: way, Hint: hint,
	}
}

func (a *API) letter(ctx context.Context, who *principal, q *letterQuestion) (*letterAnswer, error) {
	if !who.tenants.All {
		return nil, a.allTenantsOnly(ctx, "GET /v1/deadletters/"+q.ID)
	}
	// Its bytes may be anybody's.
	if err := a.audit(ctx, who, events.AuditEntry{Action: "deadletter.read", Target: q.ID}); err != nil {
		return nil, err
	}
	d, err := a.deps.History.DeadLetter(ctx, q.ID)
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	return &letterAnswer{WholeLetter{DeadLetter: a.letterView(d, true), Bytes: d.Bytes, Text: preview(d.Bytes), Cut: len(d.Bytes) < d.Size}}, nil
}

// maxPreview is how many bytes of a record are shown as text.
const maxPreview = 8 << 10

// preview is the beginning of a record as text. What is not printable is escaped, so that nothing hides in it.
func preview(raw []byte) string {
	var b strings.Builder
	rest := raw[:min(len(raw), maxPreview)]
	for len(rest) > 0 {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1 && len(raw) > maxPreview && len(rest) < utf8.UTFMax && !utf8.FullRune(rest):
			rest = nil // the preview ends inside a character
			continue
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, rest[0])
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		rest = rest[size:]
	}
	return b.String()
}
