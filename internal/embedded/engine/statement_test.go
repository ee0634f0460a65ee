package engine

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitInsert(t *testing.T) {
	t.Parallel()
	native := func(head string) insertStatement { return insertStatement{head: head, format: "Native"} }
	for sql, want := range map[string]insertStatement{
		"INSERT INTO t (a, b) FORMAT Native":                         native("INSERT INTO t (a, b) "),
		"insert into t format Native":                                native("insert into t "),
		"/* c */ INSERT INTO `d;b`.t -- FORMAT x\n FORMAT Native":    native("/* c */ INSERT INTO `d;b`.t -- FORMAT x\n "),
		"INSERT INTO t (format, values) FORMAT Native":               native("INSERT INTO t (format, values) "),
		"INSERT INTO format FORMAT Native":                           native("INSERT INTO format "),
		"INSERT INTO TABLE values FORMAT Native":                     native("INSERT INTO TABLE values "),
		"INSERT INTO db.format FORMAT Native":                        native("INSERT INTO db.format "),
		"INSERT INTO FUNCTION null('format Int8') FORMAT Native":     native("INSERT INTO FUNCTION null('format Int8') "),
		"INSERT INTO t SETTINGS a = 'FORMAT x', b = 1 FORMAT Native": native("INSERT INTO t SETTINGS a = 'FORMAT x', b = 1 "),
		"INSERT INTO t FORMAT CSV\n1;2\n":                            {head: "INSERT INTO t ", format: "CSV", inline: "1;2\n"},
		"INSERT INTO t FORMAT CSV \r\n\n1":                           {head: "INSERT INTO t ", format: "CSV", inline: "\n1"},
		"INSERT INTO t FORMAT JSONEachRow {\"a\": 1}":                {head: "INSERT INTO t ", format: "JSONEachRow", inline: "{\"a\": 1}"},
		"INSERT INTO t VALUES":                                       {head: "INSERT INTO t ", format: "Values"},
		"INSERT INTO t (a) VALUES (1)":                               {},
		"INSERT INTO t SELECT 1 FORMAT Native":                       {},
		"INSERT INTO t WITH 1 AS x SELECT x":                         {},
		"INSERT INTO t FROM INFILE 'x' FORMAT CSV":                   {},
		"INSERT INTO t VALUES (1); INSERT INTO t FORMAT Native":      {},
		"INSERT INTO t; INSERT INTO t FORMAT Native":                 {},
		"INSERT INTO t FORMAT":                                       {},
		"INSERT INTO t FORMAT 'Native'":                              {},
		"SELECT 1 FORMAT Native":                                     {},
		"":                                                           {},
		"INSERT":                                                     {},
		"INSERT INTO t $x$ FORMAT y $x$ FORMAT Native":               native("INSERT INTO t $x$ FORMAT y $x$ "),
		"INSERT INTO t 'unclosed FORMAT Native":                      {},
	} {
		got, ok := splitInsert(sql)
		if ok != (want.format != "") {
			t.Errorf("%q: taken for an insert with data: %v", sql, ok)
		}
		if diff := cmp.Diff(got, want, cmp.AllowUnexported(insertStatement{})); diff != "" {
			t.Errorf("%q: (-got, +want)\n%s", sql, diff)
		}
	}
}

func TestOutputFormat(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"SELECT 1":                                   "",
		"SELECT 1 FORMAT JSON":                       "JSON",
		"SELECT 1 FORMAT JSON;":                      "JSON",
		"SELECT 1 format TSV -- end":                 "TSV",
		"SELECT 1 FORMAT JSON SETTINGS a = 1, b = 2": "JSON",
		"SELECT 1 SETTINGS a = 1 FORMAT JSON":        "JSON",
		"SELECT format FROM t":                       "",
		"SELECT t.format FROM t":                     "",
		"SELECT 1 AS format":                         "",
		"SELECT format x, 'y'":                       "",
		"SELECT 'x FORMAT JSON'":                     "",
		"SELECT (SELECT 1 FORMAT JSON)":              "",
		"SELECT format(format, 1) FORMAT Native":     "Native",
		"SHOW TABLES FORMAT JSONEachRow":             "JSONEachRow",
		"":                                           "",
	} {
		if got := outputFormat(sql); got != want {
			t.Errorf("%q: got %q, want %q", sql, got, want)
		}
	}
}

