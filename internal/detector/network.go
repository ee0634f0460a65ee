package detector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mailru/easyjson"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/stream"
)

// network is the second stage: it folds one partition of the sightings, which are keyed by tenant, and writes what users
// have to know of it into the events, under their keys. Its state is kept in pieces, and written about once a second: a
// sighting changes several, and those of a tenant are changed by nearly every one.
type network struct {
	config *org.Config
	// partitions of the events: contexts go to all of them.
	partitions int
	metrics    *metrics
	tenants    map[string]*org.State
	// dirty are the tenants changed since the last commit; room is what their changes take in a record batch.
	dirty map[string]usage
	room  usage

	sighting events.Sighting
	letters  []stream.Record
	told     []stream.Record
	// toldBytes is what told takes in memory, about.
	toldBytes int
}

// usage is room in a record batch.
type usage struct{ bytes, pieces int }

var (
	_ stream.Processor = (*network)(nil)
	_ stream.Deferrer  = (*network)(nil)
)

func newNetwork(config *org.Config, partitions int, m *metrics) *network {
	return &network{config: config, partitions: partitions, metrics: m, tenants: map[string]*org.State{}, dirty: map[string]usage{}}
}

// Restore takes a piece of a tenant back.
func (n *network) Restore(key, payload []byte) error {
	tenant, piece, ok := strings.Cut(string(key), "/")
	if !ok {
		return fmt.Errorf("state key %q: must be tenant/piece", key)
	}
	if err := n.state(tenant).Restore(piece, payload); err != nil {
		return fmt.Errorf("tenant %q: %w", tenant, err)
	}
	return nil
}

func (n *network) state(tenant string) *org.State {
	s := n.tenants[tenant]
	if s == nil {
		s = org.NewState(tenant, n.config)
		n.tenants[tenant] = s
	}
	return s
}

// Process folds sightings until what changed fills a record batch.
func (n *network) Process(ctx context.Context, batch []stream.Record) (stream.Result, error) {
	n.letters, n.told, n.toldBytes = n.letters[:0], n.told[:0], 0
	taken := len(batch)
	full := false
	for i := range batch {
		if i%256 == 255 && ctx.Err() != nil {
			return stream.Result{}, ctx.Err()
		}
		n.fold(&batch[i])
		// One more sighting must fit as well.
		full = n.room.bytes > stream.MaxStateBytes-sightingRoom.bytes || n.room.pieces > stream.MaxStateRecords-sightingRoom.pieces ||
			n.toldBytes > maxToldBytes
		if full {
			taken = i + 1
			break
		}
	}
	n.metrics.sightings.Add(float64(taken))
	res := stream.Result{Taken: taken, Deferred: !full}
	if full {
		res.State = n.Changed()
	}
	for _, o := range []stream.Output{
		{Topic: events.TopicDeadLetter, Records: n.letters},
		{Topic: events.TopicEvents, Records: n.told, Rekeyed: true},
	} {
		if len(o.Records) > 0 {
			res.Outputs = append(res.Outputs, o)
		}
	}
	return res, nil
}

// sightingRoom is what one sighting changes at most.
var sightingRoom = usage{
	bytes: org.ChangeBytes + org.ChangePieces*(events.MaxTenant+1+stream.StateOverhead), pieces: org.ChangePieces,
}

// maxToldBytes ends a batch: a context of some 100 KB goes to every partition of the events, and a batch may have those of many
// tenants.
const maxToldBytes = 8 << 20

// fold takes in one record.
func (n *network) fold(rec *stream.Record) {
	m := &n.sighting
	*m = events.Sighting{}
	reject := func(kind, reason string) {
		n.metrics.rejected.WithLabelValues(kind).Inc()
		n.letters = append(n.letters, letter(rec, "network", reason))
	}
	switch {
	case rec.Misplaced:
		reject("misplaced", "its key belongs to another partition; produce with the murmur2 partitioner, see schemas/README.md")
		return
	case len(rec.Value) > events.MaxRecord:
		reject("undecodable", events.ErrTooLarge.Error())
		return
	}
	if err := easyjson.Unmarshal(rec.Value, m); err != nil {
		reject("undecodable", err.Error())
		return
	}
	if err := validate(m, rec.Key); err != nil {
		reject("invalid", err.Error())
		return
	}
	s := n.state(m.Tenant)
	for _, notice := range s.Fold(m) {
		n.tell(m, &notice, rec.Offset)
	}
	bytes, pieces := s.Room()
	now := usage{bytes + pieces*(len(m.Tenant)+1+stream.StateOverhead), pieces}
	before := n.dirty[m.Tenant]
	if now != before {
		n.room.bytes += now.bytes - before.bytes
		n.room.pieces += now.pieces - before.pieces
		n.dirty[m.Tenant] = now
	}
}

