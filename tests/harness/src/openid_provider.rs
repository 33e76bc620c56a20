//! A real `OpenID` provider: npm's `oidc-provider`, in a process of its own.
//!
//! The [`issuer`](crate::issuer) is ours and says whatever a test wants. This one
//! says what such servers say, and so shows that we understood them.

use std::fmt::Write;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, OnceCell};

use crate::client::{self, Request, Response};
use crate::issuer::METADATA_PATH;
use crate::process::{Pipes, Process, tail};
use crate::repo_root;

/// Usual is half a second, most of it to load the modules.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running provider. It is killed when dropped; [`OpenIdProvider::stop`] ends
/// it in an orderly way.
///
/// Keys are private JWK Sets, such as [`Issuer::private_jwks_of`] makes. The
/// first key signs the tokens.
///
/// [`Issuer::private_jwks_of`]: crate::issuer::Issuer::private_jwks_of
#[derive(Debug)]
pub struct OpenIdProvider {
    process: Process,
    control: Mutex<Control>,
    addr: SocketAddr,
    issuer: String,
    /// What the provider said beside its answers.
    log: PathBuf,
    _dir: TempDir,
}

impl OpenIdProvider {
    /// Starts a provider whose issuer is its own URL, and waits until it serves.
    /// If it does not, the error holds the end of what it said.
    pub async fn start(keys: &Value) -> Result<Self> {
        Self::launch(None, keys).await
    }

    /// Like [`OpenIdProvider::start`], with another issuer. Its endpoints stay
    /// where it listens.
    pub async fn start_as(issuer: &str, keys: &Value) -> Result<Self> {
        Self::launch(Some(issuer), keys).await
    }

    async fn launch(issuer: Option<&str>, keys: &Value) -> Result<Self> {
        install().await?;
        let dir = tempfile::Builder::new().prefix("oidc-provider-").tempdir()?;
        let log = dir.path().join("log");
        let mut command = Command::new(node());
        command
            .arg(repo_root().join("tests/oidc-provider/server.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?);
        let (process, pipes) = Process::spawn_with_pipes(command, dir.path())?;
        let mut control = Control::new(pipes)?;
        let started = control.become_provider(issuer, keys).await;
        let addr = started.with_context(|| said(&log))?;
        let issuer = issuer.map_or_else(|| format!("http://{addr}"), str::to_owned);
        Ok(Self { process, control: Mutex::new(control), addr, issuer, log, _dir: dir })
    }

    /// Where the provider listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The `iss` of the tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Gets the metadata, as `OpenID` Connect Discovery describes it.
    pub async fn metadata(&self) -> Result<Value> {
        self.ask(Request::get(METADATA_PATH)).await?.json()
    }

    /// Requests an access token for this audience, by the grant
    /// `client_credentials`. It is a JWT as RFC 9068 describes it.
    pub async fn token(&self, audience: &str) -> Result<String> {
        let mut form = "grant_type=client_credentials&client_id=harness\
                        &client_secret=public-and-protects-nothing&resource=urn%3Aaudience%3A"
            .to_owned();
        for byte in audience.bytes() {
            write!(form, "%{byte:02X}")?;
        }
        let request = Request::post("/token", form)
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = self.ask(request).await?.json()?;
        let token = answer["access_token"].as_str();
        Ok(token.with_context(|| format!("no access token in {answer}"))?.to_owned())
    }

    /// Replaces the keys, all at once. Tokens that were signed before stay what
    /// they are, and the port stays the same.
    pub async fn rotate(&self, keys: &Value) -> Result<()> {
        let rotated = self.control.lock().await.become_provider(Some(&self.issuer), keys).await;
        rotated.map(drop).with_context(|| said(&self.log))
    }

    /// Ends the process; nobody listens at the address then. A second call does
    /// nothing.
    pub async fn stop(&self) -> Result<()> {
        self.process.end().await
    }

    async fn ask(&self, request: Request) -> Result<Response> {
        let request = request.header("host", self.addr.to_string());
        let response = client::h1(self.addr, request).await.with_context(|| said(&self.log))?;
        let (status, text) = (response.status, response.text());
        ensure!(status == 200, "the provider answered {status}: {text}\n{}", said(&self.log));
        Ok(response)
    }
}

/// The provider's stdin and stdout, which `server.mjs` describes.
#[derive(Debug)]
struct Control {
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Control {
    fn new(pipes: Pipes) -> Result<Self> {
        let orders = pipes.stdin.context("stdin is piped")?;
        let stdout = pipes.stdout.context("stdout is piped")?;
        Ok(Self { orders, answers: BufReader::new(stdout).lines() })
    }

    async fn become_provider(&mut self, issuer: Option<&str>, keys: &Value) -> Result<SocketAddr> {
        let mut order = keys.clone();
        if let Some(issuer) = issuer {
            order["issuer"] = json!(issuer);
        }
        let exchange = async {
            self.orders.write_all(format!("{order}\n").as_bytes()).await?;
            self.answers.next_line().await?.context("the provider ended")
        };
        let answer = tokio::time::timeout(DEADLINE, exchange)
            .await
            .map_err(|_| anyhow!("no answer from the provider in {DEADLINE:?}"))??;
        let answer: Value = serde_json::from_str(&answer)?;
        let Some(port) = answer["port"].as_u64() else {
            bail!("the provider refused: {}", answer["error"]);
        };
        Ok((Ipv4Addr::LOCALHOST, u16::try_from(port)?).into())
    }
}

fn said(log: &Path) -> String {
    format!("the provider said:\n{}", tail(log))
}

/// Has `tests/tools/setup` install the provider if it is missing, once a process.
async fn install() -> Result<()> {
    static DONE: OnceCell<Result<(), String>> = OnceCell::const_new();
    let done = DONE.get_or_init(async || setup().await.map_err(|error| format!("{error:#}"))).await;
    done.clone().map_err(anyhow::Error::msg)
}

async fn setup() -> Result<()> {
    let script = repo_root().join("tests/tools/setup");
    let status = Command::new(&script)
        .arg("oidc")
        .stdin(Stdio::null())
        .status()
        .await
        .with_context(|| format!("running {}", script.display()))?;
    ensure!(status.success(), "{} oidc ended with {status}", script.display());
    Ok(())
}

/// The Node.js that the setup chose.
fn node() -> PathBuf {
    let fetched = repo_root().join(".tools/bin/node");
    if fetched.exists() { fetched } else { "node".into() }
}
