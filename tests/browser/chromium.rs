//! A browser for tests, and what can be done with a page of it.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::support::{PATIENCE, skip};

/// Names of the program.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// One browser at a time: they are large.
static ONE: Mutex<()> = Mutex::new(());

/// A browser with one page; it ends when it is dropped, whatever state it is in.
pub struct Browser {
    process: Child,
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    last_id: u64,
    events: VecDeque<Value>,
    /// What the page complained of: errors of scripts, violations of the policy, dialogs.
    problems: Vec<String>,
    /// What was asked of the network.
    requests: Vec<String>,
    _folder: tempfile::TempDir,
    _one: MutexGuard<'static, ()>,
}

/// The middle of an element in the window.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub x: f64,
    pub y: f64,
}

impl Browser {
    /// A browser with an empty page; `None`, said aloud, where there is no Chromium.
    pub fn start() -> Option<Self> {
        let Some(program) = find() else {
            let needed = std::env::var("BENCHDB_TESTS_NEED_CHROMIUM").is_ok_and(|value| value == "1");
            assert!(!needed, "BENCHDB_TESTS_NEED_CHROMIUM is 1, but there is no Chromium on this machine");
            skip("there is no Chromium here, so no page was looked at: apt-get install chromium");
            return None;
        };
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::Builder::new().prefix("benchdb-chromium-").tempdir().unwrap();
        let mut process = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio"])
            .args(["--remote-debugging-port=0", "--window-size=1280,900", "--hide-scrollbars", "--lang=en-US"])
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let Some(endpoint) = endpoint(folder.path()) else {
            let _ = process.kill();
            let _ = process.wait();
            panic!("Chromium does not answer");
        };
        let (port, path) = endpoint;
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(format!("ws://127.0.0.1:{port}{path}"), stream).unwrap();
        let mut browser = Self {
            process,
            socket,
            session: None,
            last_id: 0,
            events: VecDeque::new(),
            problems: Vec::new(),
            requests: Vec::new(),
            _folder: folder,
            _one: one,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached =
            browser.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network", "DOM", "Accessibility"] {
            browser.call(&[domain, ".enable"].concat(), json!({}));
        }
        Some(browser)
    }

