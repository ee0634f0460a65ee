package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxLink is the longest next link that is followed, in bytes: it is kept in the position.
const maxLink = 3 << 10

// readPage takes a page apart: {"value":[…],"@odata.nextLink":"…"}. A body that does not come to its end is no page.
func readPage(body []byte) (records [][]byte, next string, err error) {
	var page struct {
		Value *[]json.RawMessage `json:"value"`
		Next  string             `json:"@odata.nextLink"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, "", errors.New("is no page: the JSON is broken or cut off")
	}
	switch {
	case page.Value == nil:
		return nil, "", errors.New("is no page: value is missing")
	case len(page.Next) > maxLink:
		return nil, "", fmt.Errorf("its next link is longer than %d bytes", maxLink)
	}
	records = make([][]byte, len(*page.Value))
	for i, record := range *page.Value {
		records[i] = record
	}
	return records, page.Next, nil
}

// query is the address of the first page of the records from one moment to another, both included.
func (f *Feed) query(from, to time.Time) string {
	filter := f.feed.moment + " ge " + from.UTC().Format(time.RFC3339) + " and " + f.feed.moment + " le " + to.UTC().Format(time.RFC3339)
	if f.feed.types != "" {
		filter += " and " + f.feed.types
	}
	// OData wants %20 where forms have +.
	return f.address.String() + "?$top=" + strconv.Itoa(f.feed.top) + "&$filter=" + strings.ReplaceAll(url.QueryEscape(filter), "+", "%20")
}

// follows reports whether a next link goes on with this feed: the same host and path, or "" for the last page. Anything
// else would carry the token away or bring in other records.
func (f *Feed) follows(link string) bool {
	if link == "" {
		return true
	}
	u, err := url.Parse(link)
	return err == nil && Origin(u) == Origin(f.address) && strings.EqualFold(u.Path, f.address.Path) &&
		u.User == nil && u.Fragment == "" && u.RawQuery != ""
}

// Origin is the scheme, host and port of an address, spelt in one way.
func Origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
