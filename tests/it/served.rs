//! A server over the database of a sandbox, and requests to it that are written by hand: nothing stands between a test and
//! what goes over the wire.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::made::{FIVE, Made, all_taking, of_campaign, times};
use crate::support::{PATIENCE, Sandbox, wait_for};

/// A server that runs; it ends when it is dropped. Its folder stays until then, whatever becomes of the sandbox.
pub struct Served {
    pub child: Child,
    pub address: SocketAddr,
    _stdout: BufReader<ChildStdout>,
    _folder: Arc<TempDir>,
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

/// The texts of a table's cells on a page, row by row.
#[track_caller]
pub fn cells(page: &str, id: &str) -> Vec<Vec<String>> {
    let begins = format!("id=\"{id}\"");
    let table = page.split(&begins).nth(1).unwrap_or_else(|| panic!("no {id} in {page}"));
    let body = table.split("</tbody>").next().and_then(|table| table.split("<tbody>").nth(1)).unwrap_or_default();
    let text = |cell: &str| {
        let content = cell.split_once('>').map_or("", |(_, rest)| rest).split("</td>").next().unwrap_or_default();
        unescaped(&content.replace("<strong>", "").replace("</strong>", ""))
    };
    body.split("<tr>").skip(1).map(|row| row.split("<td").skip(1).map(text).collect()).collect()
}

/// A text of a page as it was before it was escaped.
pub fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// A database with two campaigns, another engine, another device, and a run that broke.
pub fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.take(&of_campaign(all_taking(&FIVE), 1, "before"));
    sandbox.take(&of_campaign(all_taking(&times(&FIVE, 1.5)), 2, "after"));
    let slower = |time: &f64| Made::taking(*time).with("/configuration/engine", "onnxruntime-cuda");
    sandbox.take(&times(&FIVE, 2.0).iter().map(slower).collect::<Vec<_>>());
    let processor = |time: &f64| Made::taking(*time).device("cpu", "CPU Made");
    sandbox.take(&times(&FIVE, 20.0).iter().map(processor).collect::<Vec<_>>());
    sandbox.take(&[Made::taking(10.0).model("vit_b_16").failed()]);
    sandbox
}

/// Every kind of page over that database.
pub fn pages(sandbox: &Sandbox) -> Vec<String> {
    let run = sandbox.count("SELECT min(id) FROM run");
    let configuration = sandbox.count("SELECT configuration_id FROM run ORDER BY id LIMIT 1");
    vec![
        "/".to_owned(),
        "/runs".to_owned(),
        "/runs?model=resnet18&hardware=cuda&rows=3".to_owned(),
        format!("/runs/{run}"),
        "/configurations".to_owned(),
        "/configurations?q=resnet18+cuda".to_owned(),
        format!("/configurations/{configuration}"),
        "/report".to_owned(),
        "/report?label=after&relative-to=engine%3Dpytorch&include-software=on&regression-alert=5%25".to_owned(),
        "/charts".to_owned(),
        "/charts?model=resnet18".to_owned(),
        "/compare".to_owned(),
        "/compare?a.label=before&b.label=after".to_owned(),
        "/compare?a.engine=pytorch&b.engine=onnxruntime-cuda&model=resnet18".to_owned(),
    ]
}

impl Sandbox {
    /// A server over this sandbox's database, on a port that was free.
    #[track_caller]
    pub fn serve(&self, arguments: &[&str]) -> Served {
        let mut command = self.benchdb();
        command.args(["serve", "--port", "0"]).args(arguments).env_remove("BENCHDB_TOKEN");
        self.served_by(&mut command)
    }

    /// What a command of this sandbox serves.
    #[track_caller]
    pub fn served_by(&self, command: &mut Command) -> Served {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
        let address = address.unwrap_or_else(|| panic!("no address: `{line}`")).parse().unwrap();
        Served { child, address, _stdout: stdout, _folder: self.keep() }
    }
}

impl Served {
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

    /// A report of the record as it is: it is written in the background.
    #[track_caller]
    pub fn report(&self, target: &str) -> Reply {
        wait_for("a report", || Some(self.page(target)).filter(|reply| !reply.text().contains("is being made")))
    }

    /// What is said of a chart once nobody says any more when to come back for it.
    #[track_caller]
    pub fn chart(&self, target: &str) -> Reply {
        wait_for("a chart", || Some(self.get(target)).filter(|reply| reply.header("retry-after").is_none()))
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
