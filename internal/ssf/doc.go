// Package ssf is the transmitter's side of OpenID Shared Signals 1.0 over HTTP: discovery, streams, status, subjects,
// verification, poll, and the authorization of receivers. It keeps nothing: a [Registry] does.
package ssf
