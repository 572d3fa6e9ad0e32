//! The files that pages load. They are part of the program.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

const FILES: [(&str, &str, &str); 11] = [
    ("style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("list.css", "text/css; charset=utf-8", include_str!("assets/list.css")),
    ("list.js", "text/javascript; charset=utf-8", include_str!("assets/list.js")),
    ("live.js", "text/javascript; charset=utf-8", include_str!("assets/live.js")),
    ("arrival.js", "text/javascript; charset=utf-8", include_str!("assets/arrival.js")),
    ("trace.css", "text/css; charset=utf-8", include_str!("assets/trace.css")),
    ("trace.js", "text/javascript; charset=utf-8", include_str!("assets/trace.js")),
    ("trace-rows.js", "text/javascript; charset=utf-8", include_str!("assets/trace-rows.js")),
    ("trace-live.js", "text/javascript; charset=utf-8", include_str!("assets/trace-live.js")),
    ("values.js", "text/javascript; charset=utf-8", include_str!("assets/values.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// `GET /assets/{name}`.
pub(super) async fn get(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(file, _, _)| *file == name) {
        Some((_, content_type, text)) => {
            // The browser revalidates with each page load, so that an update of the program is effective at once.
            let headers = [(header::CONTENT_TYPE, *content_type), (header::CACHE_CONTROL, "no-cache")];
            (headers, *text).into_response()
        }
        None => (StatusCode::NOT_FOUND, "file not found\n").into_response(),
    }
}
