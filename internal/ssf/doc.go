// Package ssf is the transmitter's side of OpenID Shared Signals 1.0 over HTTP: discovery, streams, status, subjects,
// verification, poll, and the authorization of receivers. It keeps nothing: a [Registry] does.
//
// A request is authenticated first, then its scope and its rate are looked at, then its body is read and parsed, and only
// then the stream is looked up: who may not learns nothing, and a stream of another receiver is as one that does not exist.
//
// Receivers authorize themselves by OAuth 2.0: by client credentials at the own token endpoint, whose tokens are short and
// which every courier with the same secrets takes, or by the tokens of an external issuer. Other grants are for external
// issuers only.
package ssf