    /// Asks the page (or, before there is one, the browser), and waits for the answer.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        let answer = self.try_call(method, parameters);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(message.to_string())).map_err(|error| error.to_string())?;
        loop {
            let mut message = self.next_message()?;
            if message["id"] == id {
                return match message.get("error") {
                    Some(error) => Err(error.to_string()),
                    None => Ok(message["result"].take()),
                };
            }
            self.notice(message);
        }
    }

    fn next_message(&mut self) -> Result<Value, String> {
        loop {
            match self.socket.read().map_err(|error| error.to_string())? {
                Message::Text(text) => return serde_json::from_str(&text).map_err(|error| error.to_string()),
                Message::Close(_) => return Err("the browser has gone".to_owned()),
                _ => {}
            }
        }
    }

    /// Keeps an event, and what it says against the page.
    fn notice(&mut self, event: Value) {
        let details = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => self.problems.push(details["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" => self.problems.push(details["args"].to_string()),
            "Log.entryAdded" => self.problems.push(details["entry"].to_string()),
            "Page.javascriptDialogOpening" => self.problems.push(format!("a dialog: {}", details["message"])),
            "Network.requestWillBeSent" => {
                self.requests.push(details["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            _ => {}
        }
        self.events.push_back(event);
    }

    #[track_caller]
    fn wait_for_event(&mut self, method: &str) -> Value {
        let start = Instant::now();
        loop {
            if let Some(index) = self.events.iter().position(|event| event["method"] == method) {
                return self.events.remove(index).unwrap();
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain for {method}");
            let event = self.next_message().unwrap_or_else(|error| panic!("{method}: {error}"));
            self.notice(event);
        }
    }

    /// Opens an address and waits until all of it is there.
    #[track_caller]
    pub fn open(&mut self, address: &str) {
        self.events.clear();
        let answer = self.call("Page.navigate", json!({ "url": address }));
        assert!(answer["errorText"].is_null(), "{address}: {answer}");
        self.wait_for_event("Page.loadEventFired");
    }

    /// Clicks on what leads to another page, and waits until all of that is there.
    #[track_caller]
    pub fn follow(&mut self, selector: &str) {
        self.events.clear();
        self.click(selector);
        self.wait_for_event("Page.loadEventFired");
    }

    /// Opens a file.
    #[track_caller]
    pub fn open_file(&mut self, path: &Path) {
        self.open(&format!("file://{}", path.display()));
    }

    /// The value of an expression on the page.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// The value of an expression that is a text.
    #[track_caller]
    pub fn text(&mut self, expression: &str) -> String {
        let value = self.value(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} is {value}")).to_owned()
    }

    /// The value of an expression that is a list of texts.
    #[track_caller]
    pub fn texts(&mut self, expression: &str) -> Vec<String> {
        let value = self.value(expression);
        let list = value.as_array().unwrap_or_else(|| panic!("{expression} is {value}"));
        list.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The middle of what a selector finds, after it was scrolled to.
    #[track_caller]
    pub fn place_of(&mut self, selector: &str) -> Place {
        let selector = json!(selector);
        let found = self.value(&format!(
            "(() => {{ const found = document.querySelector({selector}); if (!found) return null;
               found.scrollIntoView({{ block: 'center', inline: 'center', behavior: 'instant' }});
               const box = found.getBoundingClientRect();
               return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        ));
        assert!(found.is_array(), "there is no {selector}");
        Place { x: found[0].as_f64().unwrap(), y: found[1].as_f64().unwrap() }
    }

    /// Clicks with the mouse where a selector finds something.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let place = self.place_of(selector);
        self.point_at(place);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": place.x, "y": place.y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Moves the mouse.
    pub fn point_at(&mut self, place: Place) {
        self.call("Input.dispatchMouseEvent", json!({ "type": "mouseMoved", "x": place.x, "y": place.y }));
    }

    /// Puts the focus on what a selector finds.
    #[track_caller]
    pub fn focus(&mut self, selector: &str) {
        let is_there = self.value(&format!(
            "(() => {{ const found = document.querySelector({}); found?.focus(); return document.activeElement === found; }})()",
            json!(selector)
        ));
        assert_eq!(is_there, true, "{selector} does not take the focus");
    }

    /// Presses a key: `Enter`, `ArrowDown`, ` `.
    pub fn press(&mut self, key: &str) {
        let (code, number, text) = match key {
            "Enter" => ("Enter", 13, "\r"),
            " " => ("Space", 32, " "),
            "Tab" => ("Tab", 9, ""),
            "Escape" => ("Escape", 27, ""),
            "ArrowDown" => ("ArrowDown", 40, ""),
            "ArrowRight" => ("ArrowRight", 39, ""),
            "ArrowLeft" => ("ArrowLeft", 37, ""),
            "Home" => ("Home", 36, ""),
            "End" => ("End", 35, ""),
            "PageDown" => ("PageDown", 34, ""),
            other => panic!("no key {other}"),
        };
        let event = |kind: &str| json!({ "type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number, "text": text });
        self.call("Input.dispatchKeyEvent", event(if text.is_empty() { "rawKeyDown" } else { "keyDown" }));
        let mut up = event("keyUp");
        up["text"] = json!("");
        self.call("Input.dispatchKeyEvent", up);
    }

    /// Types a text where the focus is.
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Shows the page as somebody with this medium (`screen`, `print`) and colours (`light`, `dark`) sees it.
    pub fn look(&mut self, medium: &str, colours: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": colours }]);
        self.call("Emulation.setEmulatedMedia", json!({ "media": medium, "features": features }));
    }

    /// Gives the window another width.
    pub fn width(&mut self, width: u32) {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// From the next page on no script of a page runs.
    pub fn without_scripts(&mut self) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    }

    /// Everything that a screen reader finds: roles with their names.
    pub fn accessible(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] != true);
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        nodes.map(|node| (text(&node["role"]), text(&node["name"]))).collect()
    }

    /// A picture of the whole page, in `$BENCHDB_SCREENSHOTS` or the folder for temporary files.
    pub fn screenshot(&mut self, name: &str) -> PathBuf {
        let folder = std::env::var_os("BENCHDB_SCREENSHOTS").map_or_else(std::env::temp_dir, PathBuf::from);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("benchdb-{name}.png"));
        let taken = self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        std::fs::write(&path, BASE64.decode(taken["data"].as_str().unwrap().as_bytes()).unwrap()).unwrap();
        path
    }

    /// The page as it is printed.
    pub fn print(&mut self, name: &str) -> Vec<u8> {
        let printed = self.call("Page.printToPDF", json!({ "preferCSSPageSize": true }));
        let document = BASE64.decode(printed["data"].as_str().unwrap().as_bytes()).unwrap();
        if let Some(folder) = std::env::var_os("BENCHDB_SCREENSHOTS") {
            std::fs::write(Path::new(&folder).join(format!("benchdb-{name}.pdf")), &document).unwrap();
        }
        document
    }

    /// What the page complained of, up to now.
    pub fn problems(&mut self) -> Vec<String> {
        // Whatever happened before this answer was said before it.
        self.value("0");
        std::mem::take(&mut self.problems)
    }

    /// The addresses that were asked for, up to now; those that hold their own content are none.
    pub fn requests(&mut self) -> Vec<String> {
        self.value("0");
        let all = std::mem::take(&mut self.requests);
        all.into_iter().filter(|address| !address.starts_with("data:")).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked first, so that its helpers go, too; and made to, if it does not.
        self.session = None;
        let _ = self.socket.get_mut().set_read_timeout(Some(Duration::from_secs(5)));
        let _ = self.try_call("Browser.close", json!({}));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program, where it is.
fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    PROGRAMS.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file()))
}

/// Port and path of a browser that has just been started, from the file that it writes.
fn endpoint(folder: &Path) -> Option<(u16, String)> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let text = std::fs::read_to_string(folder.join("DevToolsActivePort")).unwrap_or_default();
        if let Some((port, path)) = text.trim_end().split_once('\n')
            && let Ok(port) = port.parse()
        {
            return Some((port, path.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}
