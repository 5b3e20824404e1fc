//! Who is let in: requests by a name that is ours, that only read, that are small, and that show the token where one is
//! wanted. A page of somebody else's, open in the same browser, can send requests here; its name (DNS rebinding) or what
//! the browser says of it tells it apart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::{Query, Request};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{StatusCode, Uri};

use super::is_reading;
use super::token::Token;

/// The longest path and query, in bytes.
const LONGEST_ADDRESS: usize = 8 * 1024;

/// The largest headers, names and values together, in bytes.
const LARGEST_HEADERS: usize = 16 * 1024;

/// The parameter by which a browser shows the token once.
const TOKEN_PARAMETER: &str = "token";

/// A name that a server goes by, with a port or with any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName {
    name: String,
    port: Option<u16>,
}

impl FromStr for HostName {
    type Err = String;

    /// `bench.example` or `bench.example:8443`; without a port, that of the server and those of a proxy before it (80 and
    /// 443, which browsers leave out).
    fn from_str(text: &str) -> Result<Self, String> {
        let failed = || "it is a name, or a name and a port: `bench.example`, `bench.example:8443`".to_owned();
        let authority = Authority::from_str(text).map_err(|_| failed())?;
        let (name, port) = host_and_port(&authority).ok_or_else(failed)?;
        Ok(Self { name, port })
    }
}

/// Why a request is not answered.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) sentence: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into(), headers: Vec::new() }
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }
}

/// What is asked of every request.
#[derive(Debug)]
pub(super) struct Guard {
    address: SocketAddr,
    token: Option<Token>,
    names: Vec<HostName>,
}

impl Guard {
    pub(super) fn new(address: SocketAddr, token: Option<Token>, names: Vec<HostName>) -> Self {
        Self { address, token, names }
    }

    /// Whether a request is answered.
    ///
    /// # Errors
    /// Why not; or where to go, for a browser that has just shown the token.
    pub(super) fn admit(&self, request: &Request) -> Result<(), Refusal> {
        let (uri, headers) = (request.uri(), request.headers());
        is_small(uri, headers)?;
        self.is_for_us(uri, headers)?;
        if !is_reading(request.method()) {
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "This server only reads: GET and HEAD.");
            return Err(refusal.with(header::ALLOW, "GET, HEAD"));
        }
        has_no_body(headers)?;
        is_not_of_another_page(headers)?;
        self.knows_the_token(uri, headers)
    }

    /// The name by which the request was sent has to be one of ours: a page of another name that a name server has led
    /// here reads nothing.
    fn is_for_us(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let bad = |sentence| Refusal::new(StatusCode::BAD_REQUEST, sentence);
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(bad("A request names its host, once."));
        };
        let host = host.to_str().ok().and_then(|text| Authority::from_str(text).ok());
        let host = host.ok_or_else(|| bad("The host of the request cannot be read."))?;
        if uri.authority().is_some_and(|authority| *authority != host) {
            return Err(bad("The request names two hosts."));
        }
        if host_and_port(&host).is_some_and(|(name, port)| self.goes_by(&name, port)) {
            return Ok(());
        }
        let others = if self.address.ip().is_unspecified() { " or any address of this machine" } else { "" };
        Err(Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "This server does not go by the name it was asked by; open http://{}/{others}, or start it with `--allow-host NAME`.",
                own_address(self.address)
            ),
        ))
    }

    fn goes_by(&self, name: &str, port: Option<u16>) -> bool {
        let own = self.address.port();
        // Browsers leave the port of HTTP out.
        let is_own_port = port.unwrap_or(80) == own;
        let listed = self.names.iter().any(|known| {
            let by_port = match known.port {
                Some(wanted) => port == Some(wanted),
                None => port.is_none_or(|port| port == own || port == 443 || port == 80),
            };
            known.name == name && by_port
        });
        let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let is_ours = match literal {
            // A name server leads names here, and no numbers.
            Some(literal) if self.address.ip().is_unspecified() => !literal.is_unspecified(),
            Some(literal) => literal == self.address.ip() || (self.address.ip().is_loopback() && is_local(literal)),
            None => name == "localhost" && (self.address.ip().is_loopback() || self.address.ip().is_unspecified()),
        };
        listed || (is_ours && is_own_port)
    }

    fn knows_the_token(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        if let Some(shown) = shown_once(uri) {
            if !token.is(&shown) {
                return Err(unauthorized("That is not the token of this server."));
            }
            let cookie = format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie_name(), token.cookie());
            return Err(Refusal::new(StatusCode::SEE_OTHER, "The token is known from now on.")
                .with(header::LOCATION, &without_token(uri))
                .with(header::SET_COOKIE, &cookie));
        }
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some(bearer) = bearer {
            let shown = bearer.split_once(' ').filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
            return match shown {
                Some((_, shown)) if token.is(shown.trim()) => Ok(()),
                _ => Err(unauthorized("That is not the token of this server.")),
            };
        }
        let name = self.cookie_name();
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        if pairs.any(|(key, value)| key == name && token.is_cookie(value)) {
            return Ok(());
        }
        Err(unauthorized(
            "This server wants its token: `Authorization: Bearer TOKEN`, or in a browser once `/?token=TOKEN`.",
        ))
    }

    /// Cookies do not know ports: two servers of one machine must not take each other's.
    fn cookie_name(&self) -> String {
        format!("benchdb_{}", self.address.port())
    }
}

