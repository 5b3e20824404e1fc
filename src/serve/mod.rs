//! Pages over HTTP: who may ask, how long they may take, and which headers an answer has. What the pages show is the
//! business of whoever gives a [`Site`]; this room knows neither the database nor HTML.

mod gate;
mod guard;
mod token;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use thiserror::Error;
use tokio::sync::Semaphore;

use self::gate::{Gate, Peer};
use self::guard::{Guard, Refusal};

pub use guard::HostName;
pub use token::{SHORTEST_TOKEN, Token};

/// Questions that are answered at the same time; others wait.
const WORKERS: usize = 4;

/// How long an answer may take to be made.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// How long an answer may take to be fetched.
const FETCH_TIME: Duration = Duration::from_secs(30);

/// How long requests that are being answered may go on after a signal.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A server that could not be started.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The threads or signals that a server needs cannot be had.
    #[error("cannot start the server")]
    Start {
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl ServeError {
    /// The way out, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => Some(
                "another program has that port: name another with `--port`, or `--port 0` for any that is free".into(),
            ),
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some("ports below 1024 are for the system: name another with `--port`".into())
            }
            Self::Listen { .. } => Some("`--listen` takes an address of this machine: 127.0.0.1, ::1, 0.0.0.0".into()),
            Self::Start { .. } => None,
        }
    }
}

/// What somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The path as it was sent, without the query: `/runs/12`. Nothing in it is decoded.
    pub path: String,
    /// Names and values of the query, decoded, in order; what is no UTF-8 has become U+FFFD.
    pub query: Vec<(String, String)>,
}

/// What they get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The type of the content.
    pub content_type: &'static str,
    /// The content.
    pub body: Vec<u8>,
    /// Whether a browser may keep it for an hour: it does not depend on the database.
    pub lasting: bool,
    /// After how many seconds to ask again, where that helps.
    pub come_back: Option<u32>,
}

impl Answer {
    /// A page.
    pub fn html(status: u16, page: String) -> Self {
        Self { status, ..Self::file("text/html; charset=utf-8", page.into_bytes()) }
    }

    /// What is there, as a file of this type.
    pub fn file(content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status: 200, content_type, body, lasting: false, come_back: None }
    }
}

/// Whoever makes the pages. It may block; a panic costs the answer and nothing else.
pub trait Site: Send + Sync + 'static {
    /// Answers a question.
    fn answer(&self, asked: &Asked) -> Answer;
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address to listen on.
    pub listen: IpAddr,
    /// The port; 0 for any that is free.
    pub port: u16,
    /// What whoever asks has to know, where that is wanted.
    pub token: Option<Token>,
    /// Names that the server goes by, beside its address.
    pub names: Vec<HostName>,
    /// How long a client may take to send a request.
    pub patience: Duration,
    /// The content security policy of every answer.
    pub policy: &'static str,
}

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    settings: Settings,
}

/// What every request needs.
struct Shared {
    guard: Guard,
    policy: &'static str,
    desk: Desk,
}

/// Where questions are answered, a few at a time.
#[derive(Clone)]
struct Desk {
    free: Arc<Semaphore>,
    site: Arc<dyn Site>,
}

impl Server {
    /// Begins to listen.
    ///
    /// # Errors
    /// An address that is not of this machine, a port that is taken.
    pub fn bind(settings: Settings) -> Result<Self, ServeError> {
        let address = SocketAddr::new(settings.listen, settings.port);
        let failed = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, settings })
    }

    /// An address under which it answers on this machine: where it listens, or that of this machine alone where it listens
    /// on all of them.
    pub fn own_address(&self) -> SocketAddr {
        guard::own_address(self.address)
    }

    /// Answers until SIGINT or SIGTERM; then what has begun is finished, for a few seconds.
    ///
    /// # Errors
    /// Threads or signals that cannot be had.
    pub fn run(self, site: Arc<dyn Site>) -> Result<(), ServeError> {
        let failed = |source| ServeError::Start { source };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(WORKERS)
            .thread_name("benchdb-serve")
            .enable_all()
            .build()
            .map_err(failed)?;
        let patience = self.settings.patience;
        let shared = Arc::new(Shared {
            guard: Guard::new(self.address, self.settings.token, self.settings.names),
            policy: self.settings.policy,
            desk: Desk::new(site),
        });
        let (listener, served) = (self.listener, shared);
        let ended = runtime.block_on(async move {
            // Registered before the first answer, so that no signal ends the process otherwise.
            let (told, seen) = (stop_signal()?, stop_signal()?);
            let gate = Gate::new(tokio::net::TcpListener::from_std(listener)?, patience);
            let service =
                Router::new().fallback(answer).with_state(served).into_make_service_with_connect_info::<Peer>();
            let serving = axum::serve(gate, service).with_graceful_shutdown(told);
            let serving = tokio::spawn(std::future::IntoFuture::into_future(serving));
            seen.await;
            // A client that does not come to an end is not waited for.
            let _ = tokio::time::timeout(LAST_WORDS, serving).await;
            Ok(())
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        ended.map_err(failed)
    }
}

/// Ends with the first signal that asks the process to end.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(std::future::poll_fn(move |context| {
        if interrupt.poll_recv(context).is_ready() || terminate.poll_recv(context).is_ready() {
            return std::task::Poll::Ready(());
        }
        std::task::Poll::Pending
    }))
}

