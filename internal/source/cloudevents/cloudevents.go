// Package cloudevents unpacks CloudEvents 1.0 (https://github.com/cloudevents/spec): the data of each is a value of
// another format, whose decoder does the rest. What the attributes know and the data do not say is filled in: the id of
// the record, and when it happened.
package cloudevents

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// Decoder is the decoder of the data.
type Decoder interface {
	MaxValue() int
	Decode(value []byte, emit foreign.Emit)
}

// envelopeRoom is what an envelope may add to its data, in bytes; data in base64 are a third larger.
const envelopeRoom = 64 << 10

// Structured decodes values that are CloudEvents in JSON, one each.
func Structured(inner Decoder) Decoder { return structured{inner} }

type structured struct{ inner Decoder }

// MaxValue is the largest value that Decode accepts, in bytes.
func (d structured) MaxValue() int { return d.inner.MaxValue()/3*4 + envelopeRoom }

// Decode decodes the data of one CloudEvent.
func (d structured) Decode(value []byte, emit foreign.Emit) {
	var envelope event.Event
	if !json.Valid(value) {
		emit(value, nil, errors.New("is no JSON"))
		return
	}
	if err := envelope.UnmarshalJSON(value); err != nil {
		emit(value, nil, fmt.Errorf("is no CloudEvent: %w", err))
		return
	}
	if err := envelope.Validate(); err != nil {
		emit(value, nil, fmt.Errorf("is no valid CloudEvent: %s", strings.Trim(strings.ReplaceAll(err.Error(), "\n", "; "), "; ")))
		return
	}
	data := envelope.Data()
	switch {
	case len(data) == 0:
		emit(value, nil, errors.New("data: is missing"))
	case len(data) > d.inner.MaxValue():
		emit(value, nil, fmt.Errorf("data: has %d bytes, at most %d are allowed: %w", len(data), d.inner.MaxValue(), events.ErrTooLarge))
	default:
		decode(d.inner, data, envelope.ID(), envelope.Time(), emit)
	}
}

// Binary decodes the data of a CloudEvent in binary mode, whose attributes came beside them.
func Binary(inner Decoder, id, at string) Decoder {
	moment, _ := time.Parse(time.RFC3339Nano, at) // without one, the data must say when
	return binary{inner, id, moment}
}

type binary struct {
	inner Decoder
	id    string
	at    time.Time
}

func (d binary) MaxValue() int { return d.inner.MaxValue() }

func (d binary) Decode(value []byte, emit foreign.Emit) { decode(d.inner, value, d.id, d.at, emit) }

// decode decodes data, and fills in what the attributes know of a record that has no id of its own.
func decode(inner Decoder, data []byte, id string, at time.Time, emit foreign.Emit) {
	n := 0
	inner.Decode(data, func(record []byte, e *events.Event, err error) {
		if e != nil {
			if e.Source.ID == "" {
				// Several records without ids in one CloudEvent are told apart by their order.
				if e.Source.ID = id; n > 0 {
					e.Source.ID = fmt.Sprintf("%s#%d", id, n)
				}
			}
			if e.Time == 0 && !at.IsZero() {
				e.Time = events.MillisOf(at)
			}
		}
		n++
		emit(record, e, err)
	})
}
