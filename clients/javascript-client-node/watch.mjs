// Watch one ConfigMap with Watch of the official JavaScript client; what it reads and prints: CONTRACT.md.

import { setTimeout as pause } from 'node:timers/promises';
import { KubeConfig, Watch } from '@kubernetes/client-node';
import { configure, emit, fieldSelector, observed, path, profile, settingsOf, start } from './contract.mjs';

const { parameters, properties, settings } = settingsOf(profile, Watch);
const watch = Object.assign(new Watch(configure(new KubeConfig())), properties);

// One watch, until it ends: resolved without an error, rejected with one.
function watchOnce() {
  return new Promise((resolve, reject) => {
    let over = false;
    const onEvent = (type, object) => {
      if (type === 'ADDED' || type === 'MODIFIED') observed(object);
    };
    const onDone = (error) => {
      over = true;
      if (error) reject(error);
      else resolve();
    };
    watch.watch(path, { fieldSelector, ...parameters }, onEvent, onDone).then(() => {
      if (!over) emit('watching'); // answered
    }, reject);
  });
}

start(settings);
if (profile === 'default') {
  await watchOnce();
  emit('ended', { reason: 'done was called without an error' });
  process.exit();
}
for (;;) {
  try {
    await watchOnce();
    emit('ended', { reason: 'done was called without an error' });
  } catch (error) {
    emit('error', { message: String(error) });
  }
  await pause(settings.retry_seconds * 1000);
}
