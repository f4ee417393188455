//! [`PeerAddress`] and [`TrustedProxies`]: the peers whose header fields about a request are
//! trusted.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Extensions;

use crate::error::config::ConfigError;

/// The address of the peer of a connection: the client, or the proxy in front of this service.
///
/// Put it into the extensions of each request, outside the layer. Without it, the peer of a request
/// is unknown, and an unknown peer is not a trusted proxy. The address must come from the
/// connection and never from a header.
///
/// If a proxy connects over a Unix domain socket, which has no address, put a loopback address there
/// and trust it.
///
/// # Example: the address in axum
///
/// ```
/// use std::net::SocketAddr;
///
/// use axum::Router;
/// use axum::extract::{ConnectInfo, Request};
/// use axum::middleware::map_request;
/// use tower_jwt_auth::JwtAuth;
/// use tower_jwt_auth::request::PeerAddress;
///
/// async fn with_peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
///     request.extensions_mut().insert(PeerAddress::from(peer));
///     request
/// }
///
/// fn protect(routes: Router, auth: JwtAuth) -> Router {
///     routes.layer(auth).layer(map_request(with_peer))
/// }
/// // axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(IpAddr);

impl PeerAddress {
    /// The address. An IPv4-mapped IPv6 address is returned as an IPv4 address.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

impl From<IpAddr> for PeerAddress {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self::from(address.ip())
    }
}

/// The proxies whose header fields about a request are trusted. They are identified by the
/// [address](PeerAddress) of the connection.
///
/// A field of any other peer is ignored, and so is a field of a peer whose address is unknown,
/// because every client can send such a field. A trusted proxy must replace or remove the field if
/// a client sends it ([RFC 9700, section
/// 4.13](https://www.rfc-editor.org/rfc/rfc9700#section-4.13)).
///
/// # Example: two proxies and a network
///
/// ```
/// use tower_jwt_auth::request::TrustedProxies;
///
/// let proxies = TrustedProxies::networks(["10.1.2.3", "10.1.2.4", "fd00:1::/64"])?;
/// assert!(TrustedProxies::networks(["10.1.2.3/8"]).is_err()); // the network is 10.0.0.0/8
/// # let _ = proxies;
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct TrustedProxies(Trusted);

#[derive(Clone)]
enum Trusted {
    Anybody,
    Matching(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>),
    Networks(Arc<[Network]>),
}

impl TrustedProxies {
    /// Trusts the peers with an address in one of these networks. Each network is an address, or an
    /// address and the length of its prefix, such as `10.0.0.0/8`. Without any network, no peer is
    /// trusted.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Network`] if a network has another form, if an address has bits after its prefix, or
    /// if the prefix has length 0. A prefix of length 0 would include every peer; see
    /// [`insecure_any`](Self::insecure_any).
    pub fn networks<T: AsRef<str>>(
        networks: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        let networks = networks.into_iter().map(|network| {
            let network = network.as_ref();
            Network::parse(network).ok_or_else(|| ConfigError::Network {
                input: network.to_owned(),
            })
        });
        let networks = networks.collect::<Result<_, _>>()?;
        Ok(Self(Trusted::Networks(networks)))
    }

    /// Trusts the peers for whose address this function returns `true`. The function runs for each
    /// request whose fields are read, so it must not block. Use it for addresses that change while the
    /// service runs.
    pub fn matching(is_trusted: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Trusted::Matching(Arc::new(is_trusted)))
    }

    /// Trusts every peer, known or not.
    ///
    /// # Security
    ///
    /// Whoever can connect to this service can send fields that only a proxy may send, and present the
    /// certificate of anyone else. Use this only if the network, or a socket that belongs to the proxy,
    /// ensures that only the proxy can connect.
    pub fn insecure_any() -> Self {
        Self(Trusted::Anybody)
    }

    /// Checks that the peer of a request is trusted. The error is the reason, for the operator.
    pub(super) fn check(&self, extensions: &Extensions) -> Result<(), &'static str> {
        let trusts = |peer: IpAddr| match &self.0 {
            Trusted::Anybody => true,
            Trusted::Matching(is_trusted) => is_trusted(peer),
            Trusted::Networks(networks) => networks.iter().any(|network| network.contains(peer)),
        };
        match extensions.get::<PeerAddress>() {
            None if matches!(self.0, Trusted::Anybody) => Ok(()),
            Some(peer) if trusts(peer.ip()) => Ok(()),
            Some(_) => Err("is ignored, because the peer is no trusted proxy"),
            None => Err("is ignored, because the peer is not known (see `PeerAddress`)"),
        }
    }
}

