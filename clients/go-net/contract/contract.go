// Package contract is what the programs of this folder share: the contract's lines, and what a profile sets on a connection.
package contract

import (
	"encoding/json"
	"log"
	"maps"
	"net"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h, which the package syscall does not have for every machine.
const tcpUserTimeout = 18

type event map[string]any

// Emit prints a line of the contract.
func Emit(kind string, fields map[string]any) {
	line := event{"event": kind}
	maps.Copy(line, fields)
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		log.Fatal(err)
	}
}

var value = regexp.MustCompile(` nonce=(\w+) number=(\w+)\s*$`)

// Observed says what stands at the line's end, where the server has put anything there.
func Observed(line string) {
	if found := value.FindStringSubmatch(line); found != nil {
		Emit("observed", event{"nonce": found[1], "resourceVersion": found[2]})
	}
}

func number(name string) float64 {
	value, err := strconv.ParseFloat(os.Getenv("WATCHER_"+name), 64)
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// Seconds is the length of time that a variable of the contract names.
func Seconds(name string) time.Duration {
	return time.Duration(number(name) * float64(time.Second))
}

// dialer is net.Dialer as the profile wants it, and what was set. It is false for a profile that is not known.
func dialer(profile string) (dialer net.Dialer, settings event, supported bool) {
	settings = event{}
	switch profile {
	case "default", "retry":
	case "read-timeout":
		settings["read_timeout_seconds"] = number("READ_TIMEOUT")
	case "tcp-keepalive-os":
		// -1 leaves a number to the kernel, 0 would be Go's own.
		dialer.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}
		settings["keepalive"] = true
	case "tcp-keepalive", "tcp-user-timeout":
		keepalive := net.KeepAliveConfig{
			Enable:   true,
			Idle:     Seconds("KEEPALIVE_IDLE"),
			Interval: Seconds("KEEPALIVE_INTERVAL"),
			Count:    int(number("KEEPALIVE_COUNT")),
		}
		dialer.KeepAliveConfig = keepalive
		settings["keepalive"] = true
		settings["keepalive_idle_seconds"] = keepalive.Idle.Seconds()
		settings["keepalive_interval_seconds"] = keepalive.Interval.Seconds()
		settings["keepalive_count"] = keepalive.Count
		if profile == "tcp-user-timeout" {
			settings["user_timeout_seconds"] = number("USER_TIMEOUT")
			milliseconds := int(Seconds("USER_TIMEOUT").Milliseconds())
			dialer.Control = func(_, _ string, raw syscall.RawConn) (err error) {
				failed := raw.Control(func(fd uintptr) {
					err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, milliseconds)
				})
				if failed != nil {
					return failed
				}
				return err
			}
		}
	default:
		return dialer, nil, false
	}
	if profile != "default" {
		settings["retry_seconds"] = number("RETRY_SECONDS")
	}
	return dialer, settings, true
}

// Reading puts the deadline of the next read off, where the profile has one.
func Reading(connection net.Conn) error {
	if os.Getenv("WATCHER_PROFILE") != "read-timeout" {
		return nil
	}
	return connection.SetReadDeadline(time.Now().Add(Seconds("READ_TIMEOUT")))
}

// Run calls talk with a connection to the server, in every profile but `default` again and again.
func Run(talk func(connection net.Conn) error) {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		os.Exit(0)
	}()
	dialer, settings, supported := dialer(os.Getenv("WATCHER_PROFILE"))
	if !supported {
		os.Exit(127)
	}
	Emit("started", event{"library": "net", "version": runtime.Version(), "runtime": runtime.Version(), "settings": settings})
	for {
		err := once(dialer, talk)
		if _, again := settings["retry_seconds"]; !again {
			if err != nil {
				log.Fatal(err)
			}
			return
		}
		if err != nil {
			Emit("error", event{"message": err.Error()})
		}
		time.Sleep(Seconds("RETRY_SECONDS"))
	}
}

func once(dialer net.Dialer, talk func(connection net.Conn) error) error {
	connection, err := dialer.Dial("tcp", os.Getenv("WATCHER_ADDRESS"))
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := talk(connection); err != nil {
		return err
	}
	Emit("ended", event{"reason": "the server closed the connection"})
	return nil
}
