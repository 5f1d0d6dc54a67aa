//! Requests to the hub, with redirects followed here and not by the HTTP client.
//!
//! Large files lie with other hosts than the hub's, and whoever answers in the hub's place can send a client anywhere.
//! So the client follows no redirect by itself: the token goes to the endpoint's own address and nowhere else, and a
//! chain of redirects ends.

use std::io::{self, Read};
use std::time::{Duration, Instant, SystemTime};

use ureq::http::uri::{Authority, Scheme};
use ureq::http::{HeaderMap, HeaderValue, Uri, header};
use ureq::{Agent, Body};

use crate::{HubError, HubOptions};

/// How long the hub may take to be found and to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How many redirects one request may take. The hub itself needs two.
const HOPS: usize = 10;
/// What has to arrive in the time that may pass without anything arriving: fewer bytes are as good as none.
const LEAST: u64 = 1024;
/// How long a hub may ask a program to wait before the program gives up and says so, in seconds.
const PATIENCE: u64 = 60;

/// A scheme, a host and a port: to whom a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn of(uri: &Uri) -> Result<Self, &'static str> {
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err("it begins neither with https:// nor with http://"),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        Ok(Self {
            https,
            host: host.ok_or("it names no host")?.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
        })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, usual) = if self.https {
            ("https", 443)
        } else {
            ("http", 80)
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != usual {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It got lost on the way; another try may succeed.
    Network(String),
    /// A redirect that is not followed.
    Redirect(String),
    /// The request could not be made, or the answer is no HTTP.
    Nonsense(String),
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: HeaderMap,
    /// Who gave it, for messages.
    pub(crate) origin: String,
    /// Where it leads, if the answer is a redirect away from the endpoint that was not to be followed.
    pub(crate) elsewhere: Option<String>,
    body: Body,
}

impl Answer {
    /// A header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn into_body(self) -> Body {
        self.body
    }

    /// Whether the same request may be answered differently a little later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 500..)
    }

    /// How many seconds the server wants to be left alone.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        let text = self.header("retry-after")?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(seconds);
        }
        let then = httpdate::parse_http_date(text).ok()?;
        // A moment that has passed asks for no patience.
        let wait = then.duration_since(SystemTime::now()).unwrap_or_default();
        Some(wait.as_secs())
    }

    /// The bytes `first..=last` of how many, as the answer to a request for a range says.
    pub(crate) fn content_range(&self) -> Option<ContentRange> {
        ContentRange::parse(self.header("content-range")?)
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// All of the body, if it has at most `limit` bytes.
    pub(crate) fn text(self, limit: u64, stall: Duration) -> Result<String, Trouble> {
        let mut reader = Steady::new(self.body.into_reader(), stall).take(limit + 1);
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes);
        read.map_err(|error| Trouble::Network(describe(&error)))?;
        if bytes.len() as u64 > limit {
            return Err(Trouble::Nonsense(format!(
                "it is longer than {limit} bytes"
            )));
        }
        String::from_utf8(bytes).map_err(|_| Trouble::Nonsense("it is no UTF-8 text".into()))
    }
}

/// A `Content-Range` header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    /// The first byte of those sent; `None` where none is.
    pub(crate) first: Option<u64>,
    /// The size of the whole file, where the server says it.
    pub(crate) total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
        let first = match range.trim() {
            "*" => None,
            range => Some(range.split_once('-')?.0.trim().parse().ok()?),
        };
        let total = match total.trim() {
            "*" => None,
            total => Some(total.parse().ok()?),
        };
        Some(Self { first, total })
    }
}

/// Sends requests to one hub.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    home: Origin,
    authorization: Option<HeaderValue>,
}

