//! The client of a store, with credentials from the environment.
//!
//! Whether there are credentials is found out first, within [`CREDENTIALS_PATIENCE`]. Without any, files are read
//! unsigned, which public ones allow.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::list::PaginatedListStore;
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, CredentialProvider, ObjectStore, RetryConfig,
};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::address::{Address, Scheme};
use crate::environment::Settings;
use crate::failure::deepest;
use crate::fetch::PATIENCE;

/// The time in which credentials must be found; a machine outside of a cloud has no metadata service.
const CREDENTIALS_PATIENCE: Duration = Duration::from_secs(5);
/// The time in which a connection must be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// The time in which a store must be reached for the first time.
const FIRST_PATIENCE: Duration = Duration::from_secs(8);
/// How long a client is used again. Files with credentials may change.
const KEPT: Duration = Duration::from_mins(1);
/// How long one without credentials is. Somebody may add them.
const KEPT_UNSIGNED: Duration = Duration::from_secs(10);

/// How long a client waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Waits {
    /// For the next bytes of an answer.
    answer: Duration,
    /// For a request, with all its repetitions.
    request: Duration,
}

/// The next bytes of a file come soon.
pub(crate) const READING: Waits = Waits {
    answer: Duration::from_secs(15),
    request: PATIENCE,
};
/// The time in which a body is sent counts as time without an answer.
pub(crate) const WRITING: Waits = Waits {
    answer: Duration::from_secs(90),
    request: Duration::from_mins(3),
};

/// A client of one bucket, container or host.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// `None` for web servers.
    pub(crate) pages: Option<Arc<dyn PaginatedListStore>>,
    /// Where credentials were looked for in vain, if there are none.
    pub(crate) unsigned: Option<String>,
    /// True if the store compares each request with a checksum.
    pub(crate) verifies_uploads: bool,
    /// True after nothing was reached for [`FIRST_PATIENCE`].
    has_failed: Arc<AtomicBool>,
}

/// Connects to the store of an address, or returns the connection that was made to it shortly before with the same
/// settings: many jobs ask for credentials once. Only what works is kept.
///
/// # Errors
/// If a setting in the environment cannot be used.
pub(crate) async fn connect(address: &Address, waits: Waits) -> io::Result<Connection> {
    let key = Key {
        root: address.root().to_owned(),
        query: address.query().map(str::to_owned),
        settings: Settings::of(address.scheme()),
        waits,
    };
    let connection = {
        let mut kept = CONNECTIONS.lock();
        kept.retain(Kept::is_usable);
        if let Some(kept) = kept.iter().find(|kept| kept.key == key) {
            Arc::clone(&kept.connection)
        } else {
            let connection = Arc::default();
            kept.push(Kept {
                key: key.clone(),
                connection: Arc::clone(&connection),
            });
            connection
        }
    };
    let make = || make(address, &key.settings, waits);
    let kept = connection.get_or_try_init(make).await?;
    Ok(kept.connection.clone())
}

async fn make(address: &Address, settings: &Settings, waits: Waits) -> io::Result<Made> {
    let connector = Connector::default();
    let connection = match address.scheme() {
        Scheme::S3 => s3(address, settings, waits, &connector).await,
        Scheme::Gcs => gcs(address, settings, waits, &connector).await,
        Scheme::Azure => azure(address, settings, waits, &connector).await,
        Scheme::Http => http(address, waits, &connector),
    }?;
    Ok(Made {
        since: Instant::now(),
        connection: Connection {
            has_failed: connector.has_failed,
            ..connection
        },
    })
}

static CONNECTIONS: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

struct Kept {
    key: Key,
    /// Empty until the first caller has connected, for which the others wait.
    connection: Arc<OnceCell<Made>>,
}

struct Made {
    since: Instant,
    connection: Connection,
}

impl Kept {
    fn is_usable(&self) -> bool {
        self.connection.get().is_none_or(|made| {
            let time = match made.connection.unsigned {
                Some(_) => KEPT_UNSIGNED,
                None => KEPT,
            };
            made.since.elapsed() < time && !made.connection.has_failed.load(Ordering::Relaxed)
        })
    }
}

/// What a connection depends on.
#[derive(Clone, PartialEq)]
struct Key {
    root: String,
    query: Option<String>,
    settings: Settings,
    waits: Waits,
}

