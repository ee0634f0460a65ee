package wiring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/terminal/progress"
)

// Span is a span of time. A zero Until is now.
type Span struct{ Since, Until time.Time }

// Backfill fetches the history of one source, and goes on where an interrupted run with the same beginning was. It writes
// a progress bar, on a terminal, and what became of the records to out.
func Backfill(ctx context.Context, cfg Config, log *zap.Logger, client GraphClient, source string, span Span, out io.Writer) (err error) {
	if cfg.Sources, err = cfg.Sources.only(source); err != nil {
		return err
	}
	p, err := Open(cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Cluster.Close()) }()
	pipeline, err := p.Pipeline()
	if err != nil {
		return err
	}
	in, err := p.newInflow(pipeline, client)
	if err != nil {
		return err
	}
	if err := p.ensureTopics(ctx); err != nil {
		return err
	}
	cursors, err := pull.OpenCursors(ctx, p.Cluster, log)
	if err != nil {
		return err
	}
	runner, err := pull.New(cfg.Sources.Runner, pull.Deps{Pipeline: pipeline, Cursors: cursors, Logger: log}, in.asked)
	if err != nil {
		return err
	}
	bar := progress.New(out, source)
	status, err := runner.Backfill(ctx, source, span.Since, span.Until, bar.Set)
	bar.End()
	fmt.Fprintf(out, "%d accepted, %d known already, %d skipped, %d refused\n", status.Accepted, status.Duplicates, status.Skipped, status.Rejected)
	if err != nil && status.Source == "" {
		return err // before anything was done
	}
	if err != nil {
		// The exact moment: "30d" means another one tomorrow.
		return fmt.Errorf("%w; to go on, run it again with since %s", err, span.Since.UTC().Format(time.RFC3339))
	}
	return nil
}

// ParseSpan reads where a span begins and ends; until may be empty.
func ParseSpan(since, until string, now time.Time) (span Span, err error) {
	if span.Since, err = parseMoment(since, now); err != nil {
		return Span{}, fmt.Errorf("since: %w", err)
	}
	if until != "" {
		if span.Until, err = parseMoment(until, now); err != nil {
			return Span{}, fmt.Errorf("until: %w", err)
		}
	}
	return span, nil
}

// parseMoment reads a time (RFC 3339), a day (2026-03-04, in UTC), or how long ago (720h, 30d).
func parseMoment(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= 3650 {
			return now.UTC().AddDate(0, 0, -n).Truncate(24 * time.Hour), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(-d).Truncate(time.Minute), nil
	}
	return time.Time{}, fmt.Errorf("%.40q is no time: write 2026-03-04T08:00:00Z, 2026-03-04, 720h or 30d", text)
}
