// Watches one ConfigMap with client-go; what it reads and prints: CONTRACT.md.
package main

import (
	"context"
	"log"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

var (
	namespace = os.Getenv("WATCHER_NAMESPACE")
	name      = os.Getenv("WATCHER_NAME")
	profile   = os.Getenv("WATCHER_PROFILE")
)

// A way to watch: it returns when the watch has ended, or never.
type way struct {
	watch   func(ctx context.Context, client kubernetes.Interface) error
	retries bool // by itself, so that there is no profile retry
}

var ways = map[string]way{
	"informer":     {inform, true},
	"poll":         {poll, false},
	"retrywatcher": {retryWatch, true},
	"watch":        {watchOnce, false},
}

// What a request that ends at once has no use for; and the server that is polled speaks HTTP/1.1, without PINGs.
var ofWatches = []string{"watch-timeout", "bookmarks", "http2-ping"}

func main() {
	way, known := ways[os.Args[len(os.Args)-1]]
	if !known {
		log.Fatalf("usage: %s %v", os.Args[0], slices.Sorted(maps.Keys(ways)))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	// Without a path this is the service account's configuration.
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		log.Fatal(err)
	}
	polls := os.Args[len(os.Args)-1] == "poll"
	settings, supported := apply(profile, way.retries, config)
	if !supported || (polls && slices.Contains(ofWatches, profile)) {
		os.Exit(127)
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return answered{next} })
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}

	emit("started", event{"library": "k8s.io/client-go", "version": version("k8s.io/client-go"), "runtime": runtime.Version(), "settings": settings})
	if polls {
		emit("watching", nil) // there is no watch that could say so
	}
	for {
		err := way.watch(ctx, client)
		if ctx.Err() != nil {
			return // SIGTERM
		}
		if _, again := settings["retry_seconds"]; !again {
			if err != nil {
				log.Fatal(err)
			}
			return
		}
		if err != nil {
			emit("error", event{"message": err.Error()})
		}
		pause(ctx, seconds("RETRY_SECONDS"))
	}
}

// onlyTheTrigger is what every list and watch here asks for, together with what the profile adds.
func onlyTheTrigger(options *metav1.ListOptions) {
	options.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
	switch profile {
	case "watch-timeout":
		timeout := int64(seconds("WATCH_TIMEOUT").Seconds())
		options.TimeoutSeconds = &timeout
	case "bookmarks":
		options.AllowWatchBookmarks = true
	}
}

func observed(object any) {
	if configMap, ok := object.(*corev1.ConfigMap); ok {
		emit("observed", event{"nonce": configMap.Data["nonce"], "resourceVersion": configMap.ResourceVersion})
	}
}
