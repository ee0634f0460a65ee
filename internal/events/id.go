package events

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"
)

// An id is 32 lower-case hexadecimal digits: the first 128 bits of SHA-256 over length-prefixed fields. The same thing
// has the same id on every machine and in every replay; that is what makes repeats harmless.

// EventID names an event by where it came from.
func EventID(tenant, family, sourceID string) string {
	return ID("event", tenant, family, sourceID)
}

// FindingID names a finding by the detection and the events it rests on, in the order given.
func FindingID(detection string, version int, tenant, user, eventID string, anchors ...string) string {
	fields := append([]string{"finding", detection, tenant, user, eventID}, anchors...)
	return ID(append(fields, strconv.Itoa(version))...)
}

// ReceiptID names a receipt by what it says, whoever says it and however often: all but its time.
func ReceiptID(r *Receipt) string {
	return ID("receipt", r.App, r.Requirement, r.JTI, r.Session, string(r.Status))
}

// ID hashes fields to an id. The first field names the kind of thing.
func ID(fields ...string) string {
	digest := sha256.New()
	for _, f := range fields {
		field(digest, f)
	}
	var sum [sha256.Size]byte
	return hex.EncodeToString(digest.Sum(sum[:0])[:16])
}

// Canonical is the form of an identity that all sources share: a GUID in lower case, anything else as it is. Providers write
// GUIDs in either case, and one user must not have two keys.
func Canonical(id string) string {
	const size = 36
	if len(id) != size {
		return id
	}
	upper := false
	for i := range size {
		switch c := id[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return id
			}
		case c >= 'A' && c <= 'F':
			upper = true
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return id
		}
	}
	if !upper {
		return id
	}
	return strings.ToLower(id)
}

func field(h hash.Hash, s string) {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(s)))
	h.Write(n[:])
	h.Write([]byte(s))
}
