//! [`Project`]: the Google Cloud project of the traces.

use super::environment::variable;

/// The Google Cloud project of the traces.
///
/// With a project, a line names its trace `projects/P/traces/T`; without one, it has the trace id only.
///
/// ```
/// use logtracer_sdk::Project;
///
/// assert_eq!(Project::from("my-project").id(), Some("my-project"));
/// assert_eq!(Project::none().id(), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Project {
    id: Option<String>,
}

impl Project {
    /// Returns no project.
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns the project that `GOOGLE_CLOUD_PROJECT` names, or none.
    pub fn from_env() -> Self {
        Self { id: variable("GOOGLE_CLOUD_PROJECT") }
    }

    /// Returns the id of the project.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

impl From<&str> for Project {
    fn from(id: &str) -> Self {
        Self::from(id.to_owned())
    }
}

impl From<String> for Project {
    fn from(id: String) -> Self {
        Self::from(Some(id))
    }
}

impl From<Option<String>> for Project {
    fn from(id: Option<String>) -> Self {
        Self { id: id.filter(|id| !id.is_empty()) }
    }
}