impl Client {
    pub(crate) fn new(options: &HubOptions) -> Result<Self, HubError> {
        let endpoint = options.endpoint.parse::<Uri>();
        let home = endpoint
            .map_err(|error| error.to_string())
            .and_then(|uri| Origin::of(&uri).map_err(str::to_owned))
            .map_err(|reason| HubError::InvalidEndpoint {
                endpoint: options.endpoint_shown(),
                reason,
            })?;
        let authorization = options.token.as_ref().map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
            value.set_sensitive(true);
            Ok(value)
        });
        let authorization = authorization
            .transpose()
            .map_err(|_: header::InvalidHeaderValue| HubError::InvalidToken)?;
        let agent = Agent::config_builder()
            .user_agent(concat!("bertology/", env!("CARGO_PKG_VERSION")))
            // Sizes and digests are those of the file, not of a packed form of it.
            .accept_encoding("identity")
            // The status is wanted together with the headers that explain it.
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_per_write(Some(options.stall))
            .timeout_per_read(Some(options.stall))
            .timeout_recv_response(Some(options.stall))
            .build()
            .into();
        Ok(Self {
            agent,
            home,
            authorization,
        })
    }

    /// Asks, and follows redirects to the end.
    pub(crate) fn get(&self, url: &str, range: Option<&str>) -> Result<Answer, Trouble> {
        self.follow(url, range, true)
    }

    /// Asks, and follows redirects as long as the endpoint itself answers.
    pub(crate) fn ask_home(&self, url: &str, range: Option<&str>) -> Result<Answer, Trouble> {
        self.follow(url, range, false)
    }

    fn follow(&self, url: &str, range: Option<&str>, abroad: bool) -> Result<Answer, Trouble> {
        let mut uri: Uri = url
            .parse()
            .map_err(|error| Trouble::Nonsense(format!("{url} is no address: {error}")))?;
        let mut origin = Origin::of(&uri).map_err(|why| Trouble::Nonsense(why.into()))?;
        let mut visited = vec![uri.clone()];
        // Whoever is not the endpoint may not send the token back to it either: it would choose what is asked in the
        // user's name.
        let mut at_home = true;
        loop {
            at_home &= origin == self.home;
            let mut request = self.agent.get(&uri);
            if let Some(range) = range {
                request = request.header(header::RANGE, range);
            }
            if let Some(token) = self.authorization.as_ref().filter(|_| at_home) {
                request = request.header(header::AUTHORIZATION, token.clone());
            }
            let (parts, body) = request
                .call()
                .map_err(|error| trouble(&error))?
                .into_parts();
            let mut answer = Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                origin: origin.to_string(),
                elsewhere: None,
                body,
            };
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let stray = |why: String| Trouble::Redirect(format!("{origin} {why}"));
            let location = answer
                .headers
                .get(header::LOCATION)
                .map(|location| visible(location.as_bytes()))
                .ok_or_else(|| stray("redirects without saying where to".into()))?;
            // What follows the question mark may be a signature, which is as good as a password.
            let shown = location.split('?').next().unwrap_or_default();
            let next = join(&uri, &location)
                .ok_or_else(|| stray(format!("redirects to {shown:?}, which is no address")))?;
            let target =
                Origin::of(&next).map_err(|why| stray(format!("redirects to {shown:?}: {why}")))?;
            if leaves_encryption(&origin, &target) {
                return Err(stray(format!(
                    "redirects to {target}, which is not encrypted"
                )));
            }
            if visited.contains(&next) {
                return Err(stray("redirects in a circle".into()));
            }
            if visited.len() > HOPS {
                return Err(stray(format!("redirects after {HOPS} other redirects")));
            }
            if !abroad && target != self.home {
                answer.elsewhere = Some(next.to_string());
                return Ok(answer);
            }
            visited.push(next.clone());
            (uri, origin) = (next, target);
        }
    }
}

fn leaves_encryption(origin: &Origin, target: &Origin) -> bool {
    origin.https && !target.https
}

