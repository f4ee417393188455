//! Connections to the node of Redis or Valkey that has the keys of a namespace, in a cluster too.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, RedisError, Value};

/// Connects to the node that has this key, and the other keys of its namespace. The client has the address of
/// any node.
pub(crate) async fn connect(
    client: &Client,
    key: &str,
    config: &AsyncConnectionConfig,
) -> Result<MultiplexedConnection, RedisError> {
    let connecting = client.get_multiplexed_async_connection_with_config(config);
    let mut connection = connecting.await?;
    // All keys of a namespace are in one slot, so one node of a cluster has them all.
    let mut probe = redis::cmd("HLEN");
    let probed = connection.send_packed_command(probe.arg(key)).await;
    let Err(error) = probed.and_then(Value::extract_error) else {
        return Ok(connection);
    };
    let node = error.redirect_node().and_then(|(node, _)| {
        let (host, port) = node.rsplit_once(':')?;
        Some((host, port.parse().ok()?))
    });
    let Some((host, port)) = node else {
        return Err(error);
    };
    let client = redirected(client, host, port)?;
    let connecting = client.get_multiplexed_async_connection_with_config(config);
    connecting.await
}

/// Whether another node of the cluster has the keys by now. Nothing was done then.
#[cfg(feature = "issue")]
pub(crate) fn has_moved(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::Moved)
}

/// The braces around a namespace put all its keys into one slot of a cluster.
pub(crate) fn is_namespace(namespace: &str) -> bool {
    let is_usable = |byte: u8| byte.is_ascii_graphic() && !b"{}".contains(&byte);
    let has_length = (1..=LONGEST_NAMESPACE).contains(&namespace.len());
    has_length && namespace.bytes().all(is_usable)
}

/// The start of a namespace that is not usable, for an error.
pub(crate) fn shown(namespace: &str) -> String {
    namespace.chars().take(LONGEST_NAMESPACE).collect()
}

/// The same settings for another node of a cluster.
fn redirected(client: &Client, host: &str, port: u16) -> Result<Client, RedisError> {
    let info = client.get_connection_info().clone();
    let mut addr = info.addr().clone();
    match &mut addr {
        ConnectionAddr::Tcp(known, known_port) => set_address(known, known_port, host, port),
        ConnectionAddr::TcpTls {
            host: known,
            port: known_port,
            ..
        } => set_address(known, known_port, host, port),
        _ => {}
    }
    Client::open(info.set_addr(addr))
}

/// A cluster leaves the host out if it is the one that was asked.
fn set_address(known: &mut String, known_port: &mut u16, host: &str, port: u16) {
    if !host.is_empty() {
        host.clone_into(known);
    }
    *known_port = port;
}

pub(crate) const NAMESPACE: &str =
    "expected a namespace of 1 to 128 visible ASCII characters without braces";
const LONGEST_NAMESPACE: usize = 128;
