//! A real Chromium without a window, driven by its own protocol over two pipes.
//!
//! The pipes need no port and no library: each message is JSON and ends with a zero byte
//! (`--remote-debugging-pipe`: file 3 is read, file 4 is written).

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Command;

use nix::sys::stat::Mode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Process, temp_dir, tool, wait_for};

/// A browser with one page.
pub(crate) struct Browser {
    to: File,
    from: BufReader<File>,
    calls: u64,
    session: Option<String>,
    /// What the page threw, logged, or was refused.
    complaints: Vec<String>,
    _process: Process,
    _dir: TempDir,
}

impl Browser {
    /// Starts a browser; its page is empty.
    pub(crate) fn start() -> Self {
        let dir = temp_dir();
        let path = |name: &str| dir.path().join(name);
        let (orders, answers) = (path("orders"), path("answers"));
        for pipe in [&orders, &answers] {
            nix::unistd::mkfifo(pipe, Mode::S_IRWXU).expect("make a pipe");
        }
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" 3<\"$ORDERS\" 4>\"$ANSWERS\""])
            .arg(tool("chromium"))
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--hide-scrollbars",
            ])
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", path("profile").display()))
            .env("HOME", dir.path())
            .env("ORDERS", &orders)
            .env("ANSWERS", &answers);
        let process = Process::start(&mut command, &path("log"));
        // Each of these waits for the other end.
        let to = File::options()
            .write(true)
            .open(&orders)
            .expect("open a pipe");
        let from = File::open(&answers).expect("open a pipe");
        let mut browser = Self {
            to,
            from: BufReader::new(from),
            calls: 0,
            session: None,
            complaints: Vec::new(),
            _process: process,
            _dir: dir,
        };
        let page = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Asks for something and waits for the answer.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut order = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            order["sessionId"] = json!(session);
        }
        let mut bytes = order.to_string().into_bytes();
        bytes.push(0);
        self.to
            .write_all(&bytes)
            .expect("send an order to Chromium");
        loop {
            let answer = self.next();
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.note(&answer);
        }
    }

    fn next(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from
            .read_until(0, &mut bytes)
            .expect("read from Chromium");
        assert_eq!(bytes.pop(), Some(0), "Chromium has ended");
        serde_json::from_slice(&bytes).expect("Chromium sends JSON")
    }

    fn note(&mut self, event: &Value) {
        let what = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(what["exceptionDetails"].to_string());
            }
            Some("Log.entryAdded") if what["entry"]["source"] != "network" => {
                self.complaints.push(what["entry"].to_string());
            }
            Some("Page.javascriptDialogOpening") => self.complaints.push(what.to_string()),
            _ => {}
        }
    }

    /// What the page threw, logged, or was refused until now, but for connections that broke.
    pub(crate) fn complaints(&mut self) -> &[String] {
        // Whatever has been said before an answer is read with it.
        self.value("0");
        &self.complaints
    }

    /// Goes to a page.
    pub(crate) fn go(&mut self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
    }

    /// The value of an expression of the page; a promise is waited for.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let ask = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &ask);
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(crate) fn wait(&mut self, expression: &str) {
        let guarded =
            format!("(() => {{ try {{ return !!({expression}) }} catch {{ return false }} }})()");
        wait_for(expression, || (self.value(&guarded) == true).then_some(()));
    }

    /// Presses a key as a person does.
    pub(crate) fn press(&mut self, key: &str) {
        let text = match key {
            "Enter" => "\r",
            "Tab" => "\t",
            _ if key.chars().count() == 1 => key,
            _ => "",
        };
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => 0,
        };
        let mut event = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code});
        if !text.is_empty() {
            event["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", &event);
        self.call(
            "Input.dispatchKeyEvent",
            &json!({"type": "keyUp", "key": key}),
        );
    }

    /// Types a text.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// Makes the page so large, and light or dark.
    pub(crate) fn resize(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &scheme);
    }

    /// Keeps a picture of the page, for people, below `target/dashboard`.
    pub(crate) fn picture(&mut self, name: &str) -> PathBuf {
        let answer = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let data = answer["data"].as_str().expect("a picture").to_owned();
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
        std::fs::create_dir_all(&dir).expect("make a directory for pictures");
        let path = dir.join(format!("{name}.png"));
        let bytes = base64(&data);
        std::fs::write(&path, bytes).expect("write a picture");
        path
    }
}

/// Reads base64 without line breaks.
fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| -> Option<u32> {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        Some(u32::from(digit))
    };
    let digits: Vec<u32> = text.bytes().filter_map(digit).collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let all = four
            .iter()
            .enumerate()
            .map(|(at, digit)| digit << (18 - 6 * at));
        let number: u32 = all.sum();
        number.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}
