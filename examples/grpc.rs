//! The layer around a tonic server. The method declares the scope it needs, and rejections are gRPC
//! statuses. The service is the health service from `tonic-health`.
//!
//! ```sh
//! cargo run --example grpc --features grpc,test-util
//! ```
//!
//! It runs once and prints what the client gets:
//!
//! ```text
//! no token: Unauthenticated, Authentication is required
//! expired: Unauthenticated, The access token expired
//! without the scope: PermissionDenied, The access token lacks a required scope
//! with the scope: Ok, SERVING
//! ```

use std::error::Error;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{grpc::RequestExt, scope};

struct Guarded;

#[tonic::async_trait]
impl Health for Guarded {
    async fn check(
        &self,
        call: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let caller = call.require::<scope!("health:read")>()?;
        eprintln!("asked by {}", caller.client_id().unwrap_or("nobody"));
        Ok(Response::new(HealthCheckResponse {
            status: ServingStatus::Serving.into(),
        }))
    }

    type WatchStream = tonic::codegen::BoxStream<HealthCheckResponse>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only `check`"))
    }
}

/// Calls with or without a token, and returns the answer in one line.
async fn check(channel: Channel, token: Option<String>) -> Result<String, Box<dyn Error>> {
    let mut call = Request::new(HealthCheckRequest::default());
    if let Some(token) = token {
        let value: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
        call.metadata_mut().insert("authorization", value);
    }
    Ok(match HealthClient::new(channel).check(call).await {
        Ok(answer) => format!("Ok, {}", answer.get_ref().status().as_str_name()),
        Err(status) => format!("{:?}, {}", status.code(), status.message()),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer = TestIssuer::new();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let address = incoming.local_addr()?;
    tokio::spawn(
        Server::builder()
            .layer(issuer.auth())
            .add_service(HealthServer::new(Guarded))
            .serve_with_incoming(incoming),
    );

    let channel = Channel::from_shared(format!("http://{address}"))?
        .connect()
        .await?;
    let token = issuer.token().scope("health:read");
    for (what, token) in [
        ("no token", None),
        ("expired", Some(token.clone().expired().mint())),
        ("without the scope", Some(issuer.token().mint())),
        ("with the scope", Some(token.mint())),
    ] {
        println!("{what}: {}", check(channel.clone(), token).await?);
    }
    Ok(())
}
