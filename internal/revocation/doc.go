// Package revocation is the life of a requirement: open, then satisfied or expired.
//
// A requirement says that a session, or every session of a user, needs a stronger or fresher proof of identity
// (step_up), or is over (revoke_session), or that all of a user's are (revoke_all). It binds every token whose proof is
// older than NotBefore or weaker than ACRValues. The clock is that of the events: the same events give the same
// requirements, ids and claims.
//
// # What is raised
//
// A decision is covered, and raises nothing new, when an open requirement of at least its strength already binds the
// session it is about. A session that has proved itself after a requirement is not bound by it, so a finding there raises
// a new one, which replaces the old one when scope and action are the same. At most [MaxOpen] are open: a user with too
// many barred sessions is barred as a whole.
//
// # What ends it
//
// A step-up is satisfied by a later success with a proof that is fresh and strong enough and raised no serious finding
// itself, but for the journey home from where an intruder was, which a phishing-resistant proof answers. A requirement on
// a session is satisfied in that session only: a sign-in elsewhere says nothing of who holds this one. A requirement on
// the user is satisfied by any session; the sessions that caused it and have not proved themselves
// keep a requirement of their own, with the same cause. Otherwise the user's proof would open the door to the intruder.
//
// A revoked session stays revoked until the requirement expires: whoever stole the session shares every proof made in it.
// New sessions are not bound by it.
//
// The end of all sessions is met by a change of the credential and a proof made after it, unless the policy wants the proof
// only. With the change, a requirement that waits for the proof alone takes the place of the first. No proof counts in the
// sessions that caused it: they stay revoked.
//
// # What is not asked again
//
// Who has met a policy's requirement gets a [policy.Pass] for its cooldown; [State.Passes] are for the next decision.
package revocation
