package rba

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/useragent"
)

// Tenant and Family are what events of the data set say of themselves.
const (
	Tenant = "rba"
	Family = "rba"
)

// bulkUser stands for very many users: 14 million rows, 4 of them successes.
const bulkUser = "-4324475583306591935"

// BulkUser is the user id of rows of that one, when they are kept.
const BulkUser = "rba-bulk"

// firstSynthetic is the network number from which on numbers are made up.
const firstSynthetic = 500_000

var privateNet = netip.MustParsePrefix("10.0.0.0/8")

// Options say what to do with the rows.
type Options struct {
	// KeepBulk keeps the rows of the user who is many, as attempts at a name that nobody has. Otherwise they are left out.
	KeepBulk bool
}

// Label is the truth about a row, and what is known of its making.
type Label struct {
	// AttackIP tells that the address is of a list of attackers, Takeover that the account had been taken over.
	AttackIP, Takeover bool
	// SyntheticIP is of an address in 10.0.0.0/8, SyntheticASN of a network number from 500000 on.
	SyntheticIP, SyntheticASN bool
}

// Row is a login with its label. Browser, OS and DeviceType are the data set's own words, with versions, for the published
// form of the familiarity score; the event has families.
type Row struct {
	Event events.Event
	Label Label
	// Index is the data set's own number of the row, Line the line of the file, from 1.
	Index int64
	Line  int
	// RoundTripMs is 0 when it was not measured, as for nearly all rows.
	RoundTripMs             float64
	Browser, OS, DeviceType string
}

// Stats counts what was read.
type Stats struct {
	// Rows were handed out, Bulk were of the user who is many, whether kept or not.
	Rows, Bulk int64
	Successes  int64
	// AttackIPs, Takeovers, SyntheticIPs and SyntheticASNs count labels of the rows handed out.
	AttackIPs, Takeovers, SyntheticIPs, SyntheticASNs int64
	// Backwards are rows that are earlier than the one before them. They are handed out as they come.
	Backwards int64
	// First and Last are the earliest and the latest time.
	First, Last events.Millis
}

// The columns, by name.
const (
	colIndex = iota
	colTime
	colUser
	colRoundTrip
	colIP
	colCountry
	colASN
	colAgent
	colBrowser
	colOS
	colType
	colSuccess
	colAttack
	colTakeover
	columns
)

var columnNames = [columns]string{
	colIndex: "index", colTime: "Login Timestamp", colUser: "User ID", colRoundTrip: "Round-Trip Time [ms]", colIP: "IP Address",
	colCountry: "Country", colASN: "ASN", colAgent: "User Agent String", colBrowser: "Browser Name and Version",
	colOS: "OS Name and Version", colType: "Device Type", colSuccess: "Login Successful", colAttack: "Is Attack IP",
	colTakeover: "Is Account Takeover",
}

// Reader reads rows. It is for one goroutine, but for Progress.
type Reader struct {
	options Options
	file    *file // nil for a stream
	lines   *lines
	where   [columns]int // position of each column
	width   int
	stats   Stats
	last    events.Millis

	texts    intern
	browsers map[string]browser
	systems  map[string]string
}

// Open opens the data set: a CSV file, plain or gzipped, or a zip archive with one.
func Open(name string, o Options) (*Reader, error) {
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(f.text, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.close())
	}
	r.file = f
	return r, nil
}

