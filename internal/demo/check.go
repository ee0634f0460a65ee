package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/examples/bank/bank"
	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/standalone"
)

// Report is what a check saw.
type Report struct {
	// Events, Findings and Requirements are things in the history at the end, each counted once.
	Events       uint64 `json:"events"`
	Findings     uint64 `json:"findings"`
	Requirements uint64 `json:"requirements"`
	Receipts     uint64 `json:"receipts"`
	// Challenge is the header with which the sample app refused the old token.
	Challenge string `json:"challenge"`
	// Requirement is what both apps asked for: the bank, which subscribes by Kafka, and the vault by Shared Signals.
	Requirement string `json:"requirement"`
	// VaultMs is the time from the bank's challenge to the vault's.
	VaultMs float64 `json:"vault_ms"`
	// ChallengedMs is the time from the attack to the first 401, SteppedUpMs from there to the stronger token, ClearedMs
	// from there to the app's 200.
	ChallengedMs float64 `json:"challenged_ms"`
	SteppedUpMs  float64 `json:"stepped_up_ms"`
	ClearedMs    float64 `json:"cleared_ms"`
	// LifeMs is the time from the start to a history that has the last day of the company, its events and findings.
	LifeMs float64 `json:"life_ms"`
	// ReadyMs is the time from the start to everything running, TookMs that of the whole check.
	ReadyMs float64 `json:"ready_ms"`
	TookMs  float64 `json:"took_ms"`
}

// Check does what a person would do by hand: signs in at the bank, is attacked, is challenged, proves itself and is let
// in, and then looks whether the history has it all. began is when the demo was started.
func (d *Demo) Check(ctx context.Context, person bank.ClientConfig, s *standalone.Standalone, began time.Time) (*Report, error) {
	store, err := s.Process.Store()
	if err != nil {
		return nil, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	var life time.Duration
	group.Go(func() error {
		err := d.awaitLife(groupCtx, store)
		life = time.Since(began)
		return err
	})
	var r *Report
	group.Go(func() (err error) {
		r, err = d.walk(groupCtx, person)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	r.LifeMs = ms(life)
	if err := d.count(ctx, store, r); err != nil {
		return nil, err
	}
	return r, d.breakersRest(ctx, s)
}

// walk is the person's way through the bank.
func (d *Demo) walk(ctx context.Context, person bank.ClientConfig) (*Report, error) {
	person.BaseURL = d.BankURL()
	var vaultTook time.Duration
	walked, err := bank.Walk{Person: person, Challenged: func(ctx context.Context, token, requirement string) error {
		began := time.Now()
		err := d.awaitVault(ctx, token, requirement)
		vaultTook = time.Since(began)
		return err
	}}.Run(ctx)
	if err != nil {
		return nil, fmt.Errorf("walking through the bank: %w", err)
	}
	return &Report{
		Requirement: walked.Requirement, VaultMs: ms(vaultTook),
		Challenge: walked.Header, ChallengedMs: ms(walked.Challenged), SteppedUpMs: ms(walked.SteppedUp), ClearedMs: ms(walked.Cleared),
	}, nil
}

// awaitLife waits until the history has the company's last day, but for the hours that are played.
func (d *Demo) awaitLife(ctx context.Context, store *history.Store) error {
	select {
	case <-d.present:
	case <-ctx.Done():
		return ctx.Err()
	}
	scope := report.Scope{Tenants: []string{Tenant}}
	var seen *report.Overview
	if err := await(ctx, func() (bool, error) {
		now := events.MillisOf(time.Now())
		o, err := store.Overview(ctx, scope, report.Span{From: d.today(), To: now}, now)
		if err != nil {
			return false, err
		}
		seen = o
		return o.Events >= d.lastDay && o.Findings > 0, nil
	}); err != nil {
		return fmt.Errorf("waiting for %d events of the company's last day and what was found in them, there are %+v: %w", d.lastDay, seen, err)
	}
	return nil
}

// breakersRest is an error when the company's past has tripped a breaker: from then on the demo would ask for nothing.
func (d *Demo) breakersRest(ctx context.Context, s *standalone.Standalone) error {
	states, err := detector.ReadBreakers(ctx, s.Process.Cluster.Table(nil))
	if err != nil {
		return err
	}
	for _, b := range states {
		if b.Tripped > 0 {
			return fmt.Errorf("%s: %s", b.Tenant, b.Reason)
		}
	}
	return nil
}

// count waits until the history has it all.
func (d *Demo) count(ctx context.Context, store *history.Store, r *Report) error {
	for _, want := range []struct {
		table history.Table
		count *uint64
		least uint64
	}{
		// The company's life alone is thousands of events; the attack on the bank is at least one finding, one
		// requirement, a receipt each for the challenge and its end, and one for the vault's challenge.
		{history.TableEvents, &r.Events, 2000},
		{history.TableFindings, &r.Findings, 1},
		{history.TableRevocations, &r.Requirements, 1},
		{history.TableReceipts, &r.Receipts, 3},
	} {
		if err := await(ctx, func() (bool, error) {
			n, err := store.Things(ctx, want.table)
			*want.count = n
			return n >= want.least, err
		}); err != nil {
			return fmt.Errorf("waiting for %d %s in the history, there are %d: %w", want.least, want.table, *want.count, err)
		}
	}
	return nil
}

// awaitVault waits until the vault refuses the token that the bank has refused, for the same requirement.
func (d *Demo) awaitVault(ctx context.Context, token, requirement string) error {
	client, err := d.trusting()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	if err := await(ctx, func() (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.VaultURL()+"/api/documents", http.NoBody)
		if err != nil {
			return false, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(req)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			return false, errors.Join(err, fmt.Errorf("the vault answers %d: %.200s", resp.StatusCode, body))
		}
		var problem struct{ Requirement string }
		if err := json.Unmarshal(body, &problem); err != nil || problem.Requirement != requirement {
			return false, fmt.Errorf("the vault asks for %.200s, the bank for %s", body, requirement)
		}
		return true, nil
	}); err != nil {
		return fmt.Errorf("waiting for the vault to challenge: %w", err)
	}
	return nil
}

func await(ctx context.Context, there func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		ok, err := there()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
