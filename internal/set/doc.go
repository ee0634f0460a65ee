// Package set writes Security Event Tokens (RFC 8417): claims, subjects (RFC 9493 and Shared Signals), signing keys and
// their rotation.
package set
