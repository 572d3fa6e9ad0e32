//! The description of the API.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// OpenAPI 3.1, see <https://spec.openapis.org/oas/v3.1.0>.
const OPENAPI: &str = include_str!("openapi.json");

/// `GET /api/openapi.json`.
pub(in crate::view) async fn get() -> Response {
    ([(header::CONTENT_TYPE, super::JSON)], OPENAPI).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::parameters::{LinesQuery, TracesQuery};
    use serde_json::Value;

    /// The description has the parameters that the server accepts, and no others.
    #[test]
    fn the_parameters_are_those_of_the_server() {
        let openapi: Value = serde_json::from_str(OPENAPI).unwrap();
        let names = |path: &str| -> Vec<String> {
            let parameters = openapi["paths"][path]["get"]["parameters"].as_array().unwrap();
            let name = |parameter: &Value| match parameter["$ref"].as_str() {
                Some(reference) => {
                    openapi.pointer(reference.trim_start_matches('#')).unwrap()["name"].clone()
                }
                None => parameter["name"].clone(),
            };
            parameters.iter().map(|parameter| name(parameter).as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("/api/traces"), TracesQuery::NAMES);
        assert_eq!(names("/api/logs"), LinesQuery::NAMES);
        assert_eq!(names("/api/services"), ["from", "to"]);
        assert_eq!(names("/api/routes"), ["service", "from", "to"]);
    }
}
