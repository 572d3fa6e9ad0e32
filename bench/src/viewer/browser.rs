//! A Chromium that measures how long a page takes until it can be used.

use logtracer_harness::webdriver::{self, Driver};
use logtracer_harness::{Error, HttpClient, Result, envoy};
use serde_json::{Value, json};

/// A running browser. It is closed when dropped.
pub(super) struct Browser {
    _driver: Driver,
    session: String,
    client: HttpClient,
}

impl Browser {
    pub(super) fn start() -> Result<Self> {
        let mut driver = Driver::start(&[])?;
        let client = envoy::client()?;
        let opened = post(&client, &driver.new_session_url(), &webdriver::new_session(&[]))?;
        let session = driver.opened(&opened)?;
        Ok(Self { _driver: driver, session, client })
    }

    /// Loads a page. Returns the milliseconds from the navigation to the end of its load event: the page is drawn, and
    /// its scripts have run.
    pub(super) fn load(&self, url: &str) -> Result<f64> {
        self.call("url", &json!({ "url": url }))?;
        let script = "return performance.getEntriesByType('navigation')[0].loadEventEnd";
        let millis = self.call("execute/sync", &json!({ "script": script, "args": [] }))?;
        millis.as_f64().filter(|millis| *millis > 0.).ok_or_else(|| Error::new("the page is not loaded"))
    }

    fn call(&self, command: &str, body: &Value) -> Result<Value> {
        let url = format!("{}/{command}", self.session);
        Ok(post(&self.client, &url, body)?["value"].take())
    }
}

fn post(client: &HttpClient, url: &str, body: &Value) -> Result<Value> {
    let response = client.post(url).json(body).send().and_then(|response| response.json::<Value>());
    let response = response.map_err(Error::when(url))?;
    match response["value"].get("error") {
        None => Ok(response),
        Some(_) => Err(Error::new(format!("{url}: {response}"))),
    }
}
