package ingest

import (
	"fmt"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

const (
	// maxReason bounds what is said of a refused record, in bytes.
	maxReason = 1 << 10
	// maxLetters is how many refused records of one value become dead letters of their own. A value of megabytes can hold
	// a million records of nothing.
	maxLetters = 1000
)

// reject counts a record as refused and writes its dead letter. Of a value with very many refused records the rest has
// one letter, with the beginning of the value.
func (i *Intake) reject(reason string, raw []byte, size int, err error) {
	i.p.metrics.rejected[reason].Inc()
	i.result.Rejected++
	i.refused++
	switch {
	case i.refused == maxLetters+1:
		raw, size = i.value, len(i.value)
		err = fmt.Errorf("the value has more than %d records that are refused, of which these are the first; the last one: %w", maxLetters, err)
	case i.refused > maxLetters:
		return
	}
	text := cutReason(strings.ReplaceAll(err.Error(), "\n", "; "))
	if i.ordinal > 1 {
		text = fmt.Sprintf("record %d of the value: %s", i.ordinal, text)
	}
	if len(i.result.Rejections) < MaxRejections {
		i.result.Rejections = append(i.result.Rejections, Rejection{Line: i.line, Error: text})
	}
	kept := raw[:min(len(raw), events.MaxRecord)]
	letter := &events.DeadLetter{
		ID: events.ID("dead_letter", i.src.Name, string(kept)), Time: events.MillisOf(i.p.now()), Source: i.src.Name,
		Stage: "ingest", Reason: text, Line: i.line, Bytes: kept, Size: size, Format: i.src.Format,
		Topic: i.origin.Topic, Partition: i.origin.Partition, Offset: i.origin.Offset,
	}
	// Sources that look back bring the same broken record again and again.
	if i.written[letter.ID] || i.posted[letter.ID] || i.p.recent.contains(recentOf(letter.ID)) {
		return
	}
	i.written[letter.ID] = true
	i.letters = append(i.letters, stream.Record{Key: []byte(i.src.Name), Value: events.Encode(letter)})
	i.bytes += len(kept)
}

// cutReason bounds a text, never inside a character.
func cutReason(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + "…"
}
