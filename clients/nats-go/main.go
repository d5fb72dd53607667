// Subscribes to one subject with nats.go; what it reads and prints: CONTRACT.md.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

const module = "github.com/nats-io/nats.go"

type event map[string]any

func main() {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		os.Exit(0) // also while a server does not answer
	}()
	options, settings, supported := apply(os.Getenv("WATCHER_PROFILE"))
	if !supported {
		os.Exit(127)
	}
	closed := make(chan error, 1)
	options = append(options,
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { emit("error", event{"message": fmt.Sprint("disconnected: ", err)}) }),
		nats.ReconnectHandler(func(*nats.Conn) { emit("watching", nil) }),
		nats.ClosedHandler(func(connection *nats.Conn) { closed <- connection.LastError() }),
	)
	emit("started", event{"library": module, "version": version(), "runtime": runtime.Version(), "settings": settings})
	connection, err := nats.Connect("nats://"+os.Getenv("WATCHER_ADDRESS"), options...)
	if err != nil {
		log.Fatal(err)
	}
	_, err = connection.Subscribe(os.Getenv("WATCHER_NAMESPACE"), func(message *nats.Msg) {
		// A subject has no versions: how many have come is all there is.
		delivered, _ := message.Sub.Delivered()
		emit("observed", event{"nonce": string(message.Data), "resourceVersion": strconv.FormatInt(delivered, 10)})
	})
	if err != nil {
		log.Fatal(err)
	}
	// Answered, so that the server knows of the subscription.
	if err := connection.Flush(); err != nil {
		log.Fatal(err)
	}
	emit("watching", nil)
	log.Fatal("the connection was closed: ", <-closed)
}

// apply gives what the profile asks for as options of nats.go, and what they mean in the contract's words. It is false
// for what nats.go cannot do.
func apply(profile string) (options []nats.Option, settings event, supported bool) {
	settings = event{}
	switch profile {
	case "default":
		return nil, settings, true
	case "retry":
	case "tcp-keepalive-os":
		// -1 leaves a number to the kernel, 0 would be Go's own.
		keepalive := net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}
		options = append(options, nats.SetCustomDialer(dialer(keepalive, 0)))
		settings["keepalive"] = true
	case "tcp-keepalive", "tcp-user-timeout":
		keepalive := net.KeepAliveConfig{
			Enable:   true,
			Idle:     seconds("KEEPALIVE_IDLE"),
			Interval: seconds("KEEPALIVE_INTERVAL"),
			Count:    int(number("KEEPALIVE_COUNT")),
		}
		settings["keepalive"] = true
		settings["keepalive_idle_seconds"] = keepalive.Idle.Seconds()
		settings["keepalive_interval_seconds"] = keepalive.Interval.Seconds()
		settings["keepalive_count"] = keepalive.Count
		var userTimeout time.Duration
		if profile == "tcp-user-timeout" {
			userTimeout = seconds("USER_TIMEOUT")
			settings["user_timeout_seconds"] = userTimeout.Seconds()
		}
		options = append(options, nats.SetCustomDialer(dialer(keepalive, userTimeout)))
	case "ping":
		// One number for both: a PING that is unanswered when the next is due ends the connection.
		interval := seconds("PING_IDLE")
		options = append(options, nats.PingInterval(interval), nats.MaxPingsOutstanding(1))
		settings["ping_idle_seconds"] = interval.Seconds()
		settings["ping_timeout_seconds"] = interval.Seconds()
	default:
		return nil, nil, false
	}
	pause := seconds("RETRY_SECONDS")
	settings["retry_seconds"] = pause.Seconds()
	return append(options, nats.ReconnectWait(pause), nats.MaxReconnects(-1)), settings, true
}

// dialer is nats.go's own, with other keepalive.
func dialer(keepalive net.KeepAliveConfig, userTimeout time.Duration) *net.Dialer {
	dialer := &net.Dialer{Timeout: nats.DefaultTimeout, KeepAliveConfig: keepalive}
	if userTimeout != 0 {
		dialer.Control = func(_, _ string, connection syscall.RawConn) (err error) {
			const tcpUserTimeout = 18 // linux/tcp.h
			set := func(socket uintptr) {
				err = syscall.SetsockoptInt(int(socket), syscall.IPPROTO_TCP, tcpUserTimeout, int(userTimeout.Milliseconds()))
			}
			if failed := connection.Control(set); failed != nil {
				return failed
			}
			return err
		}
	}
	return dialer
}

var printing sync.Mutex

// emit prints a line of the contract; handlers do so side by side.
func emit(kind string, fields event) {
	line := event{"event": kind}
	maps.Copy(line, fields)
	printing.Lock()
	defer printing.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		log.Fatal(err)
	}
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

// version is that of the module this program was built with.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == module {
				return dependency.Version
			}
		}
	}
	return "unknown"
}
