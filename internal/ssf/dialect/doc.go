// Package dialect writes one decision as the Security Event Token that a stream asked for, in the way its receiver wants
// it: at most one token per decision and stream. It decides what is in a token; order, retry and signing are the courier's.
// It is pure: time is an argument.
//
// # One decision, several event types
//
// The first of these types that the stream gets is sent, for a step-up:
//
//   - [StepUpRequired], countersign's own, with all that an application needs
//   - [AssuranceLevelChange], a decrease, and an increase when it is satisfied or expired
//   - [RiskLevelChange], or Okta's [UserRiskChange]: high, and low afterwards
//   - [DeviceComplianceChange], when the device of the event is known not to be compliant
//   - [SessionRevoked], where the stream's configuration allows it
//
// Where the policy ends sessions it is SessionRevoked, always. Its end is told as [CredentialChange] when the demand for a
// new credential was met, and else not: to a receiver that knows only the standard a second session-revoked would end
// another session. Streams that asked for StepUpRequired know our `status`, and get the end as SessionRevoked with it.
//
// Assurance is written in NIST's levels: a session that has to prove itself is worth level 1, afterwards what was asked for,
// level 2 or, where only a phishing-resistant proof was enough, level 3.
//
// Reasons name the policy and the detections, and nothing of the person.
package dialect
