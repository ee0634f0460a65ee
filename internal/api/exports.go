package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/export"
	"github.com/countersign-io/countersign/internal/report"
)

type exportQuestion struct {
	Kind string `path:"kind" enum:"findings,events,revocations,audit"`
	Window
	Format    string   `query:"format" enum:"csv,ndjson,parquet,ocsf" default:"ndjson" doc:"ocsf is NDJSON of OCSF 1.5 events"`
	User      string   `query:"user" maxLength:"256"`
	Severity  []string `query:"severity" enum:"info,low,medium,high,critical" maxItems:"5" doc:"Of findings: any of these"`
	Detection string   `query:"detection" maxLength:"64" doc:"Of findings"`
}

func (a *API) describeExport(api huma.API) {
	file := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	register(a, api, "export", "/v1/export/{kind}", "Take records out as a file, oldest first", ScopeExport, a.export,
		saying("A span with more records than the limit is refused before anything is sent. When something breaks later the connection "+
			"is cut, so that a short file never looks whole. Audit entries need the scope `audit` as well, for the same tenant."),
		func(o *operation) {
			o.Responses = map[string]*huma.Response{"200": {
				Description: "The file",
				Content: map[string]*huma.MediaType{
					"text/csv": {Schema: file}, "application/x-ndjson": {Schema: file}, "application/vnd.apache.parquet": {Schema: file},
				},
			}}
		}, aside)
}

// export checks a question and returns what answers it, bit by bit.
func (a *API) export(ctx context.Context, who *principal, q *exportQuestion) (*huma.StreamResponse, error) {
	if a.deps.Bulk == nil {
		return nil, notConfigured("This installation has no exports.")
	}
	if q.Kind == report.ExportAudit {
		if who = who.also(ScopeAudit); who == nil {
			return nil, a.forbidden(ctx, "GET /v1/export/audit", "the scope "+ScopeAudit+" for the same tenant")
		}
	}
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	if (len(q.Severity) > 0 || q.Detection != "") && q.Kind != report.ExportFindings {
		return nil, refuse("severity", "goes with findings, as detection does", q.Severity)
	}
	severities := make([]events.Severity, len(q.Severity))
	for i, s := range q.Severity {
		severities[i] = events.Severity(s)
	}
	query := report.ExportQuery{
		Kind: q.Kind, Scope: who.tenants.Narrow(q.Tenant), Span: span, User: q.User, Severity: severities, Detection: q.Detection, Now: now(),
	}
	select {
	case a.exporting <- struct{}{}:
	default:
		return nil, huma.ErrorWithHeaders(huma.Error429TooManyRequests("Other exports are running; ask again soon."), http.Header{"Retry-After": {retryAfter}})
	}
	release := sync.OnceFunc(func() { <-a.exporting })
	if err := a.exportable(ctx, who, q, query); err != nil {
		release()
		return nil, err
	}
	format := export.Format(q.Format)
	return &huma.StreamResponse{Body: func(w huma.Context) { //nolint:contextcheck // w has the request's context
		defer release()
		a.sendExport(w, q.Tenant, query, format)
	}}, nil
}

// exportable refuses what is too much, and writes who takes what.
func (a *API) exportable(ctx context.Context, who *principal, q *exportQuestion, query report.ExportQuery) error {
	n, err := a.deps.Bulk.ExportSize(ctx, query)
	if err != nil {
		return a.refusal(err)
	}
	if n > uint64(a.cfg.Export.MaxRows) {
		return refuse("from", fmt.Sprintf("there are %d records, at most %d can be taken at once: ask for a shorter time, or filter more", n, a.cfg.Export.MaxRows), q.From)
	}
	return a.audit(ctx, who, events.AuditEntry{
		Tenant: q.Tenant, User: q.User, Action: "export." + q.Kind, Target: q.Format, Detail: fmt.Sprintf("%v to %v, %d records", query.Span.From, query.Span.To, n),
	})
}

