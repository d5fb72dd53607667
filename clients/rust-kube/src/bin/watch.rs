//! Watch one ConfigMap with `Api::watch` of kube; what it reads and prints: CONTRACT.md.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, WatchEvent, WatchParams};
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

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut program = Program::new(&PROFILES)?;
    let config_maps: Api<ConfigMap> =
        Api::namespaced(program.client().await?, &variable("NAMESPACE"));
    let mut params = WatchParams::default().fields(&selector());
    if program.profile == "watch-timeout" {
        program.set("watch_timeout_seconds", whole("WATCH_TIMEOUT"));
        params = params.timeout(whole("WATCH_TIMEOUT"));
    }
    if program.profile == "default" {
        program.started();
        return watch(&config_maps, &params).await;
    }
    program.set("retry_seconds", number("RETRY_SECONDS"));
    program.started();
    loop {
        if let Err(error) = watch(&config_maps, &params).await {
            emit(json!({"event": "error", "message": format!("{error:?}")}));
        }
        tokio::time::sleep(seconds("RETRY_SECONDS")).await;
    }
}

async fn watch(config_maps: &Api<ConfigMap>, params: &WatchParams) -> Result<(), Error> {
    let mut stream = config_maps.watch(params, "0").await?.boxed();
    while let Some(event) = stream.try_next().await? {
        match event {
            WatchEvent::Added(config_map) | WatchEvent::Modified(config_map) => {
                observed(&config_map)
            }
            WatchEvent::Error(status) => {
                return Err(format!("the server ended the watch: {status:?}").into());
            }
            WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
        }
    }
    emit(json!({"event": "ended", "reason": "the stream ended"}));
    Ok(())
}
