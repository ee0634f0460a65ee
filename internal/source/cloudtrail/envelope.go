package cloudtrail

import (
	"errors"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/source/foreign"
)

// maxValue is the largest value that is decoded, in bytes: CloudTrail writes files of up to 50 MB, each one object.
const maxValue = 64 << 20

// maxTexts bounds JSON inside strings inside JSON: the body of an SQS message may be a notification of SNS, whose message
// is an event of EventBridge.
const maxTexts = 3

// Records decodes CloudTrail records: one, an array, log files ({"Records":[…]}), events of EventBridge ({"detail":…}),
// notifications of SNS ({"Message":"…"}), messages of SQS ({"Body":"…"}, {"Messages":[…]}, and as a Lambda function gets
// them), SNS in SQS, answers of LookupEvents ({"Events":[{"CloudTrailEvent":"…"}]}), and log events of CloudWatch Logs.
//
// Notifications that only name a file in S3, and the confirmations that SNS asks for, are errors that say what to do:
// nothing is fetched from an address that came with a record.
func Records() *foreign.Format { return format(maxTexts) }

func format(texts int) *foreign.Format {
	f := &foreign.Format{Max: maxValue, Envelopes: []string{"Records", "detail", "Messages", "Sns", "Events", "logEvents", "events"}}
	if texts == 0 {
		f.Record = func(raw []byte, emit foreign.Emit) { open(raw, emit, nil) }
		return f
	}
	inner := format(texts - 1)
	f.Record = func(raw []byte, emit foreign.Emit) { open(raw, emit, inner) }
	return f
}

// cover is what tells a record from an envelope around it.
type cover struct {
	source, name string // of a CloudTrail record
	text         string // JSON in a string
	sns          string // the type of a message of SNS
	file         bool   // it names a file in S3
}

// open decodes a record, or what an envelope holds as text.
func open(raw []byte, emit foreign.Emit, inner *foreign.Format) {
	l := &jlexer.Lexer{Data: raw}
	c := readCover(l)
	l.Consumed()
	switch {
	case l.Error() != nil:
		emit(raw, nil, foreign.Broken(l))
	case c.sns == "SubscriptionConfirmation":
		emit(raw, nil, errors.New("is SNS asking to confirm a subscription: countersign opens no address that came with a message; "+
			"open its SubscribeURL yourself if you made this subscription, or better, send through EventBridge or SQS"))
	case c.sns == "UnsubscribeConfirmation":
		emit(raw, nil, errors.New("is SNS saying that a subscription ended: subscribe again if that is a mistake"))
	case c.file:
		emit(raw, nil, errors.New("names a file in S3 and holds no records: countersign does not fetch from S3; "+
			"send the events through EventBridge, or take the file in with countersign ingest file"))
	case c.name == "" && c.text == validation:
		emit(raw, nil, &foreign.Skipped{Reason: "test", Category: "validation"})
	case c.name == "" && c.text != "" && inner == nil:
		emit(raw, nil, errors.New("has too many envelopes one in the other"))
	case c.name == "" && c.text != "":
		inner.Decode([]byte(c.text), emit)
	case c.name == "" || c.source == "":
		emit(raw, nil, errors.Join(missing("eventSource", c.source), missing("eventName", c.name)))
	default:
		decideKind(raw, c, emit)
	}
}

// validation is what CloudTrail sends when notifications are switched on.
const validation = "CloudTrail validation message."

func decideKind(raw []byte, c cover, emit foreign.Emit) {
	switch key := c.source + "/" + c.name; {
	case steps[key]:
		emit(raw, nil, &foreign.Skipped{Reason: "context", Category: c.name})
	case kinds[key] == nil:
		emit(raw, nil, &foreign.Skipped{Reason: "category", Category: key})
	default:
		decode(raw, emit)
	}
}

// readCover reads as little as possible: most records of a trail are of no concern.
func readCover(l *jlexer.Lexer) cover {
	var c cover
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "eventSource":
			c.source = foreign.Text(l)
		case "eventName":
			c.name = foreign.Text(l)
		case "Message", "Body", "body", "CloudTrailEvent", "message":
			c.text = foreign.Text(l)
		case "Type":
			c.sns = foreign.Text(l)
		case "s3Bucket", "s3":
			c.file = true
			l.SkipRecursive()
		default:
			l.SkipRecursive()
		}
	})
	return c
}
