//! What both programs share: the contract's side, and the client with what a profile sets on it.

use std::{
    env,
    io::Write,
    process,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use hyper_timeout::TimeoutConnector;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioExecutor};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Client, Config, ResourceExt,
    client::{Body, ClientBuilder, ConfigExt, retry::RetryPolicy},
};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tower::{BoxError, Service, ServiceBuilder, layer::layer_fn, retry::RetryLayer};

const KUBE_VERSION: &str = env!("KUBE_VERSION");

pub type Error = Box<dyn std::error::Error>;

pub struct Program {
    pub profile: String,
    pub settings: Map<String, Value>,
}

impl Program {
    /// Ends the program with 127 if the profile is not one of these.
    pub fn new(profiles: &[&str]) -> Result<Self, Error> {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            terminated.recv().await;
            process::exit(0);
        });
        let profile = env::var("WATCHER_PROFILE")?;
        if !profiles.contains(&profile.as_str()) {
            process::exit(127);
        }
        Ok(Self {
            profile,
            settings: Map::new(),
        })
    }

    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.settings.insert(name.into(), value.into());
    }

    pub fn started(&self) {
        let runtime = format!("tokio, {} {}", env::consts::OS, env::consts::ARCH);
        emit(json!({
            "event": "started", "library": "kube", "version": KUBE_VERSION, "runtime": runtime, "settings": self.settings
        }));
    }

    pub async fn client(&mut self) -> Result<Client, Error> {
        let mut config = Config::infer().await?;
        if self.profile == "read-timeout" {
            self.set("read_timeout_seconds", number("READ_TIMEOUT"));
            config.read_timeout = Some(seconds("READ_TIMEOUT"));
        }
        if self.profile != "tcp-keepalive" && self.profile != "tcp-user-timeout" {
            return Ok(ClientBuilder::try_from(config)?
                .with_layer(&layer_fn(Answers))
                .build());
        }

        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        self.set("keepalive", true);
        self.set("keepalive_idle_seconds", whole("KEEPALIVE_IDLE"));
        self.set("keepalive_interval_seconds", whole("KEEPALIVE_INTERVAL"));
        self.set("keepalive_count", whole("KEEPALIVE_COUNT"));
        connector.set_keepalive(Some(seconds("KEEPALIVE_IDLE")));
        connector.set_keepalive_interval(Some(seconds("KEEPALIVE_INTERVAL")));
        connector.set_keepalive_retries(Some(whole("KEEPALIVE_COUNT")));
        if self.profile == "tcp-user-timeout" {
            self.set("user_timeout_seconds", number("USER_TIMEOUT"));
            connector.set_tcp_user_timeout(Some(seconds("USER_TIMEOUT")));
        }
        with_connector(config, connector)
    }
}

/// A client as kube makes it, but with this connector.
fn with_connector(config: Config, connector: HttpConnector) -> Result<Client, Error> {
    let mut connector =
        TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(
            config
                .default_retry
                .then(|| RetryLayer::new(RetryPolicy::server_retry())),
        )
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace)
        .with_layer(&layer_fn(Answers))
        .build())
}

/// Tells of each watch that was answered, which `watcher` does not.
#[derive(Clone)]
struct Answers<S>(S);

impl<S, B> Service<Request<Body>> for Answers<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let watch = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("watch=true"));
        let answer = self.0.call(request);
        async move {
            let response = answer.await?;
            if watch && response.status().is_success() {
                emit(json!({"event": "watching"}));
            }
            Ok(response)
        }
        .boxed()
    }
}

pub fn emit(line: Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("standard output is open");
}

pub fn observed(config_map: &ConfigMap) {
    let nonce = config_map
        .data
        .as_ref()
        .and_then(|data| data.get("nonce"))
        .cloned()
        .unwrap_or_default();
    emit(
        json!({"event": "observed", "nonce": nonce, "resourceVersion": config_map.resource_version()}),
    );
}

pub fn selector() -> String {
    format!("metadata.name={}", variable("NAME"))
}

pub fn variable(name: &str) -> String {
    env::var(format!("WATCHER_{name}")).unwrap_or_else(|_| panic!("WATCHER_{name} is set"))
}

pub fn number(name: &str) -> f64 {
    variable(name)
        .parse()
        .unwrap_or_else(|_| panic!("WATCHER_{name} is a number"))
}

pub fn whole(name: &str) -> u32 {
    number(name) as u32
}

pub fn seconds(name: &str) -> Duration {
    Duration::from_secs_f64(number(name))
}