/// A header's text; bytes that no address has, as servers write names in UTF-8, are escaped.
fn visible(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes.trim_ascii() {
        if byte.is_ascii_graphic() || byte == b' ' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The address that a `Location` means, seen from the address that was asked (RFC 3986, section 5.2).
fn join(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.trim();
    let location = location.split_once('#').map_or(location, |(head, _)| head);
    let before_path = location.split(['/', '?']).next().unwrap_or_default();
    if before_path.contains(':') {
        return location.parse().ok();
    }
    let (authority, reference): (Authority, &str) = match location.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            (rest[..end].parse().ok()?, &rest[end..])
        }
        None => (base.authority()?.clone(), location),
    };
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let path = match path {
        "" if location.starts_with("//") => "/".to_owned(),
        "" => base.path().to_owned(),
        absolute if absolute.starts_with('/') => without_dots(absolute),
        relative => {
            let folder = base
                .path()
                .rfind('/')
                .map_or("/", |end| &base.path()[..=end]);
            without_dots(&format!("{folder}{relative}"))
        }
    };
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    Uri::builder()
        .scheme(base.scheme()?.clone())
        .authority(authority)
        .path_and_query(target)
        .build()
        .ok()
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut open = false;
    for part in path.split('/').skip(1) {
        open = matches!(part, "." | "..");
        match part {
            "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    if open {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

fn trouble(error: &ureq::Error) -> Trouble {
    match error {
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Protocol(_)
        | ureq::Error::Tls(_)
        | ureq::Error::Rustls(_)
        | ureq::Error::ConnectProxyFailed(_) => Trouble::Network(reason(error)),
        error => Trouble::Nonsense(error.to_string()),
    }
}

fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
            "it does not accept a connection".into()
        }
        ureq::Error::Timeout(_) => "it went silent".into(),
        error => error.to_string(),
    }
}

/// An error that came while a body was read, in words.
pub(crate) fn describe(error: &io::Error) -> String {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<ureq::Error>())
    {
        Some(error) => reason(error),
        None => error.to_string(),
    }
}

/// Reads a body as long as it comes at all: one that comes a byte now and then ends in an error.
#[derive(Debug)]
pub(crate) struct Steady<R> {
    body: R,
    pace: Pace,
}

impl<R: Read> Steady<R> {
    pub(crate) fn new(body: R, stall: Duration) -> Self {
        Self {
            body,
            pace: Pace::new(Instant::now(), stall),
        }
    }
}

impl<R: Read> Read for Steady<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer)?;
        if read > 0 && !self.pace.keeps_up(Instant::now(), read as u64) {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "fewer than {LEAST} bytes came in {} s",
                    self.pace.stall.as_secs_f64()
                ),
            ));
        }
        Ok(read)
    }
}

/// How fast something comes.
#[derive(Debug)]
struct Pace {
    since: Instant,
    bytes: u64,
    stall: Duration,
}

impl Pace {
    fn new(now: Instant, stall: Duration) -> Self {
        Self {
            since: now,
            bytes: 0,
            stall,
        }
    }

    /// Counts what has come; whether it is enough for the time that it took.
    fn keeps_up(&mut self, now: Instant, bytes: u64) -> bool {
        self.bytes += bytes;
        if self.bytes >= LEAST {
            (self.since, self.bytes) = (now, 0);
            return true;
        }
        now.saturating_duration_since(self.since) <= self.stall
    }
}

