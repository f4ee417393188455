//! A route over sockets, with and without auth.

use std::net::SocketAddr;
use std::time::Duration;

use tower_jwt_auth::Algorithm;

use crate::load::Load;
use crate::measure::{Plan, median};
use crate::ours::{self, Caching};
use crate::peers::{self, Routes};
use crate::table;
use crate::tokens::World;

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
        let mut rates = vec![Vec::new(); servers.len()];
        let (rounds, time) = if plan.quick { (1, 50) } else { (10, 1_000) };
        for round in 0..=rounds {
            for (server, rates) in servers.iter().zip(&mut rates) {
                let rate = load.run(server.address, Duration::from_millis(time));
                // The first round fills what there is to fill.
                if round > 0 {
                    rates.push(rate);
                }
            }
        }
        let rows = servers.iter().zip(&rates).map(|(server, own)| {
            let base = rates.get(usize::from(server.is_07)).unwrap_or(own);
            let ratios = own.iter().zip(base).map(|(own, base)| own / base).collect();
            let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
            vec![
                server.name.clone(),
                format!("{:.0}", median(own.clone())),
                format!("{:.2}", median(ratios)),
                format!("{:.2}", best(own) / best(base)),
            ]
        });
        let rows: Vec<_> = rows.collect();
        table::print(
            &format!(
                "Requests per second over sockets, RS256, {heading}; {}",
                load.generator()
            ),
            &["contender", "median", "/ no auth", "best / best"],
            &rows,
        );
    }
}

struct Server {
    name: String,
    address: SocketAddr,
    /// Its baseline is the second server.
    is_07: bool,
}

/// A server for each contender; the first two are without auth.
fn servers(world: &World) -> Vec<Server> {
    let mut servers = Vec::new();
    let mut add = |name: &str, router: Router| {
        let is_07 = matches!(router, Router::Axum07(_));
        let (name, address) = (name.to_owned(), serve(router));
        servers.push(Server {
            name,
            address,
            is_07,
        });
    };
    add("no auth", Router::Axum(peers::route()));
    add("no auth, axum 0.7", Router::Axum07(peers::route_07()));
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
fn serve(router: Router) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    listener.set_nonblocking(true).expect("it can be");
    std::thread::spawn(move || {
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
    address
}
