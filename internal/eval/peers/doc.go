// Package peers restates the published rules of other systems, so that they can be run over the same events as countersign
// and be measured by the same ruler.
//
// Every rule here is a restatement: written from the behaviour that its makers document, or that was measured, with their
// thresholds, and with no query, text or list of theirs. [Info] says what of a peer is restated and what is left out; a
// report must print both. Where the documentation leaves something open, the reading that is kinder to the peer was taken.
//
// Peers that look at the log now and then, not at every event, keep their delay: [Alert.At] is when the peer would have told.
// All times are the events' own. What a peer measures by the wall clock is measured by the time an event arrived, or by its
// own time when that is unknown.
//
// Rules keep strings of the events they see, so an event must own its text. A rule is for one goroutine.
package peers
