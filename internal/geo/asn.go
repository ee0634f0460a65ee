package geo

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// asnSource knows the autonomous system of addresses.
type asnSource interface {
	lookup(ip netip.Addr) (asn uint32, org string, ok bool)
}

func openASN(f *file) error {
	if strings.HasSuffix(strings.ToLower(f.path), ".csv") {
		in, err := os.Open(f.path)
		if err != nil {
			return err
		}
		defer in.Close()
		table, err := readASNs(in)
		if err != nil {
			return err
		}
		f.asn = table
		return nil
	}
	reader, err := maxminddb.Open(f.path)
	if err != nil {
		return err
	}
	source := &asnReader{reader: reader}
	if err := source.check(); err != nil {
		return errors.Join(err, reader.Close())
	}
	f.built = reader.Metadata.BuildTime()
	f.asn = source
	return nil
}

// asnTable is a CSV of ranges.
type asnTable struct {
	spans []span
	// system is parallel to spans and indexes systems: there are five times as many ranges as systems.
	system  []uint32
	systems []autonomousSystem
}

type autonomousSystem struct {
	number uint32
	name   string
}

// readASNs reads rows of "start,end,asn,name". A broken row refuses the file: half a table would answer wrongly.
func readASNs(in io.Reader) (*asnTable, error) {
	rows := csv.NewReader(bufio.NewReaderSize(in, 1<<20))
	rows.FieldsPerRecord = -1
	rows.ReuseRecord = true
	t := &asnTable{}
	index := map[uint32]uint32{}
	sorted := true
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		s, system, err := asnRow(row)
		if err != nil {
			line, _ := rows.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		i, known := index[system.number]
		if !known {
			i = uint32(len(t.systems))
			index[system.number] = i
			system.name = strings.Clone(system.name) // the row shares one large string
			t.systems = append(t.systems, system)
		}
		sorted = sorted && (len(t.spans) == 0 || !s.first.less(t.spans[len(t.spans)-1].first))
		t.spans, t.system = append(t.spans, s), append(t.system, i)
	}
	if len(t.spans) == 0 {
		return nil, errors.New("holds no rows, want start,end,asn,name")
	}
	if !sorted {
		t.sort()
	}
	t.spans, t.system = slices.Clip(t.spans), slices.Clip(t.system)
	return t, nil
}

func asnRow(row []string) (span, autonomousSystem, error) {
	if len(row) < 3 {
		return span{}, autonomousSystem{}, fmt.Errorf("has %d fields, want start,end,asn,name", len(row))
	}
	first, err := netip.ParseAddr(row[0])
	if err != nil {
		return span{}, autonomousSystem{}, fmt.Errorf("start: %w", err)
	}
	last, err := netip.ParseAddr(row[1])
	if err != nil {
		return span{}, autonomousSystem{}, fmt.Errorf("end: %w", err)
	}
	number, err := strconv.ParseUint(row[2], 10, 32)
	if err != nil {
		return span{}, autonomousSystem{}, fmt.Errorf("asn: %w", err)
	}
	s := span{keyOf(first), keyOf(last)}
	if s.last.less(s.first) || first.Is4() != last.Is4() {
		return span{}, autonomousSystem{}, fmt.Errorf("%s to %s is no range", first, last)
	}
	system := autonomousSystem{number: uint32(number)}
	if len(row) > 3 {
		system.name = row[3]
	}
	return s, system, nil
}

func (t *asnTable) sort() {
	order := make([]int, len(t.spans))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return t.spans[a].first.compare(t.spans[b].first) })
	spans, system := make([]span, len(order)), make([]uint32, len(order))
	for to, from := range order {
		spans[to], system[to] = t.spans[from], t.system[from]
	}
	t.spans, t.system = spans, system
}

func (t *asnTable) lookup(ip netip.Addr) (uint32, string, bool) {
	i := find(t.spans, keyOf(ip))
	if i < 0 {
		return 0, "", false
	}
	s := t.systems[t.system[i]]
	return s.number, s.name, s.number != 0
}

// asnReader is an MMDB with MaxMind's ASN keys.
type asnReader struct{ reader *maxminddb.Reader }

type asnRecord struct {
	Number uint32 `maxminddb:"autonomous_system_number"`
	Name   string `maxminddb:"autonomous_system_organization"`
}

// check refuses a database that holds something else.
func (a *asnReader) check() error {
	for result := range firstNetworks(a.reader) {
		var record asnRecord
		if err := result.Decode(&record); err != nil {
			return err
		}
		if record.Number != 0 {
			return nil
		}
	}
	return errors.New("holds no autonomous_system_number")
}

func (a *asnReader) lookup(ip netip.Addr) (uint32, string, bool) {
	if ip.Is6() && a.reader.Metadata.IPVersion == 4 {
		return 0, "", false
	}
	var record asnRecord
	if err := a.reader.Lookup(ip).Decode(&record); err != nil {
		return 0, "", false
	}
	return record.Number, record.Name, record.Number != 0
}
