package main

import (
	"math"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// What client-go itself dials with (transport/cache.go), as far as a profile does not replace it.
const dialTimeout = 30 * time.Second

// apply sets what the profile asks for, by the library's public interface, and returns what it has set. It is false
// for what client-go cannot do: it has no read timeout (rest.Config.Timeout is for a whole request, a watch included).
func apply(profile string, retries bool, config *rest.Config) (settings event, supported bool) {
	settings = event{}
	if profile == "default" {
		return settings, true
	}
	switch profile {
	case "retry":
		if retries {
			return nil, false
		}
	case "tcp-keepalive-os":
		// -1 leaves a number to the kernel, 0 would be Go's own.
		config.Dial = dialer(net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}, 0).DialContext
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
		config.Dial = dialer(keepalive, userTimeout).DialContext
	case "watch-timeout":
		settings["watch_timeout_seconds"] = seconds("WATCH_TIMEOUT").Seconds()
	case "bookmarks":
		settings["bookmarks"] = true
	case "http2-ping":
		if os.Getenv("DISABLE_HTTP2") != "" {
			return nil, false
		}
		settings["ping_idle_seconds"] = environment("HTTP2_READ_IDLE_TIMEOUT_SECONDS", number("PING_IDLE"))
		settings["ping_timeout_seconds"] = environment("HTTP2_PING_TIMEOUT_SECONDS", number("PING_TIMEOUT"))
	default:
		return nil, false
	}
	if !retries {
		settings["retry_seconds"] = seconds("RETRY_SECONDS").Seconds()
	}
	return settings, true
}

func dialer(keepalive net.KeepAliveConfig, userTimeout time.Duration) *net.Dialer {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: keepalive}
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

// environment sets one of client-go's variables, which take whole seconds, and returns what it has set.
func environment(variable string, value float64) float64 {
	whole := math.Ceil(value)
	os.Setenv(variable, strconv.Itoa(int(whole)))
	return whole
}
