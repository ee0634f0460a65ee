package graph

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// Whatever comes as a page: what is taken for records is whole JSON that was in it, and no link leads elsewhere.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		`{"value":[]}`, `{"value":[{"id":"a"},{"id":"b","x":[1.50,"\ud800"]}],"@odata.nextLink":"https://graph.microsoft.com/v1.0/auditLogs/signIns?$skiptoken=a%2Fb"}`,
		`{"value":null}`, `{"value":[1,"x",null,{"a"`, `{"@odata.nextLink":"http://graph.microsoft.com/v1.0/auditLogs/signIns?a","value":[]}`,
		`{"value":[],"@odata.nextLink":"https://u@graph.microsoft.com/v1.0/auditLogs/signIns?a"}`, `{"value":[],"@odata.nextLink":"https://graph.microsoft.com\\@example.com/v1.0/auditLogs/signIns?a"}`,
		`{"value":[],"@odata.nextLink":"HTTPS://GRAPH.microsoft.com:443/V1.0/auditlogs/signins?a"}`, `{"error":{"code":"x"}}`,
	} {
		f.Add([]byte(seed))
	}
	address, err := url.Parse("https://graph.microsoft.com/v1.0/auditLogs/signIns")
	if err != nil {
		f.Fatal(err)
	}
	feed := &Feed{address: address}
	f.Fuzz(func(t *testing.T, body []byte) {
		records, next, err := readPage(body)
		if err != nil {
			if len(records) > 0 || next != "" {
				t.Errorf("%d records and link %q of a page that is none", len(records), next)
			}
			return
		}
		if !json.Valid(body) {
			t.Error("a page that is no JSON was read")
		}
		for _, record := range records {
			if !json.Valid(record) || !bytes.Contains(body, record) {
				t.Errorf("record %q is not what came", record)
			}
		}
		if feed.follows(next) && next != "" {
			if u, err := url.Parse(next); err != nil || !strings.EqualFold(u.Hostname(), "graph.microsoft.com") || u.Scheme != "https" {
				t.Errorf("link %q is followed (%v)", next, err)
			}
		}
	})
}

// A kept position has at most 64 KiB, whatever links it holds.
func TestPositionsAreSmall(t *testing.T) {
	t.Parallel()
	p := reread(t, nil, start)
	for i := range p.Levels {
		p.begin(i, start)
		p.Levels[i].Sweep.Next = strings.Repeat("<", maxLink) // six bytes each in JSON
	}
	if n := len(p.encode()); n > 64<<10 {
		t.Errorf("%d bytes", n)
	}
}
