//! Watch one ConfigMap with `watcher` of kube; what it reads and prints: CONTRACT.md.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    api::Api,
    runtime::{WatchStreamExt, utils::Backoff, watcher},
};
use rust_kube::{Error, Program, emit, number, observed, seconds, selector, variable, whole};
use serde_json::json;

// Without tcp-keepalive-os: hyper has no keepalive without an idle time. Without bookmarks: they are asked for anyway.
const PROFILES: [&str; 6] = [
    "default",
    "retry",
    "tcp-keepalive",
    "tcp-user-timeout",
    "read-timeout",
    "watch-timeout",
];

/// The same after each error.
struct Pause(Duration);

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0)
    }
}

impl Backoff for Pause {
    fn reset(&mut self) {}
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut program = Program::new(&PROFILES)?;
    let config_maps: Api<ConfigMap> =
        Api::namespaced(program.client().await?, &variable("NAMESPACE"));
    let mut config = watcher::Config::default().fields(&selector());
    if program.profile == "watch-timeout" {
        program.set("watch_timeout_seconds", whole("WATCH_TIMEOUT"));
        config = config.timeout(whole("WATCH_TIMEOUT"));
    }
    let once = program.profile == "default";
    let events = watcher(config_maps, config);
    let mut stream = if once {
        events.default_backoff().applied_objects().boxed()
    } else {
        program.set("retry_seconds", number("RETRY_SECONDS"));
        events
            .backoff(Pause(seconds("RETRY_SECONDS")))
            .applied_objects()
            .boxed()
    };
    program.started();
    // It never ends: after an error, and after the end of a watch, it watches anew.
    while let Some(event) = stream.next().await {
        match event {
            Ok(config_map) => observed(&config_map),
            Err(error) if once => return Err(error.into()),
            Err(error) => emit(json!({"event": "error", "message": format!("{error:?}")})),
        }
    }
    Ok(())
}
