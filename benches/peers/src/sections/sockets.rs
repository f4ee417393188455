//! A route over sockets, with a layer and without one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tower_jwt_auth::Algorithm;

use crate::load::Load;
use crate::measure::{Plan, median};
use crate::ours::{self, Caching};
use crate::peers::{self, Routes};
use crate::tokens::World;
use crate::{plain, table};

pub fn run(plan: &Plan) {
    let world = World::new(Algorithm::RS256);
    let servers = servers(&world);
    let tokens = world.pool(1_000);
    let (one, all) = (tokens.get(..1).unwrap_or_default(), &*tokens);
    for (heading, name, tokens) in [
        ("one token", "one", one),
        ("1 000 tokens in turn", "all", all),
    ] {
        let load = Load::new(name, tokens, plan.quick);
        let mut runs: Vec<Runs> = servers.iter().map(|_| Runs::default()).collect();
        let (rounds, time) = if plan.quick { (1, 50) } else { (10, 1_000) };
        for round in 0..=rounds {
            for (server, runs) in servers.iter().zip(&mut runs) {
                let before = server.processor_time();
                let (rate, count) = load.run(server.address, Duration::from_millis(time));
                let work = (server.processor_time() - before) / count;
                // The first round fills the caches.
                if round > 0 {
                    runs.rates.push(rate);
                    runs.work.push(work);
                }
            }
        }
        let rows = servers.iter().zip(&runs).map(|(server, own)| {
            let base = runs.get(usize::from(server.is_07)).unwrap_or(own);
            let ratios = own.rates.iter().zip(&base.rates);
            let work = |runs: &Runs| median(runs.work.clone());
            vec![
                server.name.clone(),
                format!("{:.0}", median(own.rates.clone())),
                format!(
                    "{:.2}",
                    median(ratios.map(|(own, base)| own / base).collect())
                ),
                format!("{:.2}", own.best() / base.best()),
                table::time(work(own)),
                format!("{:.2}", work(base) / work(own)),
            ]
        });
        table::print(
            &format!(
                "Requests per second over sockets, RS256, {heading}; {}",
                load.generator()
            ),
            &[
                "contender",
                "median",
                "/ no auth",
                "best / best",
                "processor time",
                "no auth / this",
            ],
            &rows.collect::<Vec<_>>(),
        );
    }
    println!("\nProcessor time: of the server's one thread for one request, with what the kernel");
    println!("does for it. Its ratio is that of the rates where nothing else wants the processor.");
}

/// The results of one server, in each round.
#[derive(Default)]
struct Runs {
    /// Requests per second.
    rates: Vec<f64>,
    /// The processor time of the server thread per request, in seconds.
    work: Vec<f64>,
}

impl Runs {
    fn best(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }
}

struct Server {
    name: String,
    address: SocketAddr,
    /// The file in which the kernel reports the times of its thread.
    thread: PathBuf,
    /// Whether the second server is its baseline.
    is_07: bool,
}

impl Server {
    /// The processor time of its thread, in seconds.
    fn processor_time(&self) -> f64 {
        let path = self.thread.join("schedstat");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let nanoseconds = text.split_whitespace().next();
        let nanoseconds = nanoseconds.and_then(|number| number.parse::<f64>().ok());
        nanoseconds.unwrap_or(f64::NAN) / 1e9
    }
}

/// A server for each contender. The first two have no layer.
fn servers(world: &World) -> Vec<Server> {
    let mut servers = Vec::new();
    let mut add = |name: &str, router: Router| {
        let is_07 = matches!(router, Router::Axum07(_));
        let (address, thread) = serve(router);
        servers.push(Server {
            name: name.to_owned(),
            address,
            thread,
            is_07,
        });
    };
    add("no auth", Router::Axum(peers::route()));
    add("no auth, axum 0.7", Router::Axum07(peers::route_07()));
    add(
        "floor: a ready `Arc` into the extensions",
        Router::Axum(plain::with_floor(peers::route())),
    );
    for (name, caching) in [("", Caching::Default), (", cache off", Caching::Off)] {
        let router = peers::route().layer(ours::layer(world, caching));
        add(&format!("**tower-jwt-auth**{name}"), Router::Axum(router));
    }
    for peer in &peers::ALL {
        match peer.router {
            Routes::Axum(router) => add(peer.name, Router::Axum(router(world))),
            Routes::Axum07(router) => add(peer.name, Router::Axum07(router(world))),
        }
    }
    servers
}

enum Router {
    Axum(axum::Router),
    Axum07(axum_07::Router),
}

/// Serves on one thread, until the program ends.
fn serve(router: Router) -> (SocketAddr, PathBuf) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    listener.set_nonblocking(true).expect("it can be");
    let (tell, thread) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let own = std::fs::read_link("/proc/thread-self").unwrap_or_default();
        tell.send(Path::new("/proc").join(own))
            .expect("it is waited for");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("within a runtime");
            match router {
                Router::Axum(router) => axum::serve(listener, router).await,
                Router::Axum07(router) => axum_07::serve(listener, router).await,
            }
        })
    });
    (address, thread.recv().expect("it tells"))
}