/// Ends with Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let pressed = tokio::signal::ctrl_c();
    Ok(async move {
        let _ = pressed.await;
    })
}

async fn answer(State(shared): State<Arc<Shared>>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request) -> Response {
    peer.answer_within(ANSWER_TIME);
    let mut response = match admitted(&shared.guard, &request) {
        Ok(asked) => shared.desk.ask(asked).await,
        Err(refusal) => refused(&refusal),
    };
    peer.fetch_within(FETCH_TIME);
    dress(&mut response, shared.policy);
    response
}

/// What is asked for, if it may be.
fn admitted(guard: &Guard, request: &Request) -> Result<Asked, Refusal> {
    guard.admit(request)?;
    let Ok(Query(query)) = Query::<Vec<(String, String)>>::try_from_uri(request.uri()) else {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "The query of the address cannot be read."));
    };
    Ok(Asked { path: request.uri().path().to_owned(), query })
}

impl Desk {
    fn new(site: Arc<dyn Site>) -> Self {
        Self { free: Arc::new(Semaphore::new(WORKERS)), site }
    }

    /// Waits for its turn in a future, not in a queue of work: a client that goes takes its question along.
    async fn ask(&self, asked: Asked) -> Response {
        let broken =
            || plain(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made; the server's output says why.");
        let Ok(turn) = Arc::clone(&self.free).acquire_owned().await else { return broken() };
        let site = Arc::clone(&self.site);
        let work = move || {
            let answer = site.answer(&asked);
            drop(turn);
            answer
        };
        tokio::task::spawn_blocking(work).await.map_or_else(|_| broken(), sent)
    }
}

/// An answer with its headers.
fn sent(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if answer.lasting {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    }
    if let Some(seconds) = answer.come_back {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn plain(status: StatusCode, sentence: &str) -> Response {
    let mut response = Response::new(Body::from([sentence, "\n"].concat()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn refused(refusal: &Refusal) -> Response {
    let mut response = plain(refusal.status, &refusal.sentence);
    for (name, value) in &refusal.headers {
        response.headers_mut().append(name, value.clone());
    }
    // Whoever is refused holds no connection; who is led on has shown the token.
    if !refusal.status.is_redirection() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The headers that every answer has.
fn dress(response: &mut Response, policy: &'static str) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What the record says today is not for tomorrow, nor for whoever uses the browser next.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// The methods that are answered.
fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// Answers nothing before it is opened, and remembers what it was asked.
    #[derive(Default)]
    struct Closed {
        asked: Mutex<Vec<String>>,
        open: Mutex<bool>,
        opened: Condvar,
    }

    impl Site for Closed {
        fn answer(&self, asked: &Asked) -> Answer {
            self.asked.lock().unwrap().push(asked.path.clone());
            let _open = self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap();
            Answer::html(200, String::new())
        }
    }

    #[test]
    fn who_goes_before_its_turn_costs_nothing() {
        let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(WORKERS).enable_all().build();
        let site = Arc::new(Closed::default());
        let desk = Desk::new(Arc::clone(&site) as Arc<dyn Site>);
        let asked = |path: &str| Asked { path: path.to_owned(), ..Asked::default() };
        runtime.unwrap().block_on(async {
            let ask = |path: &str| {
                let (desk, asked) = (desk.clone(), asked(path));
                tokio::spawn(async move { desk.ask(asked).await.status() })
            };
            let busy: Vec<_> = (0..WORKERS).map(|_| ask("/busy")).collect();
            while site.asked.lock().unwrap().len() < WORKERS {
                tokio::task::yield_now().await;
            }
            // It is looked at once, and then dropped as the question of a client that has gone.
            let gone = tokio::time::timeout(Duration::ZERO, desk.ask(asked("/gone"))).await;
            assert!(gone.is_err());
            let last = ask("/last");
            *site.open.lock().unwrap() = true;
            site.opened.notify_all();
            for answered in busy.into_iter().chain([last]) {
                assert_eq!(answered.await.unwrap(), StatusCode::OK);
            }
        });
        let asked = site.asked.lock().unwrap();
        assert!(asked.len() == WORKERS + 1 && !asked.contains(&"/gone".to_owned()), "{asked:?}");
    }

    #[test]
    fn a_panic_costs_one_answer_and_no_turn() {
        struct Breaking;
        impl Site for Breaking {
            fn answer(&self, _: &Asked) -> Answer {
                panic!("no page");
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let desk = Desk::new(Arc::new(Breaking));
        for _ in 0..=WORKERS {
            let status = runtime.block_on(desk.ask(Asked::default())).status();
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        }
    }

    #[test]
    fn who_shall_come_back_is_told_when() {
        let answer = Answer { status: 503, come_back: Some(5), ..Answer::html(200, String::new()) };
        assert_eq!(sent(answer).headers()[header::RETRY_AFTER], "5");
        assert!(!sent(Answer::html(503, String::new())).headers().contains_key(header::RETRY_AFTER));
    }

    #[test]
    fn whoever_is_refused_keeps_no_connection() {
        for status in [400, 401, 403, 405, 413, 414, 421, 431] {
            let refusal = Refusal::new(StatusCode::from_u16(status).unwrap(), "No.");
            assert_eq!(refused(&refusal).headers()[header::CONNECTION], "close", "{status}");
        }
        assert!(!refused(&Refusal::new(StatusCode::SEE_OTHER, "")).headers().contains_key(header::CONNECTION));
    }
}
