package main

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	toolswatch "k8s.io/client-go/tools/watch"
)

// retryWatch lists, and watches from there with a RetryWatcher, which asks anew by itself. It gives up when the server
// has forgotten where it was (410 Gone): one has to list again then, which is what informers are for.
func retryWatch(ctx context.Context, client kubernetes.Interface) error {
	configMaps := client.CoreV1().ConfigMaps(namespace)
	var options metav1.ListOptions
	onlyTheTrigger(&options)
	options.TimeoutSeconds = nil // of the watch
	list, err := configMaps.List(ctx, options)
	if err != nil {
		return err
	}
	for i := range list.Items {
		observed(&list.Items[i])
	}
	watcher, err := toolswatch.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			onlyTheTrigger(&options)
			return configMaps.Watch(ctx, options)
		},
	})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for found := range watcher.ResultChan() {
		switch found.Type {
		case watch.Added, watch.Modified:
			observed(found.Object)
		case watch.Error:
			return apierrors.FromObject(found.Object)
		}
	}
	if ctx.Err() == nil {
		emit("ended", event{"reason": "the channel was closed"})
	}
	return nil
}