fn unauthorized(sentence: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, sentence).with(header::WWW_AUTHENTICATE, "Bearer")
}

/// An address that answers on this machine: nobody can open 0.0.0.0 or [::], which mean all of them.
pub(super) fn own_address(listened: SocketAddr) -> SocketAddr {
    let ip = match listened.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listened.port())
}

fn is_local(address: IpAddr) -> bool {
    // Our pages are asked for by 127.0.0.1 and [::1]; which of them is listened on is no matter.
    address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST
}

/// Name in small letters, and port. `None` for what has a user, no name, or a port that is none.
fn host_and_port(authority: &Authority) -> Option<(String, Option<u16>)> {
    let text = authority.as_str();
    let host = authority.host();
    if host.is_empty() || text.contains('@') {
        return None;
    }
    let port = match text.strip_prefix(host)? {
        "" => None,
        rest => Some(rest.strip_prefix(':')?.parse().ok()?),
    };
    Some((host.to_ascii_lowercase(), port))
}

fn is_small(uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let length = uri.path_and_query().map_or(0, |text| text.as_str().len());
    if length > LONGEST_ADDRESS {
        let sentence = format!("An address has {LONGEST_ADDRESS} bytes at most.");
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, sentence));
    }
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > LARGEST_HEADERS {
        let sentence = format!("The headers of a request have {LARGEST_HEADERS} bytes at most.");
        return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, sentence));
    }
    Ok(())
}

fn has_no_body(headers: &HeaderMap) -> Result<(), Refusal> {
    let length = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    if length || headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "A request that only reads has no content."));
    }
    Ok(())
}

/// What a page of another origin embeds or fetches is refused; that it links here is fine.
fn is_not_of_another_page(headers: &HeaderMap) -> Result<(), Refusal> {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let elsewhere = matches!(said("sec-fetch-site"), "cross-site" | "same-site");
    if elsewhere && said("sec-fetch-mode") != "navigate" {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "Pages of other origins may link here, and no more."));
    }
    Ok(())
}

fn pairs(uri: &Uri) -> Vec<(String, String)> {
    Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default()
}

fn shown_once(uri: &Uri) -> Option<String> {
    pairs(uri).into_iter().find(|(name, _)| name == TOKEN_PARAMETER).map(|(_, value)| value)
}

/// The same address without the token. It always leads here: two slashes at the beginning would name another host.
fn without_token(uri: &Uri) -> String {
    let query: Vec<&str> =
        uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !names_the_token(pair)).collect();
    let path = ["/", uri.path().trim_start_matches(['/', '\\'])].concat();
    if query.is_empty() { path } else { [path, query.join("&")].join("?") }
}

