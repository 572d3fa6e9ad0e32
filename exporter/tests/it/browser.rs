//! A real browser: Chromium without a window, driven over WebDriver.

use logtracer_harness::webdriver::{self, Driver};
use serde_json::{Value, json};

/// A running browser. It is closed when dropped.
pub(crate) struct Browser {
    _driver: Driver,
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
        let mut driver = Driver::start(environment).expect("chromedriver");
        let mut args = vec!["--window-size=1280,900", "--host-resolver-rules=MAP *.example 127.0.0.1"];
        args.extend(options);
        let client = reqwest::Client::new();
        let opened = post(&client, &driver.new_session_url(), &webdriver::new_session(&args)).await;
        let session = driver.opened(&opened).expect("a session");
        Self { _driver: driver, session, client }
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
        let mut response = post(&self.client, &format!("{}{command}", self.session), &body).await;
        response["value"].take()
    }
}

async fn post(client: &reqwest::Client, url: &str, body: &Value) -> Value {
    let request = client.post(url).header("content-type", "application/json").body(body.to_string());
    let text = request.send().await.expect("a response").text().await.expect("a body");
    let response: Value = serde_json::from_str(&text).expect("JSON");
    assert!(response["value"].get("error").is_none(), "{url}: {response}");
    response
}
