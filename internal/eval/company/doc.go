// Package company simulates the sign-ins of a company: employees with homes, offices, phones, tablets, VPN, virtual
// desktops, business trips and leave, its programs and printers, and the attacks on them, with labels.
//
// It is deterministic: one Config gives one stream, byte for byte, on every machine. It reads no clock; the start time is
// part of the Config, and the caller paces the stream by the times of the events. Everything an employee does on one day
// is a function of seed, employee and day, so that the company needs memory for about two days, however long it runs.
//
// Genuine employees keep to the laws of nature: between two events of theirs there is time for the way, at most as fast
// as an airliner with its airport. What only looks faster is explained by its class, or by the error that a geo database
// makes: a mobile carrier's hub, the company's VPN, a virtual desktop, a privacy relay, a satellite.
//
// Every genuine event that is not quite ordinary is labelled with its [Confounder], every event of an attacker with the
// [Attack] and the incident. Nothing in the events tells the labels.
//
// Addresses come from ranges that are nobody's (240.0.0.0/4, 100.64.0.0/10, 198.18.0.0/15, 2001:db8::/32), network numbers
// from the private ones. No geo database knows them, so events carry place and network already.
package company