// validate checks what a sighting must have to be folded.
func validate(m *events.Sighting, key []byte) error {
	switch {
	case !events.ValidTenant(m.Tenant):
		return fmt.Errorf("tenant: is %.80q, must be the name of one", m.Tenant)
	case string(key) != m.Tenant:
		return fmt.Errorf("its key is %.80q, must be the tenant, %q", key, m.Tenant)
	case m.User == "" || len(m.User) > events.MaxID:
		return errors.New("user: must be an id")
	case m.EventID == "" || len(m.EventID) > events.MaxID || m.Time == 0:
		return errors.New("event_id, time: must be those of an event")
	case m.Partition < 0 || m.Partition >= org.MaxPartitions || m.Offset < 0:
		return fmt.Errorf("partition %d, offset %d: must be the event's place on the log", m.Partition, m.Offset)
	case m.Network.Prefix != "" && !events.ValidPrefix(m.Network.Prefix):
		return fmt.Errorf("network.prefix: is %.60q, must be a /24 of IPv4 or a /48 of IPv6 such as 192.0.2.0/24", m.Network.Prefix)
	case len(m.Revoked) > org.MaxRevoked:
		return fmt.Errorf("revoked: has %d prefixes, must have at most %d", len(m.Revoked), org.MaxRevoked)
	}
	for _, id := range [...]struct{ path, text string }{{"ip", m.IP}, {"agent", m.Agent}, {"device.id", m.Device.ID}} {
		if len(id.text) > events.MaxID {
			return fmt.Errorf("%s: has %d bytes, at most %d are allowed", id.path, len(id.text), events.MaxID)
		}
	}
	return nil
}

// tell writes what follows from a sighting: a verdict to its user, a context to every partition of the events.
func (n *network) tell(m *events.Sighting, notice *org.Notice, offset int64) {
	headers := []stream.Header{{Key: headerNotice, Value: heard{notice.Life, notice.Number}.header()}}
	add := func(e *events.Event, value []byte) {
		n.told = append(n.told, stream.Record{Key: []byte(e.Key()), Value: value, Offset: offset, Headers: headers})
		n.toldBytes += len(value)
	}
	if notice.Verdict != nil {
		n.metrics.verdicts.WithLabelValues(notice.Verdict.Detection, string(notice.Verdict.Severity)).Inc()
		e := verdictEvent(m, notice)
		add(e, events.Encode(e))
		return
	}
	n.metrics.contexts.Inc()
	context := events.Encode(notice.Context)
	for _, user := range keysOfPartitions(m.Tenant, contextUser, n.partitions) {
		e := contextEvent(m, notice.Context, user)
		add(e, encodeWith(e, context))
	}
}

// encodeWith encodes an event of a context that is encoded already: for every partition only what is before it differs.
func encodeWith(e *events.Event, context []byte) []byte {
	plain := *e
	plain.Org = nil
	b := events.Encode(&plain)
	b = slices.Grow(b, len(`,"org":`)+len(context))
	return append(append(append(b[:len(b)-1], `,"org":`...), context...), '}')
}

// verdictEvent is the event that tells a user of a verdict. Its id rests on incident and user: they are told once.
func verdictEvent(m *events.Sighting, notice *org.Notice) *events.Event {
	e := internalEvent(m, events.NetworkVerdict, notice.User, events.ID("verdict", notice.Verdict.Incident, notice.User))
	if notice.Unresolved {
		e.User.Type = events.Unresolved
	}
	e.Verdict = notice.Verdict
	return e
}

// contextEvent is the event that tells a partition of a context.
func contextEvent(m *events.Sighting, told *events.OrgContext, user string) *events.Event {
	e := internalEvent(m, events.TenantContext, user, events.ID("context", told.Until.String(), user))
	e.Org = told
	return e
}

func internalEvent(m *events.Sighting, kind events.Kind, user, source string) *events.Event {
	return &events.Event{
		ID: events.EventID(m.Tenant, events.FamilyInternal, source), Kind: kind, Tenant: m.Tenant, User: events.User{ID: user},
		Time: m.Time, Ingested: m.Ingested, Source: events.Source{Name: "network", Family: events.FamilyInternal, ID: source},
	}
}

// contextUser begins the names under which contexts are told. No user has one: nothing is decided about it.
const contextUser = "countersign:context:"

// keysOfPartitions are names with a prefix that no user has: as users of the tenant they lie in all partitions of the events, one
// in each, in their order.
func keysOfPartitions(tenant, prefix string, partitions int) []string {
	names := make([]string, partitions)
	for i, left := 0, partitions; left > 0; i++ {
		name := prefix + strconv.Itoa(i)
		p := stream.PartitionFor([]byte(events.Key(tenant, name)), partitions)
		if names[p] == "" {
			names[p] = name
			left--
		}
	}
	return names
}

// Changed returns the pieces that changed since the last commit.
func (n *network) Changed() []stream.KeyValue {
	var list []stream.KeyValue
	for tenant := range n.dirty {
		for _, p := range n.tenants[tenant].Changed() {
			list = append(list, stream.KeyValue{Key: []byte(tenant + "/" + p.Name), Value: p.Value})
		}
	}
	return list
}

// Commit notes that all changes are durable.
func (n *network) Commit() {
	for tenant := range n.dirty {
		n.tenants[tenant].Clean()
	}
	clear(n.dirty)
	n.room = usage{}
}

// Encode returns a piece as it is.
func (n *network) Encode(key []byte) []byte {
	tenant, piece, _ := strings.Cut(string(key), "/")
	if s := n.tenants[tenant]; s != nil {
		return s.Encode(piece)
	}
	return nil
}
