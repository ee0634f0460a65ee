// Package set writes Security Event Tokens (RFC 8417 as Shared Signals 1.0 narrows it): claims, signatures, subject
// identifiers (RFC 9493 and Shared Signals), signing keys and their rotation.
package set
