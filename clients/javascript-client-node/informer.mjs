// Watch one ConfigMap with the informer of the official JavaScript client; what it reads and prints: CONTRACT.md.

import { CoreV1Api, KubeConfig, ListWatch, Watch } from '@kubernetes/client-node';
import { configure, emit, fieldSelector, namespace, observed, path, profile, settingsOf, start } from './contract.mjs';

const { parameters, properties, settings } = settingsOf(profile, Watch);
const config = configure(new KubeConfig());

// ListWatch asks for nothing but its selectors; what else a watch may ask for is added here.
class AskingWatch extends Watch {
  async watch(path, query, onEvent, onDone) {
    let over = false;
    const request = await super.watch(path, { ...query, ...parameters }, onEvent, (error) => {
      over = true;
      onDone(error);
    });
    if (!over) emit('watching'); // answered
    return request;
  }
}

const api = config.makeApiClient(CoreV1Api);
const list = () => api.listNamespacedConfigMap({ namespace, fieldSelector });
const watch = Object.assign(new AskingWatch(config), properties);
const informer = new ListWatch(path, watch, list, false, undefined, fieldSelector);
informer.on('add', observed);
informer.on('update', observed);
informer.on('error', (error) => {
  // It does not go on by itself after an error.
  if (profile === 'default') {
    console.error(error);
    process.exit(1);
  }
  emit('error', { message: String(error) });
  setTimeout(() => informer.start(), settings.retry_seconds * 1000);
});

start(settings);
await informer.start();