impl fmt::Debug for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Trusted::Anybody => f.write_str("every peer"),
            Trusted::Matching(_) => f.write_str("a function"),
            Trusted::Networks(networks) => networks.fmt(f),
        }
    }
}

/// The addresses that begin with the same bits as `address`.
#[derive(Clone, Copy, Debug)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        // The address of a peer is never IPv4-mapped, so such a network would match nothing.
        if address.to_canonical() != address {
            return None;
        }
        // `parse` would accept a sign.
        let is_number = |prefix: &str| prefix.bytes().all(|byte| byte.is_ascii_digit());
        let (bits, zeros) = match address {
            IpAddr::V4(address) => (u32::BITS, address.to_bits().trailing_zeros()),
            IpAddr::V6(address) => (u128::BITS, address.to_bits().trailing_zeros()),
        };
        let prefix = match prefix {
            Some(prefix) if is_number(prefix) => prefix.parse().ok()?,
            Some(_) => return None,
            None => bits,
        };
        let is_whole = zeros >= bits.checked_sub(prefix)?;
        (prefix > 0 && is_whole).then_some(Self { address, prefix })
    }

    fn contains(&self, peer: IpAddr) -> bool {
        let same = match (self.address, peer) {
            (IpAddr::V4(own), IpAddr::V4(peer)) => own.to_bits() ^ peer.to_bits(),
            (IpAddr::V6(own), IpAddr::V6(peer)) => {
                return (own.to_bits() ^ peer.to_bits()).leading_zeros() >= self.prefix;
            }
            _ => return false,
        };
        same.leading_zeros() >= self.prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(trusted: &TrustedProxies, peer: Option<&str>) -> bool {
        let mut extensions = Extensions::new();
        if let Some(peer) = peer {
            extensions.insert(PeerAddress::from(peer.parse::<IpAddr>().unwrap()));
        }
        trusted.check(&extensions).is_ok()
    }

    #[test]
    fn a_network_has_the_addresses_with_its_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("10.1.2.2/31", "10.1.2.3", "10.1.2.4"),
            ("128.0.0.0/1", "255.0.0.1", "127.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
            ("fd00:1::/64", "fd00:1::ffff", "fd00:1:0:1::"),
            ("::1", "::1", "127.0.0.1"),
        ] {
            let trusted = TrustedProxies::networks([network]).unwrap();
            assert!(check(&trusted, Some(inside)), "{network} {inside}");
            assert!(!check(&trusted, Some(outside)), "{network} {outside}");
            assert!(!check(&trusted, None), "{network}");
        }
        let several = TrustedProxies::networks(["10.0.0.1", "::1"]).unwrap();
        assert!(check(&several, Some("10.0.0.1")) && check(&several, Some("::1")));
        let none = TrustedProxies::networks([""; 0]).unwrap();
        assert!(!check(&none, Some("10.0.0.1")) && !check(&none, None));
    }

    #[test]
    fn what_is_no_network_is_an_error() {
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/0",
            "::/0",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0.0/99999999999",
            "10.0.0.1/8",
            "fd00::1/64",
            "10.0.0",
            "10.0.0.1:80",
            " 10.0.0.1",
            "localhost",
            "fe80::1%eth0",
            "::ffff:10.0.0.0/104",
        ] {
            let error = TrustedProxies::networks([text]).unwrap_err();
            let input = text.to_owned();
            assert_eq!(error, ConfigError::Network { input }, "{text}");
        }
    }

    #[test]
    fn a_function_decides_and_every_peer_can_be_trusted() {
        let even = TrustedProxies::matching(|peer| peer.to_string().ends_with('2'));
        assert!(check(&even, Some("::ffff:10.0.0.2")));
        assert!(!check(&even, Some("10.0.0.1")) && !check(&even, None));
        let any = TrustedProxies::insecure_any();
        assert!(check(&any, Some("10.0.0.1")) && check(&any, None));
    }
}
