//! The service: starts all parts, waits for a signal, and stops them in order.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::{Command, Config, Destination, SinkSpec};
use crate::deliver::calls::Calls;
use crate::deliver::dead_letters::{self, DeadLetters};
use crate::deliver::{self, Source};
use crate::file_watch::FileWatch;
use crate::health::Health;
use crate::keep::{self, Decider, SinkRules};
use crate::listen::{AllConnections, Tls, TokenFile};
use crate::log::{self, Severity, Value, stdout};
use crate::maintenance::Maintenance;
use crate::metrics::Metrics;
use crate::module::Module;
use crate::outbox::{Limits, Outbox, Subscription};
use crate::receive::Receiver;
use crate::reload::check_file;
use crate::shutdown::{self, Shutdown};
use crate::sink::google::{Access, Auth, metadata_server};
use crate::sink::{CloudLogging, CloudTrace, Otlp, Stdout, Telemetry, Zipkin, otlp};
use crate::storage::{DataDir, DiskReserve};
use crate::store::{Retention, Store};
use crate::view::View;
use crate::{listen, outbox, receive, tail, terminal, view};

/// The timeout of the last commit. All acknowledged requests are committed already.
const LAST_COMMIT: Duration = Duration::from_secs(5);

/// The timeout of the last log lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Runs the exporter until SIGTERM or SIGINT, or runs the command.
///
/// Logs an error and fails if the exporter cannot start: an address is in use, a database belongs to another program, an
/// option is invalid.
pub fn run(config: Config) -> ExitCode {
    let result = match &config.command {
        Some(Command::DeadLetters(command)) => {
            let done = dead_letters::command::run(command, &config.data_dir, &mut std::io::stdout().lock());
            done.inspect_err(|error| eprintln!("logtracer-exporter: {error:#}"))
        }
        Some(command) if let Some(command) = command.terminal() => {
            terminal::run(&command, &mut std::io::stdout().lock())
                .inspect_err(|error| eprintln!("logtracer-exporter: {error:#}"))
        }
        _ => {
            log::install_panic_hook();
            serve_until_signalled(config).inspect_err(|error| log::fatal(&format!("{error:#}")))
        }
    };
    stdout::flush(LAST_LINES);
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn serve_until_signalled(config: Config) -> anyhow::Result<()> {
    check(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let result = runtime.block_on(serve(config));
    // A read of stdin cannot be interrupted: do not wait for it.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

fn check(config: &Config) -> anyhow::Result<()> {
    let destinations = config.destinations()?;
    if let Some(path) = std::env::var_os("SSL_CERT_FILE") {
        check_file(Path::new(&path)).context("cannot use SSL_CERT_FILE")?;
    }
    let mut receivers = destinations.iter().filter_map(|destination| destination.sink.otlp_host());
    if std::env::var_os(otlp::HEADERS).is_some()
        && let Some(first) = receivers.next()
        && let Some(other) = receivers.find(|host| *host != first)
    {
        bail!("{} would be sent to {first} and to {other}; it is supported for one host only", otlp::HEADERS);
    }
    Ok(())
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let data_dir = DataDir::open(&config.data_dir)?;
    let metrics = Arc::new(Metrics::new());
    metrics.outbox_max_bytes.set(i64::try_from(config.outbox_max_bytes).unwrap_or(i64::MAX));
    metrics.store_max_bytes.set(i64::try_from(config.retention_bytes).unwrap_or(i64::MAX));
    let destinations = config.destinations()?;
    for warning in config.warnings(&destinations) {
        log::warn(warning, &[]);
    }
    let sinks: Arc<[String]> = destinations.iter().map(|destination| destination.sink.to_string()).collect();
    let subscriptions: Vec<_> = destinations.iter().map(subscription).collect();
    let limits = Limits { max_bytes: config.outbox_max_bytes, max_age: config.outbox_max_age };
    let dir = &data_dir;
    let reserve = DiskReserve::open(dir.path());
    let (outbox, writer) = outbox::open(dir, &subscriptions, limits, reserve.clone(), metrics.clone())?;
    let store = Store::open(dir, reserve.clone(), metrics.clone())?;
    let dead_letters =
        DeadLetters::open(dir, config.dead_letters_max_bytes, reserve.clone(), metrics.clone())?;

    let calls = Calls::open(dir.path());

    let open = |option, file: &Option<PathBuf>| {
        file.as_deref().map(|file| TokenFile::open(option, file)).transpose()
    };
    let token = open("--token-file", &config.token_file)?;
    let view_token = open("--view-token-file", &config.view_token_file)?.map(Arc::new);
    let module = config.module.as_deref().map(Module::open).transpose()?;
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(certificate), Some(key)) => Some(Arc::new(Tls::open(certificate, key)?)),
        _ => None,
    };
    let http = listen::bind("--http", config.http).await?;
    let grpc = listen::bind("--grpc", config.grpc).await?;
    let view = listen::bind_with_send_buffer("--view", config.view, view::SEND_BUFFER_BYTES)?;
    let (http_addr, grpc_addr, view_addr) = (http.local_addr()?, grpc.local_addr()?, view.local_addr()?);
    if token.is_none() && !(http_addr.ip().is_loopback() && grpc_addr.ip().is_loopback()) {
        log::warn("--http or --grpc accepts requests without a token: set --token-file", &[]);
    }

    // The order of the shutdown: first the requests and the lines of stdin, then the deliveries, then the outbox.
    let (stop_serving, serving) = shutdown::channel();
    let (stop_working, working) = shutdown::channel();
    let mut servers = JoinSet::new();
    let mut workers = JoinSet::new();
    if let Some(decider) = decider(&config, &destinations, &outbox, &metrics)? {
        workers.spawn(decider.run(working.clone()));
    }
    for (index, Destination { sink, .. }) in destinations.iter().enumerate() {
        let (name, reader) = (sink.to_string(), outbox.reader(index)?);
        let window = deliver::window(destinations.len());
        let source = Source {
            dead_letters: dead_letters.clone(),
            calls: calls.of(&name),
            metrics: metrics.clone(),
            name,
            window,
            reader,
        };
        start_sink(sink, &config, &store, source, working.clone(), &mut workers)
            .await
            .with_context(|| format!("failed to start the sink {sink}"))?;
    }
    let (tailing, tailed) = oneshot::channel::<()>();
    if !config.tails.is_empty() {
        let (dir, outbox) = (data_dir.path().to_owned(), outbox.clone());
        let stop = tail::Stop { reading: serving.clone(), storing: working.clone() };
        let may_be_in_google_cloud = may_be_in_google_cloud(&config, &destinations);
        let (tails, project) = (config.tails, config.project);
        let (store, metrics) = (store.clone(), metrics.clone());
        workers.spawn(async move {
            let attributes =
                if may_be_in_google_cloud { metadata_server::attributes().await } else { Vec::new() };
            let host = tail::Host::new(attributes, project.map(|project| project.to_string()));
            tail::run(tails, host, dir, outbox, store, metrics, stop).await;
            drop(tailing);
        });
    } else {
        drop(tailing);
    }
    let retention = Retention { max_age: config.retention_age, max_bytes: config.retention_bytes };
    let maintenance = Maintenance {
        outbox: outbox.clone(),
        sinks: sinks.clone(),
        store: store.clone(),
        retention,
        reserve: reserve.clone(),
    };
    workers.spawn(maintenance.run(working.clone()));
    let health = Health::default();
    let file_watch = FileWatch {
        data_dir: data_dir.clone(),
        outbox: outbox.clone(),
        store: store.clone(),
        dead_letters,
        calls: calls.clone(),
        reserve: reserve.clone(),
        health: health.clone(),
    };
    workers.spawn(file_watch.run(working));
    let AllConnections { receiving, viewing } = AllConnections::new(&metrics);
    let receiver = Receiver::new(outbox.clone(), metrics.clone(), token, receiving.clone());
    let mut router = receive::router(receiver.clone(), http_addr.ip());
    if let Some(module) = module {
        router = router.merge(module.router());
    }
    servers.spawn(listen::serve(http, router, tls.clone(), receiving.clone(), serving.clone()));
    let router = receive::services(receiver, grpc_addr.ip());
    servers.spawn(listen::serve(grpc, router, tls.clone(), receiving, serving.clone()));
    let waiting_bytes = metrics.outbox_bytes.get();
    let viewer = View {
        store,
        outbox: outbox.clone(),
        sinks,
        health: health.clone(),
        metrics,
        reserve: reserve.clone(),
        stop: serving.clone(),
        token: view_token,
    };
    let router = view::router(viewer, view_addr.ip()).context("failed to start the viewer")?;
    servers.spawn(listen::serve(view, router, tls, viewing, serving));

    let signalled = shutdown::handle_signals().context("failed to handle signals")?;
    log::line(
        Severity::Info,
        "ready",
        &[
            ("http", Value::Fmt(format_args!("{http_addr}"))),
            ("grpc", Value::Fmt(format_args!("{grpc_addr}"))),
            ("view", Value::Fmt(format_args!("{view_addr}"))),
            ("data_dir", Value::Fmt(format_args!("{}", config.data_dir.display()))),
            ("waiting_batches", Value::I64(outbox.backlogs().into_iter().max().unwrap_or(0))),
            ("waiting_bytes", Value::I64(waiting_bytes)),
        ],
    );
    let end = tokio::select! {
        signal = signalled => Ok(signal),
        error = data_dir.taken() => Err(anyhow!(error)),
        never = health.watch(&mut workers) => never,
    };
    match &end {
        Ok(signal) => log::line(Severity::Info, "stopping", &[("signal", Value::Str(signal))]),
        Err(error) => log::error("stopping", &[("error", Value::Fmt(format_args!("{error}")))]),
    }

    calls.stop();
    stop_serving.pull();
    // The other exporter delivers what is still in the outbox at the path.
    let leaves_outbox = end.is_err() && outbox.check_path().await.is_ok();
    let deadline = Instant::now() + if leaves_outbox { Duration::ZERO } else { config.grace };
    let requests = timeout_at(deadline, async { while servers.join_next().await.is_some() {} }).await;
    servers.shutdown().await;
    // An error says that the tail has ended.
    let _ = timeout_at(deadline, tailed).await;
    let delivered = timeout_at(deadline, outbox.drained()).await;
    stop_working.pull();
    while workers.join_next().await.is_some() {}
    if end.is_err() && !leaves_outbox {
        let batches = outbox.backlogs().into_iter().max().unwrap_or(0);
        if batches > 0 {
            log::error("waiting batches of a removed outbox lost", &[("batches", Value::I64(batches))]);
        }
    }
    drop(outbox);
    let flushed = tokio::task::spawn_blocking(move || writer.join());
    let flushed = timeout(LAST_COMMIT, flushed).await;
    log::line(
        Severity::Info,
        "stopped",
        &[
            ("requests_finished", Value::Bool(requests.is_ok())),
            ("delivered", Value::Bool(delivered.is_ok())),
            ("flushed", Value::Bool(matches!(flushed, Ok(Ok(Ok(())))))),
        ],
    );
    end.map(drop)
}

/// What a sink takes from the outbox.
fn subscription(destination: &Destination) -> Subscription {
    Subscription {
        sink: destination.sink.to_string(),
        signals: destination.signals(),
        has_rules: !destination.rules.is_empty(),
    }
}

/// Returns what decides on the traces of the sinks with rules, if there are any.
fn decider(
    config: &Config,
    destinations: &[Destination],
    outbox: &Outbox,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Decider>> {
    let with_rules = destinations.iter().enumerate().filter(|(_, destination)| !destination.rules.is_empty());
    let sinks: Vec<_> = with_rules
        .map(|(index, destination)| SinkRules {
            index,
            name: destination.sink.to_string(),
            signals: destination.signals(),
            rules: destination.rules.clone(),
        })
        .collect();
    if sinks.is_empty() {
        return Ok(None);
    }
    if config.grace <= config.decision_wait {
        log::warn(
            "--grace is not longer than --decision-wait: undecided spans stay in the outbox at shutdown",
            &[],
        );
    }
    let options = keep::Options {
        sinks,
        decision_wait: config.decision_wait,
        max_traces_per_second: config.max_traces_per_second,
    };
    Decider::open(outbox, options, metrics.clone()).map(Some)
}

/// Returns whether Google Cloud gets log records, with credentials or from a machine with a metadata server.
fn may_be_in_google_cloud(config: &Config, destinations: &[Destination]) -> bool {
    let gets_logs = |destination: &Destination| {
        let is_google = matches!(destination.sink, SinkSpec::CloudLogging | SinkSpec::Telemetry);
        is_google && destination.signals().has_logs()
    };
    let has_server = config.auth != Auth::None
        || std::env::var_os("GCE_METADATA_HOST").is_some_and(|host| !host.is_empty());
    has_server && destinations.iter().any(gets_logs)
}

/// Starts the delivery to a sink.
///
/// # Errors
///
/// Fails if the sink can never work: its address, a header or its credentials are invalid.
async fn start_sink(
    spec: &SinkSpec,
    config: &Config,
    store: &Store,
    source: Source,
    stop: Shutdown,
    workers: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let access = Access { project: config.project.clone(), auth: config.auth };
    match spec {
        SinkSpec::Store => workers.spawn(deliver::run(store.clone(), source, stop)),
        SinkSpec::Stdout => workers.spawn(deliver::run(Stdout::new(), source, stop)),
        SinkSpec::Otlp(url) => workers.spawn(deliver::run(Otlp::new(url)?, source, stop)),
        SinkSpec::Zipkin(url) => workers.spawn(deliver::run(Zipkin::new(url)?, source, stop)),
        SinkSpec::CloudTrace => {
            let sink = CloudTrace::open(&config.cloud_trace_endpoint, &access).await?;
            workers.spawn(deliver::run(sink, source, stop))
        }
        SinkSpec::CloudLogging => {
            let sink = CloudLogging::open(&config.cloud_logging_endpoint, &access).await?;
            workers.spawn(deliver::run(sink, source, stop))
        }
        SinkSpec::Telemetry => {
            let sink = Telemetry::open(&config.telemetry_endpoint, &access).await?;
            workers.spawn(deliver::run(sink, source, stop))
        }
    };
    Ok(())
}
