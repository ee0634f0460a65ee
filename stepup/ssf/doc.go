// Package stepupssf feeds a [stepup.Index] from a Shared Signals transmitter (OpenID SSF 1.0), by push (RFC 8935) or by poll
// (RFC 8936): that of countersign, or that of an identity provider that speaks CAEP.
//
// # Putting it in place
//
//	index, err := stepup.NewIndex(stepup.IndexConfig{MaxStaleness: 2 * time.Minute})
//	...
//	store, err := stepupssf.OpenStore("/var/lib/payroll/ssf", 0)
//	...
//	receiver, err := stepupssf.New(stepupssf.Config{
//		Issuer:   "https://courier.example.com/acme",
//		Delivery: stepupssf.Poll, Description: hostname,
//		ClientCredentials: &stepupssf.ClientCredentials{
//			TokenURL: "https://courier.example.com/token", ClientID: "payroll", ClientSecretFile: "/run/secrets/ssf",
//		},
//		Store: store,
//	}, index)
//	...
//	go receiver.Run(ctx)
//
// With Push, set PushURL and AuthorizationFile too, and serve the receiver at that address:
//
//	mux.Handle("POST /ssf", receiver)
//
// Run finds the receiver's stream at the transmitter or makes it, keeps it as it has to be, and goes on for ever. Nothing
// has to be set up by hand but the OAuth client. A [Receiver] is one stream; an application may have several, on one index.
// Each instance of an application needs a stream of its own: an event is delivered once a stream, and the index is in the
// instance's memory. So instances that poll have a Description each, and instances that are pushed to have an address each,
// not one behind a load balancer.
//
// # What is checked
//
// A SET is accepted when all of this holds: `typ` is secevent+jwt; the algorithm is one of Config.Algorithms; a key of the
// transmitter has signed it, RSA keys with 2048 bits or more; `iss` is Config.Issuer, which the metadata and the stream name
// as well; `aud` has a value of the audience; `iat` is at most MaxSkew ahead and MaxAge ago; there is no `sub` and no `exp`;
// there is exactly one event. Keys are fetched anew every hour, and when one is unknown, at most every 30 seconds: a SET with
// an unknown key is not refused before keys were fetched that are younger than it is, so that a rotation loses nothing.
//
// What is refused is told to the transmitter by the codes of RFC 8935, by push with 400, by poll in setErrs, and logged.
// What cannot be judged or kept at present, also because `iat` is ahead of this machine's clock by less than a day, gets 503
// with Retry-After, or no acknowledgement, and so comes again.
//
// # What is promised
//
// 202 and acknowledgements go out after Store has made the SET durable, and a SET is known as a repeat only after that. So
// one that could not be kept is taken when it comes again, and one that was kept has its effect, even if the application
// was killed in between: New fills the index from the store. The effect of a repeat is none, over whatever feed it comes:
// the index knows requirements by id and status, and the same decision has the same id in Kafka and on every stream.
// Applied and OnEvent are told once of a SET, which is known by issuer and jti for MaxAge or until 65,536 newer ones have
// come; or again, when the application was killed before it was noted that they returned.
//
// # What events do
//
//	event                                     effect
//	step-up-required                          a requirement is opened or closed
//	session-revoked, assurance-level-change,
//	risk-level-change with our members        the same
//	plain session-revoked                     the session, or all earlier ones of the user, are revoked for a day
//	plain risk-level-change to HIGH           Config.HighRisk, else OnEvent
//	plain assurance-level-change, decrease    Config.LowerAssurance, else OnEvent
//	every other                               OnEvent
//
// Set ThirdParty for a transmitter that is not countersign: then our members mean nothing in its events, and where the index
// has no room for all, what they require is forgotten first. Config.SubjectIssuers names the identity providers whose `sub`
// is a user here, Config.Subject maps subjects by e-mail address and others that the default does not know. An event about
// nobody who is known here is accepted, goes to OnEvent, and has no other effect; without ThirdParty there is a warning.
//
// # When the stream is silent
//
// A quiet stream and a broken one look the same, so the receiver has the stream verified every VerifyEvery, and polls say
// when all was fetched. Both are signs of life for the index; without them it is not fresh after IndexConfig.MaxStaleness,
// and the guard's StalePolicy decides. MaxStaleness has to be longer than VerifyEvery with Push, and longer than the
// transmitter holds a poll with Poll (30 seconds at countersign's); New refuses an index that could not stay fresh. Two minutes
// are good with Poll, whose signs of life stay away for RedeliverAfter, and for one more poll, when an answer is lost. A
// verification that does not come within VerifyWithin makes the stream [StateDead]; a transmitter may also say that it is
// paused or disabled. Config.StateChanged hears of all these; in none of them is the index kept fresh. Without a verification
// endpoint a push stream never is.
//
// SSF has no replay: a new stream begins with the events that come after its creation. Requirements that were open before
// are not known, although the index is fresh. What waits while the application is down is kept by the transmitter; how much
// and how long it says itself. An application that has to know everything from its first request reads the topic (package
// stepupkafka).
//
// # Bounds and costs
//
// A SET costs about 60 microseconds of processor time, most of it the signature, and one sync of the store's file, which
// SETs that come at the same time, or with one poll, share. A SET may have 88 KiB, 64 pushes are judged at once, 4096 SETs may wait for
// OnEvent and Applied; beyond that the transmitter is told to come again. Known SETs take 4 MB at most. The store's file is
// bounded by OpenStore: a requirement takes about 1 KB there until it expires. When it is full of what is still needed,
// SETs are not accepted: alert on Stats.Postponed.
//
// Tokens, the Authorization header and the client's secret are read from files or the application's function, and are
// never logged. Redirects are not followed.
package stepupssf
