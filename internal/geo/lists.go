package geo

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// list is one configured network list, loaded.
type list struct {
	name  string
	class events.Class
	built events.Millis
	// maxAge is 0 for a list that does not age.
	maxAge time.Duration
	sets   []*entries
}

func (l *list) holds(k key, asn uint32) bool {
	for _, set := range l.sets {
		if set.asns[asn] || find(set.spans, k) >= 0 {
			return true
		}
	}
	return false
}

// classify sets the classes of a network. The lists come in order of precedence. An office is what the operator says
// it is, and a private relay is in every VPN and hosting list although it hides no country, so both end the search.
func classify(lists []*list, ip netip.Addr, n *events.Network) {
	k := keyOf(ip)
	for _, l := range lists {
		if n.Is(l.class) || !l.holds(k, n.ASN) {
			continue
		}
		if len(n.Classes) == 0 {
			n.List, n.Built = l.name, l.built
		}
		n.Classes = append(n.Classes, l.class)
		if l.class == events.Office || l.class == events.Relay {
			return
		}
	}
}

// entries is the content of a list: prefixes and ASNs. AS 0 is never in it.
type entries struct {
	spans []span
	asns  map[uint32]bool
}

func newEntries() *entries { return &entries{asns: map[uint32]bool{}} }

// maxLine bounds a line of a list.
const maxLine = 4096

// openEntries reads a list file. A broken line refuses the file.
func openEntries(f *file) error {
	in, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer in.Close()
	set := newEntries()
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	for n := 1; lines.Scan(); n++ {
		if n == 1 && strings.HasPrefix(lines.Text(), "ASN,") {
			continue // the heading of a CSV
		}
		if err := set.add(lines.Text()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if len(set.spans) == 0 && len(set.asns) == 0 {
		return errors.New("holds no entries; an empty list is more likely a failed download than the truth")
	}
	set.spans = merged(set.spans)
	f.entries = set
	return nil
}

// mapped is where IPv4 addresses are inside IPv6.
var mapped = netip.MustParsePrefix("::ffff:0:0/96")

// add takes one line: a prefix, an address, or an ASN with or without "AS". Blank lines and comments add nothing.
func (e *entries) add(line string) error {
	text := strings.TrimSpace(line)
	if i := strings.IndexAny(text, " \t,#;"); i >= 0 {
		text = text[:i]
	}
	text = strings.Trim(text, `"`)
	switch {
	case text == "":
		return nil
	case strings.Contains(text, "/"):
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		if p.Bits() == 0 {
			return fmt.Errorf("%q is every address, which is never meant", text)
		}
		if p.Overlaps(mapped) {
			return fmt.Errorf("%q holds IPv4 addresses in IPv6 form, write them as IPv4", text)
		}
		e.spans = append(e.spans, spanOf(p))
		return nil
	case strings.ContainsAny(text, ".:"):
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		k := keyOf(ip)
		e.spans = append(e.spans, span{k, k})
		return nil
	}
	digits := text
	if len(text) > 2 && strings.EqualFold(text[:2], "AS") {
		digits = text[2:]
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 {
		return fmt.Errorf("%.40q is neither a prefix nor an address nor an ASN", text)
	}
	e.asns[uint32(n)] = true
	return nil
}

// mustParseEntries reads entries that Validate has accepted.
func mustParseEntries(lines []string) *entries {
	set := newEntries()
	for _, line := range lines {
		if err := set.add(line); err != nil {
			panic(fmt.Sprintf("geo: entry was not validated: %v", err))
		}
	}
	set.spans = merged(set.spans)
	return set
}
