// What both programs share: the contract's lines and the settings of a profile; CONTRACT.md.

import { readFileSync, writeSync } from 'node:fs';

export const { WATCHER_NAMESPACE: namespace, WATCHER_NAME: name, WATCHER_PROFILE: profile } = process.env;
export const path = `/api/v1/namespaces/${namespace}/configmaps`;
export const fieldSelector = `metadata.name=${name}`;
export const library = JSON.parse(
  readFileSync(new URL('node_modules/@kubernetes/client-node/package.json', import.meta.url)),
);

export function emit(event, fields = {}) {
  writeSync(1, `${JSON.stringify({ event, ...fields })}\n`);
}

export function observed(configMap) {
  emit('observed', { nonce: configMap.data?.nonce ?? '', resourceVersion: configMap.metadata.resourceVersion });
}

export const number = (variable) => Number(process.env[`WATCHER_${variable}`]);

// What the profile asks for: parameters of the request, properties of Watch, and what `started` says of them. Its
// sockets take nothing but the idle time of a keepalive (KubeConfig.createDispatcherOptions), so none of the profiles
// with keepalive can be had; Watch has its timeout since 2.0.
export function settingsOf(profile, Watch) {
  const parameters = {}, properties = {}, settings = {};
  switch (profile) {
    case 'default':
      return { parameters, properties, settings };
    case 'retry':
      break;
    case 'read-timeout':
      if (!('requestTimeoutMs' in new Watch())) process.exit(127);
      settings.read_timeout_seconds = number('READ_TIMEOUT');
      properties.requestTimeoutMs = number('READ_TIMEOUT') * 1000;
      break;
    case 'watch-timeout':
      settings.watch_timeout_seconds = parameters.timeoutSeconds = number('WATCH_TIMEOUT');
      break;
    case 'bookmarks':
      settings.bookmarks = parameters.allowWatchBookmarks = true;
      break;
    default:
      process.exit(127);
  }
  settings.retry_seconds = number('RETRY_SECONDS');
  return { parameters, properties, settings };
}

export function start(settings) {
  process.on('SIGTERM', () => process.exit(0));
  emit('started', { library: library.name, version: library.version, runtime: `Node ${process.version}`, settings });
}

// In the pod without a file, else the one that KUBECONFIG names.
export function configure(kubeConfig) {
  if (process.env.KUBECONFIG) kubeConfig.loadFromFile(process.env.KUBECONFIG);
  else kubeConfig.loadFromCluster();
  return kubeConfig;
}
