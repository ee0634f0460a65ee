package history

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/countersign-io/countersign/internal/report"
)

// RejectedError says that the server refused the rows themselves: the same rows will be refused again. Nothing of the
// insert was kept.
type RejectedError struct {
	// Code is ClickHouse's error number.
	Code int32
	Err  error
}

func (e *RejectedError) Error() string { return e.Err.Error() }

func (e *RejectedError) Unwrap() error { return e.Err }

// Codes by which ClickHouse refuses data, by its ErrorCodes.cpp.
var rejections = map[int32]bool{
	6:   true, // CANNOT_PARSE_TEXT
	25:  true, // CANNOT_PARSE_ESCAPE_SEQUENCE
	26:  true, // CANNOT_PARSE_QUOTED_STRING
	27:  true, // CANNOT_PARSE_INPUT_ASSERTION_FAILED
	38:  true, // CANNOT_PARSE_DATE
	41:  true, // CANNOT_PARSE_DATETIME
	53:  true, // TYPE_MISMATCH
	69:  true, // ARGUMENT_OUT_OF_BOUND
	70:  true, // CANNOT_CONVERT_TYPE
	72:  true, // CANNOT_PARSE_NUMBER
	117: true, // INCORRECT_DATA
	131: true, // TOO_LARGE_STRING_SIZE
	321: true, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
	407: true, // DECIMAL_OVERFLOW
	469: true, // VIOLATED_CONSTRAINT
	675: true, // CANNOT_PARSE_IPV4
	676: true, // CANNOT_PARSE_IPV6
}

// Codes by which ClickHouse ends a question that ran into a limit.
var expensive = map[int32]bool{
	158: true, // TOO_MANY_ROWS
	159: true, // TIMEOUT_EXCEEDED
	160: true, // TOO_SLOW
	241: true, // MEMORY_LIMIT_EXCEEDED
	307: true, // TOO_MANY_BYTES
	396: true, // TOO_MANY_ROWS_OR_BYTES
}

// Codes by which ClickHouse says that a question makes no sense: a mistake of ours, which passes only with the next version.
var mistakes = map[int32]bool{
	42:  true, // NUMBER_OF_ARGUMENTS_DOESNT_MATCH
	43:  true, // ILLEGAL_TYPE_OF_ARGUMENT
	46:  true, // UNKNOWN_FUNCTION
	53:  true, // TYPE_MISMATCH
	62:  true, // SYNTAX_ERROR
	70:  true, // CANNOT_CONVERT_TYPE
	184: true, // ILLEGAL_AGGREGATION
	207: true, // AMBIGUOUS_IDENTIFIER
	215: true, // NOT_AN_AGGREGATE
	386: true, // NO_COMMON_TYPE
}

// dialing reports whether a connection could not be made; its time-outs call themselves deadlines too.
func dialing(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// classify names an error of a question in the terms of report, so that callers need not know ClickHouse.
func classify(err error) error {
	var exception *clickhouse.Exception
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &exception) && expensive[exception.Code],
		exception == nil && errors.Is(err, context.DeadlineExceeded) && !dialing(err):
		return fmt.Errorf("%w: %w", report.ErrTooExpensive, err)
	case exception != nil && mistakes[exception.Code]:
		return err
	default:
		// Everything else passes: the server is away, starting, not migrated yet, overloaded.
		return fmt.Errorf("%w: %w", report.ErrUnavailable, err)
	}
}

// classifyInsert tells rows that will never be taken from trouble that passes.
func classifyInsert(err error) error {
	var exception *clickhouse.Exception
	if errors.As(err, &exception) && rejections[exception.Code] {
		return &RejectedError{Code: exception.Code, Err: err}
	}
	return err
}
