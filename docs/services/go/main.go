// A service with four routes. Usage: PORT=8080 shop NAME [URL of the next service]
package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"path"

	"shop/tracelog"
)

var client = &http.Client{Transport: tracelog.Transport{}}

func main() {
	name, next := argument(1), argument(2)
	handler, err := tracelog.NewHandler(os.Stdout, name, "1.2", slog.LevelInfo)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	slog.SetDefault(slog.New(handler))

	routes := http.NewServeMux()
	routes.HandleFunc("/orders/", func(w http.ResponseWriter, r *http.Request) { order(w, r, next) })
	routes.HandleFunc("/fields", fields)
	routes.HandleFunc("/fail", func(http.ResponseWriter, *http.Request) { panic("disk full:\n0 bytes left") })
	routes.HandleFunc("/error", func(_ http.ResponseWriter, r *http.Request) {
		slog.ErrorContext(r.Context(), "order not stored", "error", errors.New("disk full"))
	})

	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		slog.Error("no listener", "error", err)
		os.Exit(1)
	}
	slog.Info("ready", "address", listener.Addr().String())
	slog.Error("server ended", "error", http.Serve(listener, tracelog.Middleware(routes)))
}

func order(w http.ResponseWriter, r *http.Request, next string) {
	log := slog.With("order", path.Base(r.URL.Path))
	log.InfoContext(r.Context(), "order opened") // with the context: it has the trace
	if next != "" {
		request, err := http.NewRequestWithContext(r.Context(), "GET", next+r.URL.Path, nil)
		if err != nil {
			panic(err)
		}
		response, err := client.Do(request)
		if err != nil {
			panic(err)
		}
		response.Body.Close()
		log.InfoContext(r.Context(), "next service answered", "status", response.StatusCode)
	}
	fmt.Fprintln(w, "ok")
}

func fields(w http.ResponseWriter, r *http.Request) {
	slog.WarnContext(r.Context(), "naïve \"quotes\",\na line break, \x1b and 🧺",
		"user", 7, "big", uint64(math.MaxUint64), "ratio", math.NaN(), "list", []any{1, map[string]any{"a": nil}},
		"severity", "mine", "cut", "cut \xed\xa0\xbd",
		slog.Group("labels", "team", "data"),
		slog.Group("httpRequest", "requestMethod", "GET", "status", 200, "responseSize", "512", "latency", "0.005s"))
	fmt.Fprintln(w, "ok")
}

func argument(index int) string {
	if index < len(os.Args) {
		return os.Args[index]
	}
	return ""
}
