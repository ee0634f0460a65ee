// Package export writes records of the history as files for other programs: CSV, NDJSON, Parquet, and events of the Open
// Cybersecurity Schema Framework. docs/export.md describes the columns and the mapping.
//
// An [Encoder] holds no more than a bounded number of records at a time, however many it is given.
package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// Format is a format of files.
type Format string

// The formats.
const (
	CSV     Format = "csv"
	NDJSON  Format = "ndjson"
	Parquet Format = "parquet"
	OCSF    Format = "ocsf"
)

// Formats lists every format.
var Formats = []Format{CSV, NDJSON, Parquet, OCSF}

// ContentType is the media type of a format.
func (f Format) ContentType() string {
	switch f {
	case CSV:
		return "text/csv; charset=utf-8; header=present"
	case Parquet:
		return "application/vnd.apache.parquet"
	default:
		return "application/x-ndjson"
	}
}

// Extension ends the name of a file of a format.
func (f Format) Extension() string {
	switch f {
	case CSV:
		return "csv"
	case Parquet:
		return "parquet"
	case OCSF:
		return "ocsf.ndjson"
	default:
		return "ndjson"
	}
}

// Encoder writes records, one after another. The file is whole only when Close has returned nil.
type Encoder interface {
	// Write takes one record as JSON: an [events.Event], [events.Finding], [report.Requirement] or [events.AuditEntry], as
	// the kind says. It keeps nothing of it.
	Write(record []byte) error
	Close() error
}

// New returns an encoder for records of a kind (see [report.ExportQuery]).
func New(w io.Writer, kind string, format Format) (Encoder, error) {
	if !slices.Contains(Formats, format) {
		return nil, fmt.Errorf("there is no format %.40q", format)
	}
	switch kind {
	case report.ExportEvents:
		return encoder(w, format, eventRow, eventOCSF)
	case report.ExportFindings:
		return encoder(w, format, findingRow, findingOCSF)
	case report.ExportRevocations:
		return encoder(w, format, requirementRow, requirementOCSF)
	case report.ExportAudit:
		return encoder(w, format, auditRow, auditOCSF)
	}
	return nil, fmt.Errorf("there is no export of %.40q", kind)
}

// encoder makes the encoder of a format for records R, which become rows T or events of OCSF.
func encoder[R, T any](w io.Writer, format Format, row func(r *R, raw []byte) T, translate func(*R) object) (Encoder, error) {
	switch format {
	case CSV:
		return newCSV(w, row)
	case Parquet:
		return newParquet(w, row), nil
	case OCSF:
		return lines{w, func(record []byte) ([]byte, error) {
			r, err := read[R](record)
			if err != nil {
				return nil, err
			}
			return json.Marshal(translate(r))
		}}, nil
	default:
		return lines{w, oneLine}, nil
	}
}

// read decodes a record.
func read[R any](record []byte) (*R, error) {
	r := new(R)
	if err := json.Unmarshal(record, r); err != nil {
		return nil, fmt.Errorf("reading a record of the history: %w", err)
	}
	return r, nil
}

// lines writes one line a record.
type lines struct {
	w      io.Writer
	encode func(record []byte) ([]byte, error)
}

func (l lines) Write(record []byte) error {
	line, err := l.encode(record)
	if err != nil {
		return err
	}
	// In one piece, so that a line is cut only where the connection is.
	_, err = l.w.Write(append(line, '\n'))
	return err
}

func (lines) Close() error { return nil }

// oneLine is a record without line ends between its members, however its producer wrote it.
func oneLine(record []byte) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(record) + 1)
	if err := json.Compact(&b, record); err != nil {
		return nil, fmt.Errorf("reading a record of the history: %w", err)
	}
	return b.Bytes(), nil
}

func words[S ~string](list []S) string {
	var b []byte
	for i, v := range list {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, v...)
	}
	return string(b)
}

// tri is a boolean that may be unknown.
func tri(t events.Tri) *bool {
	if t == events.Unknown {
		return nil
	}
	known := t == events.Yes
	return &known
}
