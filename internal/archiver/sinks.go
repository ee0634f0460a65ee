package archiver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

// sink is the way of one topic into its table.
type sink struct {
	topic     string
	compacted bool
	table     history.Table
	make      func() *rows
	pool      sync.Pool
}

// rows are the rows of one batch. add appends a record's row, or says why the history cannot keep it.
type rows struct {
	block   *history.Block
	add     func(r *stream.Record, logged time.Time) error
	records []int // the index of each row's record in its batch
}

func (s *sink) get() *rows {
	if r, ok := s.pool.Get().(*rows); ok {
		return r
	}
	return s.make()
}

func (s *sink) put(r *rows) {
	r.block.Reset()
	r.records = r.records[:0]
	s.pool.Put(r)
}

// errErasure says that a record is no row but the order to delete some.
var errErasure = errors.New("an erasure")

// errPassed says that a record is none that the history keeps: a tenant's context, which every partition is told, is kept from
// one of them; and the couriers' own positions are nobody else's.
var errPassed = errors.New("not kept")

// sinks are all topics that are archived.
var sinks = []*sink{
	{topic: events.TopicEvents, table: history.TableEvents, make: func() *rows {
		b, e := history.NewEvents(), new(events.Event)
		return &rows{block: &b.Block, add: func(r *stream.Record, logged time.Time) error {
			if err := events.DecodeInto(r.Value, e); err != nil {
				return err
			}
			switch {
			case e.Kind == events.TenantContext && r.Partition != 0:
				return errPassed
			case e.Kind == events.Erasure:
				return errErasure
			}
			return b.Append(e, r.Value, logged)
		}}
	}},
	{topic: events.TopicFindings, table: history.TableFindings, make: func() *rows {
		b := history.NewFindings()
		return &rows{block: &b.Block, add: func(r *stream.Record, logged time.Time) error {
			f, err := events.DecodeFinding(r.Value)
			if err != nil {
				return err
			}
			return b.Append(f, r.Value, logged)
		}}
	}},
	{topic: events.TopicRevocations, table: history.TableRevocations, compacted: true, make: func() *rows {
		b := history.NewRequirements()
		return &rows{block: &b.Block, add: func(r *stream.Record, logged time.Time) error {
			c, err := revocation.ParseClaims(r.Value)
			if err != nil {
				return err
			}
			requirement := report.RequirementOf(&c, r.Value)
			return b.Append(&requirement, logged)
		}}
	}},
	{topic: events.TopicReceipts, table: history.TableReceipts, make: func() *rows {
		b := history.NewReceipts()
		return &rows{block: &b.Block, add: func(r *stream.Record, logged time.Time) error {
			receipt, err := events.DecodeReceipt(r.Value)
			if err != nil {
				return err
			}
			return b.Append(receipt, logged)
		}}
	}},
	{topic: events.TopicDeadLetter, table: history.TableDeadLetters, make: func() *rows {
		b := history.NewDeadLetters()
		return &rows{block: &b.Block, add: func(r *stream.Record, logged time.Time) error {
			d, err := events.DecodeDeadLetter(r.Value)
			if err != nil || d.ID == "" {
				// A dead letter about a dead letter could go on for ever: an unreadable one is kept as it is.
				d = letter(r, "archiver", "unreadable dead letter")
			}
			b.Append(d, logged)
			return nil
		}}
	}},
	{topic: events.TopicMarks, table: history.TableMarks, compacted: true, make: func() *rows {
		b := history.NewMarks()
		return &rows{block: &b.Block, add: func(r *stream.Record, logged time.Time) error {
			m, err := events.DecodeMark(r.Value)
			if err != nil {
				return err
			}
			return b.Append(m, logged)
		}}
	}},
	{topic: events.TopicAudit, table: history.TableAudit, make: func() *rows {
		b := history.NewAudit()
		return &rows{block: &b.Block, add: func(r *stream.Record, logged time.Time) error {
			e, err := events.DecodeAudit(r.Value)
			if err != nil {
				return err
			}
			return b.Append(e, logged)
		}}
	}},
	{topic: events.TopicAlerts, table: history.TableAlerts, compacted: true, make: func() *rows {
		b := history.NewAlerts()
		return &rows{block: &b.Block, add: func(r *stream.Record, logged time.Time) error {
			if !bytes.HasPrefix(r.Key, []byte(incident.KeyPrefix)) {
				return errPassed
			}
			i := new(incident.Incident)
			if err := json.Unmarshal(r.Value, i); err != nil {
				return fmt.Errorf("reading an incident: %w", err)
			}
			return b.Append(i, logged, r.Offset)
		}}
	}},
}
