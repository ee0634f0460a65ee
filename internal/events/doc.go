// Package events is the vocabulary of countersign: what a sign-in, a session use and a finding are, how they are
// named, and how they look on the wire.
//
// Everything is pure: no clock, no network, no logger. Absent means unknown, everywhere: an empty string, a zero number
// and an unset [Tri] are "the source did not say", never "no" and never zero. A place at (0, 0) is unknown too, because
// no source means the open sea when it writes that.
//
// The wire form is JSON with snake_case keys, one object a record; the JSON Schemas are in schemas/. Decoding ignores
// unknown keys, so that a reader built before a field was added still reads the record.
package events

//go:generate go tool -modfile=../../tools/dev/go.mod easyjson -all event.go report.go finding.go record.go verdict.go mark.go audit.go
