// Package tracelog writes log lines with the trace of the request, and passes the trace on. It needs only the standard
// library.
package tracelog

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
)

// All that the filter can write, and what belongs to a request beside its trace.
var headers = []string{
	"traceparent", "tracestate", "baggage", "x-request-id", "x-cloud-trace-context", "grpc-trace-bin",
	"b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
}

// The trace headers of a request, and the ids of the first valid one, in the order of the filter.
type trace struct {
	headers         map[string]string
	traceID, spanID string // hexadecimal, or empty
	sampled         bool
}

type key struct{}

// Middleware binds the trace of each request to its context, and logs panics.
func Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), key{}, newTrace(r.Header))
		defer func() {
			if cause := recover(); cause == http.ErrAbortHandler {
				panic(cause)
			} else if cause != nil {
				stack := fmt.Sprintf("panic: %v\n\n%s", cause, debug.Stack())
				slog.ErrorContext(ctx, "panic", stackTrace, stack)
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// Transport adds the headers of the trace in the context of each outgoing request.
type Transport struct {
	Base http.RoundTripper // nil means http.DefaultTransport
}

// RoundTrip implements http.RoundTripper.
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if current := of(r.Context()); current != nil {
		r = r.Clone(r.Context())
		for name, value := range current.headers {
			r.Header.Set(name, value)
		}
	}
	return base.RoundTrip(r)
}

func of(ctx context.Context) *trace {
	current, _ := ctx.Value(key{}).(*trace)
	return current
}

var (
	b3          = regexp.MustCompile(`^(?i)([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d]|true|false)(?:-[0-9a-f]{16})?)?$`)
	traceparent = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$`)
	cloudTrace  = regexp.MustCompile(`^(?i)([0-9a-f]{32})(?:/([0-9]{0,20}))?(?:;o=([0-9]?))?$`)
)

func newTrace(incoming http.Header) *trace {
	t := &trace{headers: map[string]string{}}
	for _, name := range headers {
		value := strings.Join(incoming.Values(name), ",")
		if value != "" && len(value) <= 8192 && isPrintable(value) { // no valid header is longer or has other characters
			t.headers[name] = value
		}
	}

	state := t.headers["x-b3-sampled"]
	if t.headers["x-b3-flags"] == "1" {
		state = "d"
	}
	multi := strings.TrimSuffix(t.headers["x-b3-traceid"]+"-"+t.headers["x-b3-spanid"]+"-"+state, "-")
	for _, value := range []string{t.headers["b3"], multi} {
		if m := b3.FindStringSubmatch(strings.ToLower(value)); m != nil && isID(m[1]) && isID(m[2]) {
			t.traceID, t.spanID = strings.Repeat("0", 32-len(m[1]))+m[1], m[2]
			t.sampled = m[3] == "1" || m[3] == "d" || m[3] == "true"
			return t
		}
	}
	m := traceparent.FindStringSubmatch(t.headers["traceparent"])
	if m != nil && m[1] != "ff" && (m[1] != "00" || m[5] == "") && isID(m[2]) && isID(m[3]) {
		t.traceID, t.spanID, t.sampled = m[2], m[3], isOdd(m[4])
		return t
	}
	m = cloudTrace.FindStringSubmatch(strings.ToLower(t.headers["x-cloud-trace-context"]))
	if m != nil && isID(m[1]) {
		t.traceID, t.sampled = m[1], isOdd(m[3])
		// Decimal in this header only.
		if span, err := strconv.ParseUint(m[2], 10, 64); err == nil && span != 0 {
			t.spanID = fmt.Sprintf("%016x", span)
		}
	}
	return t
}

func isPrintable(value string) bool {
	return strings.IndexFunc(value, func(c rune) bool { return c < 0x20 || c > 0x7e }) < 0
}

func isID(digits string) bool { return strings.Trim(digits, "0") != "" }

func isOdd(digits string) bool {
	number, _ := strconv.ParseUint(digits, 16, 64)
	return number&1 == 1
}