// NewReader reads the data set from a stream of comma-separated text. The header must name the columns; their order does not
// matter.
func NewReader(in io.Reader, o Options) (*Reader, error) {
	r := &Reader{
		options: o, lines: newLines(in), texts: intern{}, browsers: map[string]browser{}, systems: map[string]string{},
	}
	header, err := r.lines.next()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("reading the header: the file is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	r.width = len(header)
	var problems []error
	for c, name := range columnNames {
		r.where[c] = -1
		for i, h := range header {
			if string(bytes.TrimPrefix(h, []byte("\ufeff"))) == name {
				r.where[c] = i
			}
		}
		if r.where[c] < 0 {
			problems = append(problems, fmt.Errorf("line 1: column %q is missing", name))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return r, nil
}

// Each hands out every row of the data set, in the order of the file, which is that of time. It stops at the first error of
// see, at a row that it cannot read, and when ctx is done. The row is valid during the call only; its strings stay.
func Each(ctx context.Context, name string, o Options, see func(*Row) error) (stats Stats, err error) {
	r, err := Open(name, o)
	if err != nil {
		return Stats{}, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var row Row
	for n := 0; ; n++ {
		if n&0xfff == 0 && ctx.Err() != nil {
			return r.stats, ctx.Err()
		}
		switch err := r.Next(&row); {
		case errors.Is(err, io.EOF):
			return r.stats, nil
		case err != nil:
			return r.stats, fmt.Errorf("%s: %w", name, err)
		}
		if err := see(&row); err != nil {
			return r.stats, err
		}
	}
}

// Close closes the file.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.close()
}

// Stats counts what was read so far.
func (r *Reader) Stats() Stats { return r.stats }

// Progress is the share of the file that was read, between 0 and 1; 0 for a stream. It may be called from another goroutine.
func (r *Reader) Progress() float64 {
	if r.file == nil {
		return 0
	}
	return r.file.progress()
}

// Next reads a row, or returns io.EOF after the last one. Other errors name line and column; the next call reads on after the
// line.
func (r *Reader) Next(row *Row) error {
	for {
		fields, err := r.lines.next()
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		if errors.Is(err, errQuote) {
			return fmt.Errorf("line %d, column %d: %w", r.lines.number, len(fields)+1, err)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", r.lines.number, err)
		}
		if len(fields) != r.width {
			return fmt.Errorf("line %d: has %d columns, must have %d", r.lines.number, len(fields), r.width)
		}
		if string(fields[r.where[colUser]]) == bulkUser {
			r.stats.Bulk++
			if !r.options.KeepBulk {
				continue
			}
		}
		if err := r.fill(row, fields); err != nil {
			return err
		}
		r.count(row)
		return nil
	}
}

// fill makes a row of the fields.
func (r *Reader) fill(row *Row, fields [][]byte) error {
	*row = Row{Line: r.lines.number}
	get := func(c int) []byte { return fields[r.where[c]] }
	bad := func(c int, must string) error {
		return fmt.Errorf("line %d, column %q: is %.40q, must be %s", row.Line, columnNames[c], get(c), must)
	}
	e := &row.Event
	var ok bool
	var err error
	if row.Index, err = strconv.ParseInt(string(get(colIndex)), 10, 64); err != nil {
		return bad(colIndex, "a number")
	}
	if e.Time, ok = parseTime(get(colTime)); !ok {
		return bad(colTime, `a time such as "2020-02-03 12:43:30.772"`)
	}
	if _, err := strconv.ParseInt(string(get(colUser)), 10, 64); err != nil {
		return bad(colUser, "a number")
	}
	if row.RoundTripMs, ok = parseOptional(get(colRoundTrip)); !ok || row.RoundTripMs < 0 {
		return bad(colRoundTrip, "empty or milliseconds")
	}
	asn, ok := parseOptional(get(colASN))
	if !ok || asn < 0 || asn > math.MaxUint32 || asn != math.Trunc(asn) {
		return bad(colASN, "empty or an AS number")
	}
	e.Network.ASN = uint32(asn)
	success, ok := parseBool(get(colSuccess))
	if !ok {
		return bad(colSuccess, "True or False")
	}
	if row.Label.AttackIP, ok = parseBool(get(colAttack)); !ok {
		return bad(colAttack, "True or False")
	}
	if row.Label.Takeover, ok = parseBool(get(colTakeover)); !ok {
		return bad(colTakeover, "True or False")
	}
	country := known(get(colCountry))
	if country != nil && (len(country) != 2 || !upper(country)) {
		return bad(colCountry, "empty or two capital letters")
	}
	e.Place.Country = r.texts.of(country)
	row.Label.SyntheticASN = e.Network.ASN >= firstSynthetic
	r.address(row, get(colIP))
	r.identify(row, get(colUser), success)
	r.agent(row, get(colAgent), get(colBrowser), get(colOS), get(colType))
	return nil
}

// identify writes who and what.
func (r *Reader) identify(row *Row, who []byte, success bool) {
	e := &row.Event
	e.Kind, e.Tenant, e.Interactive = events.SignIn, Tenant, events.Yes
	e.User.ID = string(who)
	if e.User.ID == bulkUser {
		e.User = events.User{ID: BulkUser, Type: events.Unresolved}
	}
	e.Source = events.Source{Name: Family, Family: Family, ID: strconv.FormatInt(row.Index, 10)}
	e.ID = events.EventID(Tenant, Family, e.Source.ID)
	e.Outcome = events.Success
	if !success {
		e.Outcome, e.Cause = events.Failure, events.BadPassword
	}
}

// address writes the address, and its /24 or /48.
func (r *Reader) address(row *Row, text []byte) {
	e := &row.Event
	if text = known(text); text == nil {
		return
	}
	addr, err := netip.ParseAddr(string(text))
	if err != nil || addr.Zone() != "" {
		e.AddressText = string(text)
		return
	}
	addr = addr.Unmap()
	e.IP = addr.String()
	bits := 24
	if addr.Is6() {
		bits = 48
	}
	if prefix, err := addr.Prefix(bits); err == nil {
		e.Network.Prefix = r.texts.of(prefix.AppendTo(nil))
	}
	row.Label.SyntheticIP = privateNet.Contains(addr)
}

// browser is a browser's family and major version.
type browser struct {
	family string
	major  int
}

// agent writes the user agent and what the data set says of it.
func (r *Reader) agent(row *Row, agent, name, system, kind []byte) {
	e := &row.Event
	e.UserAgent = r.texts.of(cut(known(agent), events.MaxText))
	row.Browser, row.OS, row.DeviceType = r.texts.of(cut(name, events.MaxName)), r.texts.of(cut(system, events.MaxName)), r.texts.of(cut(kind, events.MaxName))
	b, ok := r.browsers[row.Browser]
	if !ok {
		b.family, b.major = useragent.Browser(row.Browser)
		bounded(r.browsers)[row.Browser] = b
	}
	e.Device.Browser, e.Device.BrowserMajor = b.family, b.major
	if e.Device.OS, ok = r.systems[row.OS]; !ok {
		e.Device.OS = useragent.OS(row.OS)
		bounded(r.systems)[row.OS] = e.Device.OS
	}
	if known(kind) != nil && row.DeviceType != "unknown" {
		e.Device.Type = row.DeviceType
	}
}

// count keeps the statistics.
func (r *Reader) count(row *Row) {
	s, at := &r.stats, row.Event.Time
	add := func(n *int64, yes bool) {
		if yes {
			*n++
		}
	}
	s.Rows++
	add(&s.Successes, row.Event.Outcome == events.Success)
	add(&s.AttackIPs, row.Label.AttackIP)
	add(&s.Takeovers, row.Label.Takeover)
	add(&s.SyntheticIPs, row.Label.SyntheticIP)
	add(&s.SyntheticASNs, row.Label.SyntheticASN)
	add(&s.Backwards, at < r.last)
	r.last = at
	if s.Rows == 1 {
		s.First, s.Last = at, at
	}
	s.First, s.Last = min(s.First, at), max(s.Last, at)
}
