package events

// The topics of the log. A name carries its wire version; a new wire version is a new topic.
const (
	TopicEvents = "countersign.events.v1"
	// TopicSightings is keyed by tenant: what the network stage reads. TopicNetwork is its state.
	TopicSightings   = "countersign.sightings.v1"
	TopicNetwork     = "countersign.network.v1"
	TopicState       = "countersign.state.v1"
	TopicFindings    = "countersign.findings.v1"
	TopicRevocations = "countersign.revocations.v1"
	TopicReceipts    = "countersign.receipts.v1"
	TopicCursors     = "countersign.cursors.v1"
	// TopicStreams is keyed by stream: the configuration and the positions of Shared Signals streams, and who holds them.
	TopicStreams = "countersign.streams.v1"
	// TopicAlerts is keyed by incident: what people were told and are to be told. It has one partition.
	TopicAlerts     = "countersign.alerts.v1"
	TopicDeadLetter = "countersign.deadletter.v1"
	// TopicMarks is keyed by tenant and finding: what people made of findings. TopicAudit is keyed by tenant: who read and did what.
	TopicMarks = "countersign.marks.v1"
	TopicAudit = "countersign.audit.v1"
	// TopicAccess is keyed by token: the API's own tokens, by the hash of their secret. It has one partition. Whoever may write
	// to it may make tokens.
	TopicAccess = "countersign.access.v1"
)
