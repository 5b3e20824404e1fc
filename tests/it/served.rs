//! A server over the database of a sandbox, and requests to it that are written by hand: nothing stands between a test and
//! what goes over the wire.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::{PATIENCE, Sandbox};

/// A server that runs; it ends when it is dropped.
pub struct Served {
    pub child: Child,
    pub address: SocketAddr,
    _stdout: BufReader<ChildStdout>,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// 0 where nothing came back.
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Addresses of links whose text is this.
    pub fn link(&self, text: &str) -> Option<String> {
        let page = self.text();
        let end = page.find(&format!("\">{text}</a>"))?;
        let start = page[..end].rfind("href=\"")? + "href=\"".len();
        Some(unescaped(&page[start..end]))
    }

    /// What the page says how to get the same.
    pub fn commands(&self) -> Vec<String> {
        let page = self.text();
        let after = page.split("The same on the command line</summary>").nth(1).unwrap_or_default();
        let code = after.split("<code>").nth(1).and_then(|rest| rest.split("</code>").next()).unwrap_or_default();
        unescaped(code).lines().filter(|line| line.starts_with("benchdb ")).map(str::to_owned).collect()
    }
}

/// A text of a page as it was before it was escaped.
pub fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

impl Sandbox {
    /// A server over this sandbox's database, on a port that was free.
    #[track_caller]
    pub fn serve(&self, arguments: &[&str]) -> Served {
        let mut command = self.benchdb();
        command.args(["serve", "--port", "0"]).args(arguments);
        Served::start(&mut command)
    }
}

impl Served {
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
        let address = address.unwrap_or_else(|| panic!("no address: `{line}`")).parse().unwrap();
        Self { child, address, _stdout: stdout }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What comes back for these bytes, until the server ends the connection.
    pub fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        // Who is refused early may not have read all.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        parse(&answer)
    }

    /// A request with these lines below the host's.
    pub fn ask(&self, method: &str, target: &str, lines: &[&str]) -> Reply {
        let more: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let address = self.address;
        self.raw(format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n").as_bytes())
    }

    pub fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, &[])
    }

    /// A page that is there.
    #[track_caller]
    pub fn page(&self, target: &str) -> Reply {
        let reply = self.get(target);
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        reply
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(answer: &[u8]) -> Reply {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Reply::default() };
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok()).unwrap_or(0);
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Reply { status, headers, body: answer[end + 4..].to_vec() }
}
