package cloudtrail_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/cloudtrail"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// text writes a value as JSON in a string.
func text(value string) string {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// letters tells what became of the records of a value: e event, s skipped, x error.
func letters(value string) string {
	got := ""
	for _, r := range decode(value) {
		switch s := new(foreign.Skipped); {
		case r.event != nil && r.err == nil:
			got += "e"
		case errors.As(r.err, &s) && r.event == nil:
			got += "s"
		case r.err != nil && r.event == nil:
			got += "x"
		default:
			got += "?"
		}
	}
	return got
}

func sns(message string) string {
	return `{"Type":"Notification","MessageId":"m-1","TopicArn":"arn:aws:sns:us-east-1:111122223333:trail","Message":` + text(message) + `,"Timestamp":"2026-03-04T08:15:35Z","UnsubscribeURL":"https://example.com/"}`
}

func sqs(body string) string {
	return `{"MessageId":"q-1","ReceiptHandle":"h","MD5OfBody":"x","Body":` + text(body) + `,"Attributes":{"SentTimestamp":"1772612135123"}}`
}

func TestT45_EnvelopesOfEveryTransport(t *testing.T) {
	t.Parallel()
	a := record(t, nil)
	b := record(t, set("eventID", "second"))
	skip := record(t, call("ec2", "RunInstances", nil, nil, nil))
	bad := record(t, func(r object) { delete(r, "eventID") })
	bridge := func(r string) string {
		return `{"version":"0","id":"e-1","detail-type":"AWS Console Sign In via CloudTrail","source":"aws.signin","account":"111122223333","time":"2026-03-04T08:15:33Z","region":"us-east-1","resources":[],"detail":` + r + `}`
	}
	for name, c := range map[string]struct{ value, want string }{
		"file":                  {`{"Records":[` + a + "," + skip + "," + b + "," + bad + `]}`, "esex"},
		"empty file":            {`{"Records":[]}`, ""},
		"one":                   {a, "e"},
		"array":                 {"[" + a + ",\n" + b + "]", "ee"},
		"event":                 {bridge(a), "e"},
		"events":                {"[" + bridge(a) + "," + bridge(skip) + "]", "es"},
		"notification":          {sns(a), "e"},
		"notification of event": {sns(bridge(a)), "e"},
		"notification of file":  {sns(`{"Records":[` + a + "," + b + `]}`), "ee"},
		"message":               {sqs(a), "e"},
		"message of event":      {sqs(bridge(a)), "e"},
		"message of all":        {sqs(sns(bridge(a))), "e"},
		"answer of SQS":         {`{"Messages":[` + sqs(sns(a)) + "," + sqs(bridge(b)) + "," + sqs(bad) + `]}`, "eex"},
		"Lambda from SQS":       {`{"Records":[{"messageId":"q","eventSource":"aws:sqs","body":` + text(bridge(a)) + `}]}`, "e"},
		"Lambda from SNS":       {`{"Records":[{"EventSource":"aws:sns","EventVersion":"1.0","Sns":` + sns(a) + `}]}`, "e"},
		"LookupEvents":          {`{"Events":[{"EventId":"1","EventName":"ConsoleLogin","Username":"x","CloudTrailEvent":` + text(a) + `}]}`, "e"},
		"CloudWatch Logs":       {`{"messageType":"DATA_MESSAGE","logEvents":[{"id":"1","timestamp":1,"message":` + text(a) + `}]}`, "e"},
		"too deep":              {sqs(sqs(sqs(sqs(a)))), "x"},
		"not JSON":              {sqs("hello"), "x"},
		"cut off":               {`{"Records":[` + a + "," + b[:100], "x"},
		"rubbish after":         {a + " x", "ex"},
		"validation":            {sns("CloudTrail validation message."), "s"},
		"something else":        {`{"a":1}`, "x"},
		"bytes":                 {"{\"eventID\":\"\xff\"}", "x"},
		"nothing":               {"", "x"},
	} {
		if got := letters(c.value); got != c.want {
			t.Errorf("%s: %q, want %q: %+v", name, got, c.want, decode(c.value))
		}
	}
	if got := decode(sqs(sns(bad))); len(got) != 1 || got[0].record != bad {
		t.Errorf("a dead letter of a record in envelopes holds the record: %+v", got)
	}
}

// Nothing is fetched from an address that came with a message; the error says what to do instead.
func TestConfirmationsAndFileNamesAreRefusedWithAdvice(t *testing.T) {
	t.Parallel()
	for want, value := range map[string]string{
		"open its SubscribeURL yourself": `{"Type":"SubscriptionConfirmation","MessageId":"m","Token":"t","TopicArn":"arn","Message":"You have chosen to subscribe","SubscribeURL":"https://example.com/?Action=ConfirmSubscription"}`,
		"subscription ended":             `{"Type":"UnsubscribeConfirmation","Message":"You have chosen to deactivate","SubscribeURL":"https://example.com/"}`,
		"does not fetch from S3":         sns(`{"s3Bucket":"trail","s3ObjectKey":["AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/04/x.json.gz"]}`),
		"countersign ingest file":        sqs(`{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"trail"},"object":{"key":"x.json.gz"}}}]}`),
	} {
		got := decode(value)
		if len(got) != 1 || got[0].err == nil || !strings.Contains(got[0].err.Error(), want) {
			t.Errorf("want %q, got %+v", want, got)
		}
		if s := new(foreign.Skipped); errors.As(got[0].err, &s) {
			t.Errorf("%q is skipped, and nobody is told", want)
		}
	}
}

// CloudTrail writes files of up to 50 MB.
func TestLargeFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a file of 40 MB")
	}
	skip := record(t, call("ec2", "DescribeInstances", nil, object{"text": strings.Repeat("x", 8000)}, nil))
	var b strings.Builder
	b.WriteString(`{"Records":[`)
	for b.Len() < 40<<20 {
		b.WriteString(skip + ",")
	}
	b.WriteString(record(t, nil) + `]}`)
	found := 0
	cloudtrail.Records().Decode([]byte(b.String()), func(_ []byte, e *events.Event, err error) {
		if s := new(foreign.Skipped); e != nil {
			found++
		} else if !errors.As(err, &s) {
			t.Fatal(err)
		}
	})
	if found != 1 || cloudtrail.Records().MaxValue() < 50<<20 {
		t.Errorf("%d events", found)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(record(f, nil))
	f.Add(`{"Records":[` + record(f, center("signin", "UserAuthentication", object{"CredentialType": "PASSWORD,TOTP"}, nil)) + `,5]}`)
	f.Add(sqs(sns(record(f, call("iam", "CreateAccessKey", nil, object{"userName": "Other"}, object{"accessKey": object{"accessKeyId": "AKIA"}})))))
	f.Add(record(f, call("sts", "AssumeRoleWithSAML", nil, nil, object{"assumedRoleUser": object{"assumedRoleId": "A:b"}})))
	f.Fuzz(func(t *testing.T, value string) {
		for _, r := range decode(value) {
			if (r.event == nil) == (r.err == nil) || len(r.record) > len(value) {
				t.Fatalf("event %v, error %v, record of %d bytes out of %d", r.event, r.err, len(r.record), len(value))
			}
			e := r.event
			if e == nil {
				continue
			}
			if e.Source.Family != cloudtrail.Family || e.Source.ID == "" || e.User.ID == "" || e.Kind == "" {
				t.Errorf("an event of nobody: %+v", e)
			}
			for _, id := range []string{e.Source.ID, e.User.ID, e.App.ID, e.Resource.ID, e.Session.ID, e.Change.Target.ID, e.Change.Actor.ID} {
				if len(id) > events.MaxID {
					t.Errorf("an id of %d bytes", len(id))
				}
			}
			if e.User.Type == events.Unresolved && !strings.HasPrefix(e.User.ID, "name:") && len(e.User.ID) != 32 {
				t.Errorf("a name in the space of ids: %+v", e.User)
			}
			if e.Outcome != events.Success && e.Auth.Strength != "" {
				t.Errorf("%q has strength %q", e.Outcome, e.Auth.Strength)
			}
			if e.Clean(); e.Validate() == nil {
				if _, err := events.Decode(events.Encode(e)); err != nil {
					t.Errorf("an event that cannot be read back: %v", err)
				}
			}
		}
	})
}
