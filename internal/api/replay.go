package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/peer"
	"github.com/countersign-io/countersign/internal/stream"
)

// Where a replay of a dead letter puts it.
const (
	toLog    = "log"
	toIngest = "ingest"
	toStream = "stream"
	nowhere  = "no"
)

// How the sources of dead letters begin that the courier's parts write.
const (
	sourceStream = "stream:"
	sourceAct    = "act/"
	sourceAlert  = "alert:"
)

// jtiForm finds the SET in the reason of a courier's dead letter.
var jtiForm = regexp.MustCompile(`^jti ([0-9A-Za-z_-]{1,256}): `)

// wayOf decides, by what made it, where a dead letter can be put back, or says what to do instead:
//
//   - What ingest refused goes through ingest again, which checks it anew.
//   - What the detector refused goes back to the topic of events, where nothing was decided on it.
//   - A SET goes to its stream's courier, which sends it with the id that it had.
//   - What the archiver refused was acted on by everybody else: on the topic once more, it would be acted on twice. The archivers
//     read it again when their group is set back, and rows replace themselves.
//   - Actions and alerts need the secrets of who does them; there are commands for those.
func (a *API) wayOf(d *events.DeadLetter, whole bool) (way, hint string) {
	switch {
	case d.Stage == "archiver" && d.Topic != "":
		return nowhere, fmt.Sprintf("Everybody but the history has taken it. When the cause is mended, stop the archivers and set their group of %s back to "+
			"partition %d, offset %d: rows that are there already replace themselves.", d.Topic, d.Partition, d.Offset)
	case d.Stage == "courier" && strings.HasPrefix(d.Source, sourceAct):
		return nowhere, fmt.Sprintf("countersign act replay --action %s --id %s", strings.TrimPrefix(d.Source, sourceAct), d.ID)
	case d.Stage == "courier" && strings.HasPrefix(d.Source, sourceAlert):
		return nowhere, "countersign alerts replay --id " + d.ID
	case d.Stage == "courier" && strings.HasPrefix(d.Source, sourceStream):
		switch {
		case d.Topic == "" || jtiForm.FindStringSubmatch(d.Reason) == nil:
			return nowhere, "It came from no decision: verify the stream once more."
		case a.courier == nil:
			return nowhere, "Configure api.courier, or: countersign streams replay " + strings.TrimPrefix(d.Source, sourceStream)
		}
		return toStream, ""
	case whole && len(d.Bytes) < d.Size:
		return nowhere, "Only the beginning of the record was kept: it has to come from its source again."
	case d.Stage == "ingest":
		if a.ingest == nil {
			return nowhere, "Configure api.ingest, and it can be sent again from here."
		}
		return toIngest, ""
	case d.Stage == "detector" && d.Topic == events.TopicEvents && a.deps.Topics != nil:
		return toLog, ""
	}
	return nowhere, "Countersign wrote it itself: its writer has to be mended, and writes it again."
}

func (a *API) replayLetter(ctx context.Context, who *principal, q *replayLetter) (*replayedLetter, error) {
	if !who.tenants.All {
		return nil, a.allTenantsOnly(ctx, "POST /v1/deadletters/"+q.ID+"/replay")
	}
	d, err := a.deps.History.DeadLetter(ctx, q.ID)
	if err != nil {
		return nil, a.refusalOfOne(err)
	}
	way, hint := a.wayOf(d, true)
	if way == nowhere {
		return nil, huma.Error409Conflict("This dead letter cannot be replayed here. " + hint)
	}
	format := d.Format
	if q.Body != nil && q.Body.Format != "" {
		if way != toIngest {
			return nil, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "body.format", Message: "goes with what ingest refused"})
		}
		format = q.Body.Format
	}
	entry := events.AuditEntry{Action: "deadletter.replay", Target: d.ID, Detail: "to " + way + ", from " + d.Source}
	if err := a.audit(ctx, who, entry); err != nil {
		return nil, err
	}
	var result string
	switch way {
	case toIngest:
		result, err = a.ingestAgain(ctx, d, format)
	case toStream:
		result, err = a.deliverAgain(ctx, d)
	case toLog:
		result, err = a.produceAgain(ctx, d)
	}
	if err != nil {
		entry.Outcome = events.AuditFailed
		a.note(ctx, entry)
		return nil, err
	}
	answer := &replayedLetter{}
	answer.Body.Replayed, answer.Body.Result = way, result
	return answer, nil
}