func TestVerb(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"select 1": "SELECT", " ((\nSELECT 1))": "SELECT", "-- x\n/* y */ # z\nWITH a AS": "WITH", "": "", "'SELECT'": "",
	} {
		if got := verb(sql); got != want {
			t.Errorf("%q: got %q, want %q", sql, got, want)
		}
	}
}

func TestSetStatementQuotesAndCaps(t *testing.T) {
	t.Parallel()
	got := setStatement([]param{{"log_comment", `a'b\c; d`}, {"max_memory_usage", "0"}, {"max_threads", "3"}}, map[string]uint64{"max_memory_usage": 10, "max_threads": 4})
	if want := `SET log_comment = 'a\'b\\c; d', max_memory_usage = '10', max_threads = '3'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Whatever the text, splitting an insert only ever cuts it, and the head is
// one statement in which no FORMAT clause is left.
func FuzzStatement(f *testing.F) {
	for _, seed := range []string{
		"INSERT INTO t (a) FORMAT Native", "INSERT INTO t FORMAT CSV\n1;2", "INSERT INTO t VALUES", "SELECT 1 FORMAT JSON SETTINGS a='b'",
		"INSERT INTO `a\\`;b`.\"c\" SETTINGS x='''' FORMAT Native\n\x00;", "/* -- */ INSERT INTO t $a$;$a$ FORMAT x", "((SELECT", "INSERT INTO a.format format format",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		verb(sql)
		emptyStatement(sql)
		if format := outputFormat(sql); format != "" && !strings.Contains(sql, format) {
			t.Errorf("%q: the format %q is not in it", sql, format)
		}
		insert, ok := splitInsert(sql)
		if !ok {
			return
		}
		if !strings.HasPrefix(sql, insert.head) || !strings.HasSuffix(sql, insert.inline) {
			t.Errorf("%q: head %q and inline %q are not its ends", sql, insert.head, insert.inline)
		}
		again, ok := splitInsert(insert.head + " FORMAT Native")
		if !ok || again.head != insert.head+" " || again.format != "Native" || again.inline != "" {
			t.Errorf("%q: head %q does not end where the clause began: %+v", sql, insert.head, again)
		}
	})
}

// Whatever the URL, a request is either refused with an exception or yields
// settings of the allow list, and a SET that holds one statement with each
// value inside its quotes.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"query=SELECT+1&database=d&default_format=Native&client_protocol_version=54460",
		"max_threads=2&insert_deduplication_token=a%27%3B%5C&param_x=%27%3B", "compress=1", "session_id=x", "a=1&a=2", "extremes=1",
		"log_comment=%00%5C%27", "client_protocol_version=-1", "max_memory_usage=99999999999999999999",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		values, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		r, err := parseRequest(values)
		if err != nil {
			var e *exception
			if !errors.As(err, &e) || e.Code == 0 || parseException(e.Text).Code != e.Code {
				t.Errorf("%q: error %v is no exception with its code", raw, err)
			}
			return
		}
		var names []string
		for _, s := range r.settings {
			if !allowedSetting(s.name) {
				t.Errorf("%q: setting %q slipped through", raw, s.name)
			}
			names = append(names, strings.ToUpper(s.name))
		}
		if len(names) == 0 {
			return
		}
		s := &scanner{sql: setStatement(r.settings, map[string]uint64{"max_threads": 2})}
		var words []string
		for w, ok := s.next(); ok; w, ok = s.next() {
			words = append(words, w.text)
		}
		if want := append([]string{"SET"}, names...); !slices.Equal(words, want) || s.semi {
			t.Errorf("%q: %q has words %q, want %q: a value left its quotes", raw, s.sql, words, want)
		}
	})
}
