package familiarity

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/countersign-io/countersign/internal/events"
)

// Level is one level of a feature.
type Level uint8

// The levels, by feature, finest first.
const (
	// IP is the address; of IPv6 the /64, because hosts change the rest at will. It is unknown in the networks of mobile
	// carriers, satellites and privacy relays, which deal addresses out anew all the time.
	IP Level = iota
	ASN
	Country
	// Agent is the whole user-agent text.
	Agent
	// Browser is the browser's family and major version.
	Browser
	// System is the operating system's family.
	System
	// DeviceType is "desktop", "mobile" and so on.
	DeviceType
	// DeviceID is the device as the identity provider knows it.
	DeviceID

	// Levels is how many there are.
	Levels = int(DeviceID) + 1
)

var levelNames = [Levels]string{"ip", "asn", "country", "agent", "browser", "system", "device_type", "device_id"}

// String is the name of the level in [events.OrgLevel].
func (l Level) String() string {
	if int(l) < Levels {
		return levelNames[l]
	}
	return "level " + strconv.Itoa(int(l))
}

// feature is a hierarchy of levels: those from first to before last.
type feature struct {
	name        string
	first, last Level
}

var features = [...]feature{{"network", IP, Agent}, {"agent", Agent, DeviceID}, {"device", DeviceID, Level(Levels)}}

// Login is what the score looks at: a hash of the value of every level, 0 when unknown. What is absent from the device or
// its user agent is a value like any other: an attacker could leave it out. An address, AS number or country
// that is not told is merely unknown.
type Login struct {
	Values [Levels]uint64
}

// LoginOf takes the features out of an event.
func LoginOf(e *events.Event) Login {
	var l Login
	if !slices.ContainsFunc(e.Network.Classes, fleeting) {
		l.Values[IP] = hashIP(e.IP)
	}
	if e.Network.ASN != 0 {
		l.Values[ASN] = hashNumber(uint64(e.Network.ASN))
	}
	if e.Place.Country != "" {
		l.Values[Country] = hashText(e.Place.Country)
	}
	l.Values[Agent] = hashText(e.UserAgent)
	l.Values[Browser] = hashText(e.Device.Browser) ^ hashNumber(uint64(e.Device.BrowserMajor))
	l.Values[System] = hashText(e.Device.OS)
	l.Values[DeviceType] = hashText(e.Device.Type)
	l.Values[DeviceID] = hashText(e.Device.ID)
	for i, v := range l.Values[Agent:] {
		l.Values[int(Agent)+i] = max(v, 1)
	}
	return l
}

// fleeting tells networks that deal addresses out anew all the time.
func fleeting(c events.Class) bool {
	return c == events.Mobile || c == events.Satellite || c == events.Relay
}

func hashText(s string) uint64 { return max(xxhash.Sum64String(s), 1) }

func hashNumber(n uint64) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	return max(xxhash.Sum64(b[:]), 1)
}

// hashIP is 0 for what is no address.
func hashIP(text string) uint64 {
	if text == "" {
		return 0
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return 0
	}
	a = a.Unmap()
	b := a.As16()
	if a.Is6() {
		return max(xxhash.Sum64(b[:8]), 1)
	}
	return max(xxhash.Sum64(b[12:]), 1)
}
