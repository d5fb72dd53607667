package main

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// watchOnce is one watch request, until it ends.
func watchOnce(ctx context.Context, client kubernetes.Interface) error {
	var options metav1.ListOptions
	onlyTheTrigger(&options)
	watcher, err := client.CoreV1().ConfigMaps(namespace).Watch(ctx, options)
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
