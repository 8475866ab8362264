package hop

import (
	"net/http"
	"strconv"
	"time"
)

// maxTimeoutDigits of a TimeoutValue, gRPC over HTTP/2.
const maxTimeoutDigits = 8

var timeoutUnits = []struct {
	letter byte
	unit   time.Duration
}{
	{'n', time.Nanosecond},
	{'u', time.Microsecond},
	{'m', time.Millisecond},
	{'S', time.Second},
	{'M', time.Minute},
	{'H', time.Hour},
}

// GRPCTimeout brings the request's grpc-timeout and its budget together: both get the minimum. The header is a limit of
// the whole call, so it lowers t and s; of b only s lowers the header, since an answer may stream on long after its
// headers were in time. Without the header nothing changes, and none is added. A malformed one is a Malformed *Refusal;
// one of zero, a Deadline.
func GRPCTimeout(h http.Header, b Budget) (Budget, error) {
	lines := h[headerGRPCTimeout]
	if len(lines) == 0 {
		return b, nil
	}
	d, ok := parseTimeout(lines[0])
	if !ok || len(lines) > 1 {
		return b, refuse(Malformed, "grpc-timeout is not one number of 1 to %d digits and a unit", maxTimeoutDigits)
	}
	if d < time.Millisecond {
		return b, refuse(Deadline, "grpc-timeout is %v", d)
	}
	if b.Stream > 0 {
		d = min(d, b.Stream)
	}
	b.Headers, b.Stream = min(b.Headers, d), d
	h[headerGRPCTimeout] = []string{formatTimeout(d)}
	return b, nil
}

func parseTimeout(text string) (time.Duration, bool) {
	digits := len(text) - 1
	if digits < 1 || digits > maxTimeoutDigits {
		return 0, false
	}
	n := int64(0)
	for i := range digits {
		if !isDigit(text[i]) {
			return 0, false
		}
		n = n*10 + int64(text[i]-'0')
	}
	for _, u := range timeoutUnits {
		if u.letter == text[digits] {
			const longest = time.Duration(1<<63 - 1)
			if n > int64(longest/u.unit) {
				return longest, true // 99999999H is 11,415 years
			}
			return time.Duration(n) * u.unit, true
		}
	}
	return 0, false
}

// formatTimeout writes the finest unit that fits, rounded down: a deadline is never later than it was.
func formatTimeout(d time.Duration) string {
	const most = 99_999_999
	for _, u := range timeoutUnits {
		if n := d / u.unit; n <= most {
			return strconv.FormatInt(int64(n), 10) + string(u.letter)
		}
	}
	panic("unreachable: 292 years are fewer than 99,999,999 hours")
}
