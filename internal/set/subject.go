package set

import "encoding/json"

// Subject is a subject identifier (RFC 9493, Shared Signals 1.0 §3) as JSON, checked by ParseSubject.
type Subject = json.RawMessage