/// Whether a pair of a query is the token, in whatever way its name is written.
fn names_the_token(pair: &str) -> bool {
    ["/?", pair].concat().parse::<Uri>().is_ok_and(|uri| shown_once(&uri).is_some())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn guard(address: &str, names: &[&str]) -> Guard {
        Guard::new(address.parse().unwrap(), None, names.iter().map(|name| name.parse().unwrap()).collect())
    }

    fn status(guard: &Guard, host: &str) -> u16 {
        let request = Request::builder().uri("/").header("host", host).body(Body::empty()).unwrap();
        guard.admit(&request).err().map_or(200, |refusal| refusal.status.as_u16())
    }

    #[test]
    fn a_local_server_goes_by_local_names_and_its_port() {
        let guard = guard("127.0.0.1:8080", &[]);
        for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080", "[::1]:8080"] {
            assert_eq!(status(&guard, host), 200, "{host}");
        }
        for host in [
            "evil.example:8080",
            "127.0.0.1.evil.example:8080",
            "localhost.evil.example:8080",
            "localhost:8081",
            "localhost",
            "10.0.0.1:8080",
            "0.0.0.0:8080",
            "[::]:8080",
            "2130706433:8080",
            "127.1:8080",
        ] {
            assert_eq!(status(&guard, host), 421, "{host}");
        }
        for host in ["", "localhost:8080@evil.example", "local host:8080", "localhost:99999"] {
            assert!([400, 421].contains(&status(&guard, host)), "{host}");
        }
    }

    #[test]
    fn a_server_for_others_goes_by_its_address_and_by_the_names_that_were_given() {
        let guard = guard("192.0.2.7:8080", &["bench.example", "other.example:8443"]);
        for host in ["192.0.2.7:8080", "bench.example:8080", "bench.example", "Bench.Example:443", "other.example:8443"]
        {
            assert_eq!(status(&guard, host), 200, "{host}");
        }
        for host in ["localhost:8080", "127.0.0.1:8080", "192.0.2.8:8080", "other.example:8080", "bench.example:9"] {
            assert_eq!(status(&guard, host), 421, "{host}");
        }
        let everywhere = super::tests::guard("0.0.0.0:8080", &[]);
        assert_eq!(status(&everywhere, "192.0.2.9:8080"), 200);
        assert_eq!(status(&everywhere, "evil.example:8080"), 421);
        assert_eq!(status(&super::tests::guard("127.0.0.1:80", &[]), "localhost"), 200);
    }

    #[test]
    fn the_address_that_a_refusal_names_is_answered() {
        for listened in ["127.0.0.1:8080", "[::1]:8080", "192.0.2.7:8080", "0.0.0.0:8080", "[::]:8080"] {
            let guard = guard(listened, &[]);
            let request = Request::builder().uri("/").header("host", "evil.example:8080").body(Body::empty()).unwrap();
            let refusal = guard.admit(&request).unwrap_err().sentence;
            let named = refusal.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
            assert_eq!(status(&guard, named), 200, "{listened}: {refusal}");
            assert_eq!(
                refusal.contains("any address of this machine"),
                guard.address.ip().is_unspecified(),
                "{refusal}"
            );
        }
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for text in ["", "http://x", "a@b", "a b", "a:b", "a/b"] {
            assert!(HostName::from_str(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_token_leaves_the_address_and_nothing_leads_elsewhere() {
        let guard = Guard { token: Some(Token::new("0123456789abcdef").unwrap()), ..guard("127.0.0.1:8080", &[]) };
        let ask = |uri: &str| {
            let request = Request::builder().uri(uri).header("host", "127.0.0.1:8080").body(Body::empty()).unwrap();
            guard.admit(&request).unwrap_err()
        };
        let location = |uri: &str| {
            let refusal = ask(uri);
            assert_eq!(refusal.status, StatusCode::SEE_OTHER, "{uri}");
            let (_, value) = refusal.headers.iter().find(|(name, _)| *name == header::LOCATION).unwrap();
            value.to_str().unwrap().to_owned()
        };
        assert_eq!(location("/runs?model=a&token=0123456789abcdef&mode=b"), "/runs?model=a&mode=b");
        assert_eq!(location("/?token=0123456789abcdef"), "/");
        assert_eq!(location("/?%74oken=0123456789abcdef&a"), "/?a");
        assert_eq!(location("//evil.example/?token=0123456789abcdef"), "/evil.example/");
        assert_eq!(ask("/?token=0123456789abcdeX").status, StatusCode::UNAUTHORIZED);
        assert_eq!(ask("/").status, StatusCode::UNAUTHORIZED);
    }
}
