package main

import (
	"context"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

var asked int

// poll asks for the trigger now and then, on one client, until a request fails.
func poll(ctx context.Context, client kubernetes.Interface) error {
	for ctx.Err() == nil {
		asked++
		emit("asked", event{"id": strconv.Itoa(asked)})
		configMap, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		observed(configMap)
		pause(ctx, seconds("POLL_SECONDS"))
	}
	return nil
}
