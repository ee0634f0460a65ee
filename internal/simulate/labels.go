package simulate

import (
	"bufio"
	"encoding/json"
	"io"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
)

// Labels writes the truth about events as NDJSON: one line for every event, with the attack and its incident, or the
// confounder, where there is one.
type Labels struct {
	out *bufio.Writer
	enc *json.Encoder
	err error
}

// NewLabels writes labels to w.
func NewLabels(w io.Writer) *Labels {
	out := bufio.NewWriterSize(w, 1<<18)
	return &Labels{out: out, enc: json.NewEncoder(out)}
}

// labelLine is a label as it is written.
type labelLine struct {
	EventID    string             `json:"event_id"`
	Attack     company.Attack     `json:"attack,omitempty"`
	Incident   int                `json:"incident,omitempty"`
	Confounder company.Confounder `json:"confounder,omitempty"`
}

// Write notes the label of an event. Errors are kept for [Labels.Close].
func (l *Labels) Write(_ *events.Event, label company.Label) {
	if l.err == nil {
		l.err = l.enc.Encode(labelLine(label))
	}
}

// WriteEntra is [Labels.Write] for events that go out by [Entra]: the label carries the id that the event has when it is
// read back.
func (l *Labels) WriteEntra(e *events.Event, label company.Label) {
	if id, ok := entraEventID(e); ok {
		label.EventID = id
		l.Write(e, label)
	}
}

// Close writes what is left, and returns the first error.
func (l *Labels) Close() error {
	if l.err != nil {
		return l.err
	}
	return l.out.Flush()
}
