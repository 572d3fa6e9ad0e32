//! A Chromium without a window, driven over [WebDriver](https://www.w3.org/TR/webdriver2/), that measures how long a page
//! takes until it can be used.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use logtracer_harness::{Error, HttpClient, Result, envoy};
use serde_json::{Value, json};

/// A running browser. It is closed when dropped.
pub(super) struct Browser {
    driver: Child,
    session: String,
    client: HttpClient,
}

impl Browser {
    pub(super) fn start() -> Result<Self> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::when("chromedriver is required: apt-get install chromium chromium-driver"))?;
        let stdout = driver.stdout.take().ok_or_else(|| Error::new("chromedriver has no stdout"))?;
        let mut browser = Self { driver, session: String::new(), client: envoy::client()? };
        let mut lines = BufReader::new(stdout).lines().map_while(std::result::Result::ok);
        let port = lines
            .find_map(|line| {
                Some(line.split_once("successfully on port ")?.1.trim_end_matches('.').to_owned())
            })
            .ok_or_else(|| Error::new("chromedriver did not start"))?;
        // The driver must not block when it writes more lines.
        std::thread::spawn(move || lines.for_each(drop));
        let sessions = format!("http://127.0.0.1:{port}/session");
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
        let options = json!({ "goog:chromeOptions": { "args": args } });
        let session = browser.post(&sessions, &json!({ "capabilities": { "alwaysMatch": options } }))?;
        let id = session["sessionId"].as_str().ok_or_else(|| Error::new("chromedriver has no session"))?;
        browser.session = format!("{sessions}/{id}");
        Ok(browser)
    }

    /// Loads a page. Returns the milliseconds from the navigation to the end of its load event: the page is drawn, and
    /// its scripts have run.
    pub(super) fn load(&self, url: &str) -> Result<f64> {
        self.post(&format!("{}/url", self.session), &json!({ "url": url }))?;
        let script = "return performance.getEntriesByType('navigation')[0].loadEventEnd";
        let body = json!({ "script": script, "args": [] });
        let millis = self.post(&format!("{}/execute/sync", self.session), &body)?;
        millis.as_f64().filter(|millis| *millis > 0.).ok_or_else(|| Error::new("the page is not loaded"))
    }

    fn post(&self, url: &str, body: &Value) -> Result<Value> {
        let response = self.client.post(url).json(body).send().and_then(|response| response.json::<Value>());
        let value = response.map_err(Error::when(url))?["value"].take();
        match value.get("error") {
            None => Ok(value),
            Some(_) => Err(Error::new(format!("{url}: {value}"))),
        }
    }
}

impl Drop for Browser {
    /// Ends the browser, and then the driver.
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.client.delete(&self.session).send();
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