// exportPiece is how many bytes are gathered before they are sent, exportStall how long a reader may take for them.
const (
	exportPiece = 64 << 10
	exportStall = 30 * time.Second
)

// sendExport writes the file. An error before its first byte is answered as any; a later one breaks the connection off, so that
// nobody takes a part for the whole. tenant is the one that was asked for, if one was.
func (a *API) sendExport(w huma.Context, tenant string, q report.ExportQuery, format export.Format) {
	ctx, cancel := context.WithTimeout(w.Context(), a.cfg.Export.Time)
	defer cancel()
	ends, _ := ctx.Deadline()
	out := &exportWriter{w: w, q: &q, format: format, ends: ends}
	out.deadline(ends)
	piece := bufio.NewWriterSize(out, exportPiece)
	encoder, err := export.New(piece, q.Kind, format)
	if err == nil {
		rows := 0
		err = a.deps.Bulk.Export(ctx, q, func(record []byte) error {
			if rows++; rows > a.cfg.Export.MaxRows {
				return errTooManyRows // they came after they were counted
			}
			return encoder.Write(record)
		})
	}
	if err == nil {
		err = encoder.Close()
	}
	if err == nil {
		err = piece.Flush()
	}
	if err == nil {
		out.begin() // also of nothing
		return
	}
	a.note(w.Context(), events.AuditEntry{Tenant: tenant, Action: "export." + q.Kind, Target: string(format), User: q.User, Outcome: events.AuditFailed})
	if !out.begun {
		a.answerError(w, a.exportRefusal(err))
		return
	}
	if w.Context().Err() == nil {
		a.log.Warn("export broke off", zap.String("kind", q.Kind), zap.String("format", string(format)), zap.Error(err))
	}
	panic(http.ErrAbortHandler)
}

var errTooManyRows = errors.New("too many records")

func (a *API) exportRefusal(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errTooManyRows) {
		err = report.ErrTooExpensive
	}
	return a.refusal(err)
}

// answerError answers with an error of this package's handlers.
func (a *API) answerError(w huma.Context, err error) {
	p, ok := errors.AsType[*huma.ErrorModel](err)
	if !ok {
		p = &huma.ErrorModel{Status: http.StatusInternalServerError, Title: http.StatusText(http.StatusInternalServerError), Detail: err.Error()}
	}
	if p.Status == http.StatusServiceUnavailable {
		w.SetHeader("Retry-After", retryAfter)
	}
	w.SetHeader("Content-Type", "application/problem+json")
	w.SetStatus(p.Status)
	_ = json.NewEncoder(w.BodyWriter()).Encode(p) // the reader may be gone
}

// exportWriter sends a file: its headers with the first bytes, and each piece in a time of its own.
type exportWriter struct {
	w      huma.Context
	q      *report.ExportQuery
	format export.Format
	ends   time.Time
	begun  bool
}

// deadline bounds what is written next. On HTTP/2 a deadline that passes ends the answer, whether anything is written or not.
func (e *exportWriter) deadline(at time.Time) {
	if out, ok := e.w.BodyWriter().(http.ResponseWriter); ok {
		_ = http.NewResponseController(out).SetWriteDeadline(at) // not every writer has one
	}
}

func (e *exportWriter) begin() {
	if e.begun {
		return
	}
	e.begun = true
	// Of nothing that a caller has made up.
	day := func(m events.Millis) string { return m.Time().Format("20060102T1504") }
	name := fmt.Sprintf("countersign-%s-%s-%s.%s", e.q.Kind, day(e.q.Span.From), day(e.q.Span.To), e.format.Extension())
	e.w.SetHeader("Content-Type", e.format.ContentType())
	e.w.SetHeader("Content-Disposition", `attachment; filename="`+name+`"`)
	e.w.SetStatus(http.StatusOK)
}

func (e *exportWriter) Write(b []byte) (int, error) {
	e.begin()
	e.deadline(time.Now().Add(exportStall))
	defer e.deadline(e.ends)
	return e.w.BodyWriter().Write(b)
}