fn options(waits: Waits) -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_PATIENCE)
        .with_read_timeout(waits.answer)
        .with_user_agent(HeaderValue::from_static(concat!(
            "electra-convert/",
            env!("CARGO_PKG_VERSION")
        )))
}

/// Requests are repeated for a time, not for a number of tries, which a storm of refusals uses up in seconds.
fn retry(waits: Waits) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: usize::MAX,
        retry_timeout: waits.request,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unusable(error: object_store::Error) -> io::Error {
    let mut message = format!("the client cannot be set up: {}", deepest(&error));
    // A container without them.
    if message.contains("CA certificates") {
        message
            .push_str("; install the package ca-certificates, or name its file in SSL_CERT_FILE");
    }
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Returns true if credentials are found in time.
async fn has_credentials<T: Send + Sync>(
    provider: &dyn CredentialProvider<Credential = T>,
) -> bool {
    matches!(
        timeout(CREDENTIALS_PATIENCE, provider.get_credential()).await,
        Ok(Ok(_))
    )
}

async fn s3(
    address: &Address,
    settings: &Settings,
    waits: Waits,
    connector: &Connector,
) -> io::Result<Connection> {
    let mut builder = AmazonS3Builder::new()
        // Not all stores with this interface delete several objects by one request.
        .with_disable_bulk_delete(true)
        .with_client_options(options(waits).with_allow_http(settings.has_http_endpoint()))
        .with_retry(retry(waits))
        .with_http_connector(connector.clone())
        .with_url(address.root());
    for (key, value) in &settings.values {
        if let Ok(key) = key.parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let store = builder.clone().build().map_err(unusable)?;
    let is_signed = !settings.is_on("aws_skip_signature");
    let has_metadata = !settings.is_on("aws_ec2_metadata_disabled");
    let may_have = has_metadata
        || settings.has_any(&[
            "aws_access_key_id",
            "aws_secret_access_key",
            "aws_web_identity_token_file",
            "aws_container_credentials_relative_uri",
            "aws_container_credentials_full_uri",
        ]);
    if !is_signed || (may_have && has_credentials(store.credentials().as_ref()).await) {
        // The signature covers the SHA-256 of each request.
        let verifies_uploads = is_signed && !settings.is_on("aws_unsigned_payload");
        return Ok(Connection {
            verifies_uploads,
            ..Connection::of(store, None)
        });
    }
    let mut tried =
        "AWS_ACCESS_KEY_ID, the profiles of ~/.aws, web identity, container and instance roles"
            .to_owned();
    if let Some(left_out) = &settings.left_out {
        tried = format!("{tried}; {left_out}");
    }
    let store = builder
        .with_skip_signature(true)
        .build()
        .map_err(unusable)?;
    Ok(Connection::of(store, Some(tried)))
}

async fn gcs(
    address: &Address,
    settings: &Settings,
    waits: Waits,
    connector: &Connector,
) -> io::Result<Connection> {
    // As in `object_store`: a service account may state the address of a server without encryption.
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_client_options(options(waits).with_allow_http(true))
        .with_retry(retry(waits))
        .with_http_connector(connector.clone())
        .with_url(address.root());
    for (key, value) in &settings.values {
        if let Ok(key) = key.parse::<GoogleConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let store = builder.clone().build().map_err(unusable)?;
    let is_signed = !settings.is_on("google_skip_signature");
    if !is_signed || has_credentials(store.credentials().as_ref()).await {
        return Ok(Connection::of(store, None));
    }
    let tried = "GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_SERVICE_ACCOUNT, the file of gcloud auth application-default \
                 login, the metadata service";
    let store = builder
        .with_skip_signature(true)
        .build()
        .map_err(unusable)?;
    Ok(Connection::of(store, Some(tried.to_owned())))
}

async fn azure(
    address: &Address,
    settings: &Settings,
    waits: Waits,
    connector: &Connector,
) -> io::Result<Connection> {
    let mut builder = MicrosoftAzureBuilder::new()
        .with_client_options(options(waits).with_allow_http(settings.has_http_endpoint()))
        .with_retry(retry(waits))
        .with_http_connector(connector.clone())
        .with_url(address.root());
    for (key, value) in &settings.values {
        if let Ok(key) = key.parse::<AzureConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let store = builder.clone().build().map_err(|error| match &error {
        object_store::Error::Generic { .. }
            if settings.get("azure_storage_account_name").is_none() =>
        {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "the storage account is not known: set AZURE_STORAGE_ACCOUNT_NAME, or give \
             abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH",
            )
        }
        _ => unusable(error),
    })?;
    let is_signed = !settings.is_on("azure_skip_signature");
    if !is_signed || has_credentials(store.credentials().as_ref()).await {
        return Ok(Connection::of(store, None));
    }
    let tried = "AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_CONNECTION_STRING, AZURE_CLIENT_ID \
                 with its secret, managed identity (az login only with AZURE_USE_AZURE_CLI=true)";
    let store = builder
        .with_skip_signature(true)
        .build()
        .map_err(unusable)?;
    Ok(Connection::of(store, Some(tried.to_owned())))
}

fn http(address: &Address, waits: Waits, connector: &Connector) -> io::Result<Connection> {
    let builder = HttpBuilder::new()
        .with_url(address.root())
        .with_client_options(options(waits).with_config(ClientConfigKey::AllowHttp, "true"))
        .with_retry(retry(waits));
    let query = address.query().map(str::to_owned);
    let store = builder
        .with_http_connector(Connector {
            query,
            ..connector.clone()
        })
        .build()
        .map_err(unusable)?;
    Ok(Connection {
        store: Arc::new(store),
        pages: None,
        unsigned: None,
        verifies_uploads: false,
        has_failed: Arc::default(),
    })
}

impl Connection {
    fn of(store: impl ObjectStore + PaginatedListStore, unsigned: Option<String>) -> Self {
        let store = Arc::new(store);
        Self {
            store: Arc::clone(&store) as Arc<dyn ObjectStore>,
            pages: Some(store),
            unsigned,
            verifies_uploads: false,
            has_failed: Arc::default(),
        }
    }
}

/// Makes clients that give up early where nothing was ever reached, and that add the query of a signed web address to
/// every request: `object_store` has no place for it.
#[derive(Clone, Debug, Default)]
struct Connector {
    query: Option<String>,
    has_failed: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Service {
    client: HttpClient,
    query: Option<String>,
    first: OnceLock<Instant>,
    has_answered: AtomicBool,
    has_failed: Arc<AtomicBool>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service {
            client: ReqwestConnector::default().connect(options)?,
            query: self.query.clone(),
            first: OnceLock::new(),
            has_answered: AtomicBool::new(false),
            has_failed: Arc::clone(&self.has_failed),
        }))
    }
}

impl Service {
    fn add_query(&self, request: &mut HttpRequest) {
        let Some(query) = &self.query else {
            return;
        };
        let mut parts = request.uri().clone().into_parts();
        let path = request.uri().path();
        parts.path_and_query = PathAndQuery::try_from(format!("{path}?{query}")).ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let first = *self.first.get_or_init(Instant::now);
        self.add_query(&mut request);
        let answer = self.client.execute(request).await;
        match answer {
            Ok(answer) => {
                self.has_answered.store(true, Ordering::Relaxed);
                Ok(answer)
            }
            // A wrong name, or nobody listens: an error of this kind is not tried again.
            Err(error)
                if error.kind() == HttpErrorKind::Connect
                    && !self.has_answered.load(Ordering::Relaxed)
                    && first.elapsed() > FIRST_PATIENCE =>
            {
                self.has_failed.store(true, Ordering::Relaxed);
                Err(HttpError::new(HttpErrorKind::Unknown, error))
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Cancel;

    #[test]
    fn a_connection_is_used_again() {
        let store = |url: &str, waits: Waits| {
            let address = Address::parse(url).unwrap().unwrap();
            let connection = Cancel::default().wait_for(connect(&address, waits));
            connection.unwrap().unwrap().store
        };
        let first = store("http://127.0.0.1:1/a/b.zip?signature=1", READING);
        for (url, waits, is_same) in [
            ("http://127.0.0.1:1/c?signature=1", READING, true),
            ("http://127.0.0.1:1/c?signature=1", WRITING, false),
            ("http://127.0.0.1:1/a/b.zip?signature=2", READING, false),
            ("http://127.0.0.1:2/a/b.zip?signature=1", READING, false),
        ] {
            let other = store(url, waits);
            assert_eq!(Arc::ptr_eq(&first, &other), is_same, "{url}");
        }
    }
}
