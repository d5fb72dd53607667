package main

import (
	"context"
	"encoding/json"
	"log"
	"maps"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"
)

type event map[string]any

var printing sync.Mutex

// emit prints a line of the contract; handlers and the transport do so side by side.
func emit(kind string, fields event) {
	line := event{"event": kind}
	maps.Copy(line, fields)
	printing.Lock()
	defer printing.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		log.Fatal(err)
	}
}

// answered says when the server has answered a watch request.
type answered struct{ next http.RoundTripper }

func (a answered) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := a.next.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusOK && request.URL.Query().Get("watch") != "" {
		emit("watching", nil)
	}
	return response, err
}

func number(name string) float64 {
	value, err := strconv.ParseFloat(os.Getenv("WATCHER_"+name), 64)
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func seconds(name string) time.Duration {
	return time.Duration(number(name) * float64(time.Second))
}

func pause(ctx context.Context, length time.Duration) {
	select {
	case <-time.After(length):
	case <-ctx.Done():
	}
}

// version is that of the module this program was built with.
func version(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == module {
				return dependency.Version
			}
		}
	}
	return "unknown"
}
