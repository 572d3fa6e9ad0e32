//! [`ClientTraceLayer`] as a middleware of `reqwest-middleware`.

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next, Result};

use super::outer_call::OuterCall;
use super::{ClientTraceLayer, UrlTemplate};

#[async_trait]
impl Middleware for ClientTraceLayer {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let template = UrlTemplate::of(extensions);
        let outer = OuterCall::of(extensions);
        let send = async |request, call: Option<OuterCall>| {
            let within = Within::new(extensions, call.unwrap_or(outer), outer);
            next.run(request, within.extensions).await
        };
        self.send(request, template, outer, send).await
    }
}

/// The extensions while the middlewares within this one run. A retry around this one passes the same extensions again,
/// also after it has dropped an attempt.
struct Within<'a> {
    extensions: &'a mut Extensions,
    outer: OuterCall,
}

impl<'a> Within<'a> {
    fn new(extensions: &'a mut Extensions, call: OuterCall, outer: OuterCall) -> Self {
        extensions.insert(call);
        Self { extensions, outer }
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        self.extensions.insert(self.outer);
    }
}
