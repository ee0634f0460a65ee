package events

// The topics of the log. A name carries its wire version; a new wire version is a new topic.
const (
	TopicEvents      = "countersign.events.v1"
	TopicState       = "countersign.state.v1"
	TopicFindings    = "countersign.findings.v1"
	TopicRevocations = "countersign.revocations.v1"
	TopicReceipts    = "countersign.receipts.v1"
	TopicCursors     = "countersign.cursors.v1"
	TopicDeadLetter  = "countersign.deadletter.v1"
)
