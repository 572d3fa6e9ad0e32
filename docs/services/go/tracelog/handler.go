package tracelog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	google     = "logging.googleapis.com/"
	stackTrace = "stack_trace"
	errorEvent = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
)

// Severities that slog has no name for.
const (
	LevelNotice   = slog.Level(2)
	LevelCritical = slog.Level(12)
)

// The keys of a line.
type keys struct{ source, trace, span, sampled, labels string }

func (k keys) areReserved(name string) bool {
	return slices.Contains([]string{"severity", "message", "time", "timestamp", "timestampSeconds", "timestampNanos",
		"level", "msg", "source", "serviceContext", "@type", "context", k.source, k.trace, k.span, k.sampled}, name) ||
		strings.HasPrefix(name, google) || strings.HasPrefix(name, "fields.")
}

// Handler writes lines in the format of LOGGING_FORMAT: `stackdriver`, the default, or `local`.
type Handler struct {
	json        slog.Handler
	keys        keys
	tracePrefix string
	service     slog.Attr
	steps       []func(slog.Handler) slog.Handler // groups and attributes of the logger
	inGroup     bool
}

// NewHandler returns a handler that writes to w. The name and the version of the service are for Error Reporting.
func NewHandler(w io.Writer, service, version string, level slog.Leveler) (*Handler, error) {
	h := &Handler{service: slog.Group("serviceContext", "service", service, "version", version)}
	switch format := os.Getenv("LOGGING_FORMAT"); format {
	case "local":
		h.keys = keys{"sourceLocation", "trace", "spanId", "traceSampled", "labels"}
	case "stackdriver", "":
		h.keys = keys{
			google + "sourceLocation", google + "trace", google + "spanId", google + "trace_sampled", google + "labels",
		}
		if project := os.Getenv("GOOGLE_CLOUD_PROJECT"); project != "" {
			h.tracePrefix = "projects/" + project + "/traces/"
		}
	default:
		return nil, fmt.Errorf("LOGGING_FORMAT: expected stackdriver or local, found %q", format)
	}
	h.json = slog.NewJSONHandler(w, &slog.HandlerOptions{AddSource: true, Level: level, ReplaceAttr: h.replace})
	return h, nil
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.json.Enabled(ctx, level)
}

// Handle implements slog.Handler. The ids come first, so that they are outside of the groups of the logger.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	out := h.json
	if t := of(ctx); t != nil && t.traceID != "" {
		ids := []slog.Attr{slog.String(h.keys.trace, h.tracePrefix+t.traceID), slog.Bool(h.keys.sampled, t.sampled)}
		if t.spanID != "" {
			ids = append(ids, slog.String(h.keys.span, t.spanID))
		}
		out = out.WithAttrs(ids)
	}
	line := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		_, isError := a.Value.Any().(error)
		if r.Level >= slog.LevelError && (isError || a.Key == stackTrace) {
			out = out.WithAttrs(h.report(r, a.Key == stackTrace))
		}
		line.AddAttrs(h.protect(a))
		return true
	})
	for _, step := range h.steps {
		out = step(out)
	}
	return out.Handle(ctx, line)
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	protected := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		protected[i] = h.protect(a)
	}
	return h.with(func(out slog.Handler) slog.Handler { return out.WithAttrs(protected) })
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	next := h.with(func(out slog.Handler) slog.Handler { return out.WithGroup(name) })
	next.inGroup = next.inGroup || name != ""
	return next
}

func (h *Handler) with(step func(slog.Handler) slog.Handler) *Handler {
	next := *h
	next.steps = append(slices.Clip(h.steps), step)
	return &next
}

// Returns the attribute under a name that does not replace a key of the line.
func (h *Handler) protect(a slog.Attr) slog.Attr {
	switch {
	case h.inGroup:
	case a.Key == "labels":
		a.Key = h.keys.labels
	case h.keys.areReserved(a.Key):
		a.Key = "fields." + a.Key
	}
	return a
}

// Error Reporting reads a stack trace, or a place for an error that has none.
func (h *Handler) report(r slog.Record, hasStack bool) []slog.Attr {
	if hasStack {
		return []slog.Attr{h.service}
	}
	frame, _ := runtime.CallersFrames([]uintptr{r.PC}).Next()
	place := slog.Group("reportLocation", "filePath", frame.File, "lineNumber", frame.Line, "functionName", frame.Function)
	return []slog.Attr{slog.String("@type", errorEvent), h.service, slog.Group("context", place)}
}

// Renames what slog writes. Large integers become texts, because Cloud Logging keeps numbers as doubles.
func (h *Handler) replace(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 {
		switch value := a.Value.Any().(type) {
		case slog.Level:
			return slog.String("severity", severity(value))
		case *slog.Source:
			return slog.Group(h.keys.source, "file", value.File, "line", strconv.Itoa(value.Line), "function", value.Function)
		case time.Time:
			// Always with nanoseconds: slog omits zeros.
			return slog.String(a.Key, value.UTC().Format("2006-01-02T15:04:05.000000000Z07:00"))
		case string:
			if a.Key == slog.MessageKey {
				return slog.String("message", value)
			}
		}
	}
	switch value := a.Value; value.Kind() {
	case slog.KindInt64:
		if n := value.Int64(); n >= 1<<53 || n <= -(1<<53) {
			a.Value = slog.StringValue(strconv.FormatInt(n, 10))
		}
	case slog.KindUint64:
		if n := value.Uint64(); n >= 1<<53 {
			a.Value = slog.StringValue(strconv.FormatUint(n, 10))
		}
	case slog.KindFloat64:
		if n := value.Float64(); math.IsNaN(n) || math.IsInf(n, 0) {
			a.Value = slog.StringValue(value.String())
		}
	}
	return a
}

func severity(level slog.Level) string {
	switch {
	case level >= LevelCritical:
		return "CRITICAL"
	case level >= slog.LevelError:
		return "ERROR"
	case level >= slog.LevelWarn:
		return "WARNING"
	case level >= LevelNotice:
		return "NOTICE"
	case level >= slog.LevelInfo:
		return "INFO"
	}
	return "DEBUG"
}
