package events

// DeadLetter keeps a record that could not be taken in, with the reason and the untouched bytes, so that a person can
// mend the cause and send it again.
type DeadLetter struct {
	// ID is derived from origin and bytes, so that a repeat has the same id.
	ID     string `json:"id"`
	Time   Millis `json:"time"`
	Source string `json:"source"`
	// Stage is what refused it: "ingest", "detector", "network", "archiver" or "courier".
	Stage  string `json:"stage"`
	Reason string `json:"reason"`
	// Format is what ingest took the record for; "" where another stage refused it.
	Format string `json:"format,omitempty"`
	// Topic, Partition and Offset say where on the log it was; Line is its number in a request or file, from 1.
	Topic     string `json:"topic,omitempty"`
	Partition int    `json:"partition,omitempty"`
	Offset    int64  `json:"offset,omitempty"`
	Line      int    `json:"line,omitempty"`
	// Bytes is the record as it came, in base64 on the wire; Size is its full length when Bytes had to be cut.
	Bytes []byte `json:"bytes"`
	Size  int    `json:"size"`
}

// ReceiptStatus is what an application did with a requirement.
type ReceiptStatus string

// The receipt statuses.
const (
	Delivered  ReceiptStatus = "delivered"
	Challenged ReceiptStatus = "challenged"
	Satisfied  ReceiptStatus = "satisfied"
	Refused    ReceiptStatus = "refused"
	// Revoked is a session that was ended.
	Revoked ReceiptStatus = "revoked"
)

// ReceiptStatuses are all of them.
var ReceiptStatuses = []ReceiptStatus{Delivered, Challenged, Satisfied, Refused, Revoked}

// Receipt tells what an application did with a requirement, and when.
type Receipt struct {
	ID      string `json:"id"`
	Time    Millis `json:"time"`
	Tenant  string `json:"tenant"`
	User    string `json:"user"`
	Session string `json:"session,omitempty"`
	// Requirement is the requirement's id (the txn of its SETs), JTI the SET that was acted on.
	Requirement string        `json:"requirement"`
	JTI         string        `json:"jti,omitempty"`
	App         string        `json:"app"`
	Status      ReceiptStatus `json:"status"`
}
