//! [`Project`]: where the traces are.

use super::environment::variable;

/// The Google Cloud project that the traces are in.
///
/// With it a line names its trace `projects/P/traces/T`, without it by the bare id.
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
    /// No project.
    ///
    /// ```
    /// use logtracer_sdk::Project;
    ///
    /// assert_eq!(Project::none(), Project::from(""));
    /// ```
    pub fn none() -> Self {
        Self::default()
    }

    /// The project that `GOOGLE_CLOUD_PROJECT` names, or none.
    ///
    /// ```
    /// use logtracer_sdk::Project;
    ///
    /// let named = std::env::var("GOOGLE_CLOUD_PROJECT").ok();
    /// assert_eq!(Project::from_env(), Project::from(named));
    /// ```
    pub fn from_env() -> Self {
        Self { id: variable("GOOGLE_CLOUD_PROJECT") }
    }

    /// The id of the project.
    ///
    /// ```
    /// use logtracer_sdk::Project;
    ///
    /// assert_eq!(Project::from("my-project").id(), Some("my-project"));
    /// ```
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
