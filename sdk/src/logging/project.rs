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

    /// Returns the project that `GOOGLE_CLOUD_PROJECT` names, or else the one of the machine, from the metadata server
    /// of Google Cloud; or none.
    ///
    /// It waits for the metadata server, at most for two seconds: call it once, at the start. Outside of Google Cloud
    /// it usually returns at once, because the name of the server does not exist there.
    /// The variable `GCE_METADATA_HOST` names another server, as for Google's libraries.
    ///
    /// ```
    /// use logtracer_sdk::Project;
    ///
    /// let start = std::time::Instant::now();
    /// let project = Project::detect();
    /// assert!(project.id() != Some("") && start.elapsed().as_secs() < 5);
    /// ```
    #[cfg(feature = "spans")]
    #[cfg_attr(docsrs, doc(cfg(feature = "spans")))]
    pub fn detect() -> Self {
        let project = Self::from_env();
        if project.id.is_some() { project } else { super::metadata_server::project_id().into() }
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
