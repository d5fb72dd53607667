#!/bin/sh
# Watch one ConfigMap with `kubectl get --watch`; what it reads and prints: CONTRACT.md.
set -u

settings=
# Whole seconds, never less than was asked for: that is all that client-go's variables take.
whole() { case $1 in *.*) echo $((${1%.*} + 1)) ;; *) echo "$1" ;; esac; }

case $WATCHER_PROFILE in
default) ;;
retry) settings="\"retry_seconds\": $WATCHER_RETRY_SECONDS" ;;
http2-ping)
    HTTP2_READ_IDLE_TIMEOUT_SECONDS=$(whole "$WATCHER_PING_IDLE")
    HTTP2_PING_TIMEOUT_SECONDS=$(whole "$WATCHER_PING_TIMEOUT")
    export HTTP2_READ_IDLE_TIMEOUT_SECONDS HTTP2_PING_TIMEOUT_SECONDS
    settings="\"ping_idle_seconds\": $HTTP2_READ_IDLE_TIMEOUT_SECONDS, \"ping_timeout_seconds\": $HTTP2_PING_TIMEOUT_SECONDS"
    settings="$settings, \"retry_seconds\": $WATCHER_RETRY_SECONDS"
    ;;
*) exit 127 ;;
esac

# The whole group, since kubectl would go on alone.
trap 'trap "" TERM; kill 0; wait; exit 0' TERM

# It prints the ConfigMap as it is, then again at each change; asked for by its name alone it would swallow a change
# between the two. The last line tells the reader how it ended.
get() {
    kubectl get configmaps --field-selector "metadata.name=$WATCHER_NAME" --namespace "$WATCHER_NAMESPACE" --watch \
        --output 'jsonpath={.metadata.resourceVersion} {.data.nonce}{"\n"}'
    echo "ended $?"
}

tell() {
    watching=
    while read -r version nonce; do
        if [ "$version" != ended ]; then
            [ -n "$watching" ] || printf '{"event": "watching"}\n'
            watching=1
            printf '{"event": "observed", "nonce": "%s", "resourceVersion": "%s"}\n' "$nonce" "$version"
        elif [ "$WATCHER_PROFILE" = default ] && [ "$nonce" != 0 ]; then
            return "$nonce"
        elif [ "$nonce" = 0 ]; then
            printf '{"event": "ended", "reason": "kubectl ended"}\n'
        else
            printf '{"event": "error", "message": "kubectl ended with status %s"}\n' "$nonce"
        fi
    done
}

version=$(kubectl version --client | sed -n 's/^Client Version: v//p')
printf '{"event": "started", "library": "kubectl", "version": "%s", "runtime": "sh", "settings": {%s}}\n' "$version" "$settings"
while :; do
    get | tell &
    wait $! # a trap is run at once while the shell waits, not while it runs a command
    status=$?
    [ "$WATCHER_PROFILE" != default ] || exit "$status"
    sleep "$WATCHER_RETRY_SECONDS" &
    wait $!
done
