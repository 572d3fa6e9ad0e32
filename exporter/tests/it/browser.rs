//! A real browser: Chromium without a window, driven over WebDriver.
//!
//! See <https://www.w3.org/TR/webdriver2/>.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// A running browser. It is closed when dropped.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    client: reqwest::Client,
}

impl Browser {
    /// Starts the browser. It resolves the names below `example` to 127.0.0.1.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts the browser with further options.
    pub(crate) async fn start_with(options: &[&str]) -> Self {
        Self::start_as(options, &[]).await
    }

    /// Starts the browser of somebody who lives in this time zone.
    pub(crate) async fn start_in_zone(zone: &str) -> Self {
        Self::start_as(&[], &[("TZ", zone)]).await
    }

    async fn start_as(options: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is required: apt-get install chromium chromium-driver");
        let mut lines = BufReader::new(driver.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            line.split_once("successfully on port ").map(|(_, port)| port.trim_end_matches('.').to_owned())
        });
        let url = format!("http://127.0.0.1:{}/session", port.expect("a line with the port"));
        // The driver must not block when it writes more lines.
        std::thread::spawn(move || lines.for_each(drop));
        let mut args = vec![
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1280,900",
            "--host-resolver-rules=MAP *.example 127.0.0.1",
        ];
        args.extend(options);
        let capabilities = json!({ "alwaysMatch": { "goog:chromeOptions": { "args": args } } });
        let mut browser = Self { driver, session: url, client: reqwest::Client::new() };
        let session = browser.call("", json!({ "capabilities": capabilities })).await;
        let id = session["sessionId"].as_str().expect("an id").to_owned();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    /// Opens a page, and waits until it is loaded.
    pub(crate) async fn open(&self, url: &str) {
        self.call("/url", json!({ "url": url })).await;
    }

    /// Opens an empty tab, in which the next pages are opened. Returns its name.
    pub(crate) async fn new_tab(&self) -> String {
        let tab = self.call("/window/new", json!({ "type": "tab" })).await;
        let name = tab["handle"].as_str().expect("a name").to_owned();
        self.show_tab(&name).await;
        name
    }

    /// Shows a tab.
    pub(crate) async fn show_tab(&self, name: &str) {
        self.call("/window", json!({ "handle": name })).await;
    }

    /// Runs the body of a function in the page. Returns its result, or that of its promise.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.call("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Sets the size of the window, and the preferences of its user, such as `prefers-color-scheme`.
    pub(crate) async fn emulate(&self, width: u32, height: u32, media: &[(&str, &str)]) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        let features: Vec<Value> =
            media.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        for (command, parameters) in [
            ("Emulation.setDeviceMetricsOverride", size),
            ("Emulation.setEmulatedMedia", json!({ "features": features })),
        ] {
            self.call("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await;
        }
    }

    async fn call(&self, command: &str, body: Value) -> Value {
        let post = self.client.post(format!("{}{command}", self.session));
        let response = post.header("content-type", "application/json").body(body.to_string()).send().await;
        let text = response.expect("a response").text().await.expect("a body");
        let response: Value = serde_json::from_str(&text).expect("JSON");
        let value = response["value"].clone();
        assert!(value.get("error").is_none(), "{command}: {value}");
        value
    }
}

impl Drop for Browser {
    /// Ends the browser, and then the driver. The driver ends the browser before it responds.
    fn drop(&mut self) {
        let end = || {
            let rest = self.session.strip_prefix("http://")?;
            let (address, path) = rest.split_once('/')?;
            let mut stream = std::net::TcpStream::connect(address).ok()?;
            let request = format!("DELETE /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
            std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
            // The driver keeps the connection open.
            stream.read(&mut [0; 1024]).ok()
        };
        end();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