// ingestAgain sends a record through ingest.
func (a *API) ingestAgain(ctx context.Context, d *events.DeadLetter, format string) (string, error) {
	path := "/v1/events"
	switch format {
	case "receipt":
		path = "/v1/receipts"
	case "":
	default:
		path += "?format=" + url.QueryEscape(format)
	}
	layout := "application/x-ndjson"
	if bytes.ContainsAny(d.Bytes, "\r\n") {
		layout = "application/json"
	}
	raw, err := a.ingest.Call(ctx, http.MethodPost, path, layout, d.Bytes)
	if err != nil {
		if said, ok := errors.AsType[*peer.Error](err); ok && said.Status/100 == 4 && said.Status != http.StatusTooManyRequests && said.Status != http.StatusUnauthorized {
			return "", huma.Error409Conflict("Ingest refuses it: " + said.Problem)
		}
		return "", a.peerRefusal("ingest", err)
	}
	var became struct {
		Accepted, Duplicates, Skipped int
		Rejected                      []struct{ Error string }
	}
	if err := json.Unmarshal(raw, &became); err != nil {
		return "", a.peerRefusal("ingest", err)
	}
	if len(became.Rejected) > 0 {
		return "", huma.Error409Conflict(fmt.Sprintf("Ingest refuses it again: %.500s", became.Rejected[0].Error))
	}
	return fmt.Sprintf("%d accepted, %d known already, %d skipped", became.Accepted, became.Duplicates, became.Skipped), nil
}

// deliverAgain has the courier send a SET again.
func (a *API) deliverAgain(ctx context.Context, d *events.DeadLetter) (string, error) {
	body, err := json.Marshal(StreamVerb{JTI: jtiForm.FindStringSubmatch(d.Reason)[1], Partition: &d.Partition, Offset: &d.Offset})
	if err != nil {
		return "", err
	}
	s, err := a.operate(ctx, strings.TrimPrefix(d.Source, sourceStream), "replay", body)
	return s.Result, err
}

// produceAgain writes an event to its topic, under the key that it must have. Where the bytes do not say which that is, it is
// the key that the record had.
func (a *API) produceAgain(ctx context.Context, d *events.DeadLetter) (string, error) {
	var key []byte
	if e, err := events.Decode(d.Bytes); err == nil && e.Validate() == nil {
		if e.Kind.Internal() {
			return "", huma.Error409Conflict("This event is countersign's own: it would be taken for a new one.")
		}
		key = []byte(e.Key())
	} else if key, err = a.keyOf(ctx, d); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markPublish)
	defer cancel()
	if err := a.deps.Publisher.Publish(ctx, d.Topic, []stream.Record{{Key: key, Value: d.Bytes}}); err != nil {
		return "", unavailable(logAway, "The log does not take it now; it may or may not be there. Ask again soon.")
	}
	return "written to " + d.Topic + " again", nil
}

// keyOf finds the key of a record on the log.
func (a *API) keyOf(ctx context.Context, d *events.DeadLetter) (key []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	found := false
	_, err = a.deps.Topics.ReadRange(ctx, d.Topic, d.Partition, d.Offset, d.Offset+1, func(r stream.Record) error {
		if r.Offset == d.Offset && bytes.Equal(r.Value, d.Bytes) {
			key, found = bytes.Clone(r.Key), true
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, unavailable(logAway, "The log does not answer. Ask again soon.")
	case !found || len(key) == 0:
		return nil, huma.Error409Conflict("Its bytes are no event, and the record is not on the log any more, so that nobody knows its key.")
	}
	return key, nil
}
