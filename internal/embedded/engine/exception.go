package engine

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// ClickHouse error codes that the shim itself answers with.
const (
	codeSyntaxError         = 62
	codeNotImplemented      = 48
	codeUnknownSetting      = 115
	codeTooManyQueries      = 202
	codeTooLarge            = 307 // TOO_MANY_BYTES
	codeAuthentication      = 516
	codeUnknownException    = 1002
	codeClientDisconnection = 210 // NETWORK_ERROR
)

// An exception is an error in ClickHouse's own terms; Text is what the client
// shows and parses, Status that of the HTTP answer.
type exception struct {
	Code   int
	Text   string
	Status int
}

func (e *exception) Error() string { return e.Text }

var exceptionCode = regexp.MustCompile(`Code: (\d+)\.`)

// parseException reads the number from the engine's "Code: N. DB::Exception"
// text and drops anything in front of it.
func parseException(text string) *exception {
	if at := exceptionCode.FindStringSubmatchIndex(text); at != nil {
		if code, err := strconv.Atoi(text[at[2]:at[3]]); err == nil && code > 0 {
			return &exception{Code: code, Text: text[at[0]:], Status: http.StatusInternalServerError}
		}
	}
	return newException(codeUnknownException, "UNKNOWN_EXCEPTION", "%s", strings.TrimSpace(text))
}

// newException words an error of the shim the way the server words its own, so
// that a client parses both alike.
func newException(code int, name, format string, args ...any) *exception {
	e := &exception{
		Code:   code,
		Text:   fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, fmt.Sprintf(format, args...), name),
		Status: http.StatusInternalServerError,
	}
	switch code {
	case codeNotImplemented:
		e.Status = http.StatusNotImplemented
	case codeAuthentication:
		e.Status = http.StatusForbidden
	case codeTooManyQueries:
		e.Status = http.StatusServiceUnavailable
	case codeTooLarge:
		e.Status = http.StatusRequestEntityTooLarge
	}
	return e
}