/// How long to wait before a request is made again, `None` where the server asks for more patience than there is.
pub(crate) fn pause(failures: u32, asked: Option<u64>) -> Option<Duration> {
    match asked {
        Some(seconds) if seconds > PATIENCE => None,
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => Some(Duration::from_millis(300 << failures.min(5))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_redirect_leads() {
        let base: Uri = "http://u:p@h:81/a/b/c?x=1".parse().unwrap();
        for (location, target) in [
            ("https://other/f?s=1#top", "https://other/f?s=1"),
            ("//other:82/f", "http://other:82/f"),
            ("//other", "http://other/"),
            ("/f", "http://u:p@h:81/f"),
            ("f?y=a:/2", "http://u:p@h:81/a/b/f?y=a:/2"),
            ("../f", "http://u:p@h:81/a/f"),
            ("../../../f/./g/..", "http://u:p@h:81/f/"),
            ("?y", "http://u:p@h:81/a/b/c?y"),
            ("", "http://u:p@h:81/a/b/c"),
        ] {
            let found = join(&base, location).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), Some(target), "{location}");
        }
        for bad in ["http://", "//", "/a b", "//a b/c", "http://[::1/"] {
            let origin = join(&base, bad).and_then(|uri| Origin::of(&uri).ok());
            assert_eq!(origin, None, "{bad}");
        }
        let file = join(&base, "file:///etc/passwd").map(|uri| Origin::of(&uri).is_ok());
        assert_ne!(file, Some(true));
    }

    #[test]
    fn a_name_in_utf_8_is_an_address_too() {
        assert_eq!(visible(" /modèle/f?s=1 ".as_bytes()), "/mod%C3%A8le/f?s=1");
        assert_eq!(visible(b"/a b\x00"), "/a b%00");
        let base: Uri = "https://h/a".parse().unwrap();
        let target = join(&base, &visible("/modèle".as_bytes())).unwrap();
        assert_eq!(target.to_string(), "https://h/mod%C3%A8le");
    }

    #[test]
    fn encryption_is_not_left() {
        let origin = |text: &str| Origin::of(&text.parse().unwrap()).unwrap();
        let (open, closed) = (origin("http://h"), origin("https://h"));
        assert!(leaves_encryption(&closed, &open));
        for (from, to) in [(&closed, &closed), (&open, &closed), (&open, &open)] {
            assert!(!leaves_encryption(from, to), "{from} {to}");
        }
    }

    #[test]
    fn origins_are_told_apart() {
        let origin = |text: &str| Origin::of(&text.parse().unwrap()).unwrap();
        assert_eq!(origin("https://Hub.co/x"), origin("https://hub.co:443/y"));
        for other in [
            "http://hub.co",
            "https://hub.co:444",
            "https://hub.co.evil",
            "https://hub.co@evil",
            "https://a.hub.co",
        ] {
            assert_ne!(origin("https://hub.co"), origin(other), "{other}");
        }
        assert_eq!(origin("https://hub.co@evil/").to_string(), "https://evil");
        assert_eq!(
            origin("http://127.0.0.1:81/").to_string(),
            "http://127.0.0.1:81"
        );
    }

    #[test]
    fn a_trickle_is_no_stream() {
        let start = Instant::now();
        let second = |n: u64| start + Duration::from_secs(n);
        let mut pace = Pace::new(start, Duration::from_secs(30));
        assert!(pace.keeps_up(second(29), 1));
        assert!(pace.keeps_up(second(29), LEAST));
        // A pause that is made good counts for nothing later.
        assert!(pace.keeps_up(second(58), LEAST));
        assert!((59..=88).all(|n| pace.keeps_up(second(n), 1)));
        assert!(!pace.keeps_up(second(89), 1));
    }

    #[test]
    fn pauses() {
        let millis = |failures| pause(failures, None).map(|wait| wait.as_millis());
        assert_eq!([0, 1, 5, 99].map(millis), [300, 600, 9600, 9600].map(Some));
        assert_eq!(pause(0, Some(0)), Some(Duration::ZERO));
        assert_eq!(pause(9, Some(60)), Some(Duration::from_secs(60)));
        assert_eq!(pause(0, Some(61)), None);
    }

    #[test]
    fn content_ranges() {
        let range = |first, total| Some(ContentRange { first, total });
        assert_eq!(
            ContentRange::parse("bytes 5-9/10"),
            range(Some(5), Some(10))
        );
        assert_eq!(ContentRange::parse("bytes */0"), range(None, Some(0)));
        assert_eq!(ContentRange::parse("bytes 0-0/*"), range(Some(0), None));
        for bad in [
            "5-9/10",
            "bytes 5/10",
            "bytes -1-2/3",
            "bytes 0-0/x",
            "bytes",
        ] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
    }
}
