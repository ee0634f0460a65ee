// Package stepup lets an application ask for a second word: it holds what countersign requires of the application's users,
// and stands before its handlers to challenge a user whose proof of identity is no longer enough, until a stronger or
// fresher token comes.
//
// It uses the standard library only.
//
// # Parts
//
//   - [Index] knows what is required of whom. Feeds fill it: the sub-package kafka from countersign's topic, the
//     sub-package ssf from a Shared Signals stream, and tests call [Index.Apply].
//   - [Guard] is middleware for net/http. It asks the application who the caller is, asks the index what is required, and
//     answers with the challenge the caller's client understands.
//   - [Require] marks routes that need a strong or fresh proof from everybody, whatever the anomalies say.
//   - [Observer] reports how sessions are used, so that one that turns up elsewhere is noticed before the next sign-in.
//   - [ReceiptSender] reports over HTTP what became of requirements.
//   - [Transport] is the other end: an http.RoundTripper that understands the challenges, gets a better token, and sends the
//     request once more.
//   - [ParseClaims] reads the claims of a Security Event Token, [ParseChallenges] the challenges of an answer; the first is
//     for feeds, the second for clients.
//
// # Putting it in place
//
// Make the index, start its feed, and wrap the handlers:
//
//	index, err := stepup.NewIndex(stepup.IndexConfig{})
//	...
//	feed, err := stepupkafka.New(stepupkafka.Config{Brokers: brokers}, index)
//	go feed.Run(ctx)
//	guard, err := stepup.New(stepup.Config{
//		Index:    index,
//		Identify: identify, // validates the caller's token, and says what is in it
//		Stale:    stepup.FailClosed,
//		App:      "bank",
//		Ranking:  stepup.Ranking{"pwd", "mfa", "phr"},
//	})
//	...
//	mux.Handle("POST /transfers", stepup.Require(stepup.Proof{ACRValues: []string{"phr"}, MaxAge: 5 * time.Minute})(transfers))
//	server.Handler = guard.Middleware(mux)
//
// # What satisfies a requirement
//
// A token satisfies a requirement when its proof of identity (auth_time) is not before the requirement's not_before, and its
// authentication context (acr, or an entry of acrs) is one that the requirement accepts or a stronger one by the
// [Ranking]. So the caller's next request passes without a round trip to anywhere. For tokens of Microsoft Entra ID,
// which rarely say auth_time, the time of issue counts too. A claim that a token does not have satisfies nothing; receipts
// and the log name the one that lacked.
//
// When countersign itself sees the stronger sign-in, it closes the requirement. The index then keeps it as a floor until
// it expires: proofs from before that moment must still satisfy it by themselves, or else the true user's step-up would
// open the door to the thief's older token again. Proofs made later are judged by what countersign says about them.
//
// A requirement on a session holds for tokens of that session, and for tokens that do not say their session. A session that
// was revoked stays so whatever is proved in it; a new sign-in has to begin a new one. When every session of a user was
// revoked until the credential is changed, no token will do before countersign has seen the change.
//
// # Answers
//
//	caller                              answer
//	Entra bearer token with cp1         401, claims challenge: error="insufficient_claims", claims="<base64>"
//	Entra bearer token without cp1      401 error="invalid_token"
//	other bearer or DPoP token          401 error="insufficient_user_authentication", acr_values, max_age (RFC 9470)
//	cookie session, navigation          303 to Config.SignIn, which returns to the same page
//	cookie session, script              as other bearer tokens
//	session revoked, or all of them     Config.EndSession, 401 error="invalid_token"
//	too many tokens that do not do      403, no challenge
//	index not fresh, with FailClosed    503, Retry-After
//
// A request without a token passes the guard, because there is nobody to ask for more; Require answers it with 401 and
// without details.
//
// # When the feed is silent
//
// [Index.SnapshotFile] and [Index.RestoreFile] let an application start with what it knew when it stopped; the feeds do so by
// themselves. A restored index is not fresh before its feed has caught up.
//
// A quiet feed and a broken one look the same from inside, so feeds send signs of life, and an index that has had none for
// IndexConfig.MaxStaleness is not fresh. Then [StalePolicy] decides about callers who may pass by all that is known:
// FailOpen lets them in, FailClosed does not. An index that has never caught up is not fresh. A requirement that is known
// is enforced in any case.
//
// # Bounds and costs
//
// [Index.Check] costs about 100 ns with a million open requirements and does not allocate; BenchmarkCheckMillion measures it.
// An open requirement takes about 500 bytes. Past IndexConfig.MaxOpen the requirement that would end soonest is
// forgotten and counted: watch [Stats.Evicted]. Claims sets over 64 KiB are refused.
//
// [Observer.Observe] costs a fraction of a microsecond and does not allocate when there is nothing new to report;
// BenchmarkObserve measures it. Sessions remembered and reports waiting are bounded; what is lost is counted.
//
// Everything here is safe for concurrent use. Only the index's timer runs in the background; there is nothing to close.
package stepup
