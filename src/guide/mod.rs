//! The guide: how to start, what to watch out for, and the reasons for the design.
//!
//! | page | answers |
//! |---|---|
//! | [`start`] | how do I protect my axum, tonic or hyper service? |
//! | [`rejections`] | why was my token rejected? |
//! | [`placement`] | where does the layer go, and how are unknown paths answered? |
//! | [`recipes`] | how do I use it with tenants, a user table, spans, WebSockets, metrics? |
//! | [`mistakes`] | which four mistakes are common, and what prevents each? |
//! | [`login`] | how do I build my own login? |
//! | [`keys`] | where do keys come from, and how do they change without a restart? |
//! | [`revocation`] | how do I revoke a token before it expires, and what does an outage do? |
//! | [`refresh`] | how do refresh tokens rotate, which thefts are caught, and what does it cost? |
//! | [`providers`] | which settings fit the tokens of Auth0, Okta, Entra ID and others? |
//! | [`opaque`] | how do I accept tokens that are not JWTs? |
//! | [`defaults`] | what is the reason for each default? |
//! | [`performance`] | what does verification cost, and what does the cache do? |
//! | [`limitations`] | what does this crate not do? |
//! | [`compare`] | how does it differ from similar crates? |

/// A page, whose examples are compiled where everything that they use is there.
macro_rules! page {
    ($name:ident) => {
        #[cfg_attr(
            all(feature = "axum", feature = "grpc", feature = "introspection", feature = "issue", feature = "logout", feature = "pem", feature = "redis", feature = "reqwest", feature = "status-list", feature = "test-util", feature = "watch"),
            doc = include_str!(concat!(stringify!($name), ".md"))
        )]
        #[cfg_attr(
            not(all(feature = "axum", feature = "grpc", feature = "introspection", feature = "issue", feature = "logout", feature = "pem", feature = "redis", feature = "reqwest", feature = "status-list", feature = "test-util", feature = "watch")),
            doc = concat!("`src/guide/", stringify!($name), ".md`, rendered where all features are on.")
        )]
        pub mod $name {}
    };
}

page!(start);
page!(rejections);
page!(placement);
page!(recipes);
page!(mistakes);
page!(login);
page!(keys);
page!(revocation);
page!(refresh);
page!(providers);
page!(opaque);
page!(defaults);
page!(performance);
page!(limitations);
page!(compare);
