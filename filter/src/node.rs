//! [`Node`]: what the proxy knows about itself and its workload.
//!
//! Istio writes the workload's facts into the metadata of Envoy's node. Read in Istio 1.31: `pkg/bootstrap/config.go` and
//! `pkg/model/proxy.go`, and `pkg/bootstrap/platform` for the cloud's.

use crate::config;
use crate::host::NodeHost;

/// What the proxy knows about itself and its workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// The name of the service, unless the configuration has one.
    pub service_name: Option<String>,
    /// The Kubernetes namespace of the workload.
    pub namespace: Option<String>,
    /// The Google Cloud project, unless the configuration has one.
    pub project_id: Option<String>,
    /// True for a gateway of a mesh. Its listeners are outbound, but it is a server for its callers.
    pub is_gateway: bool,
    /// The name of this plugin in the proxy's configuration.
    pub plugin_name: Option<String>,
    /// Attributes of the resource besides its service and its project, by OpenTelemetry's semantic conventions.
    ///
    /// <https://opentelemetry.io/docs/specs/semconv/resource/>
    pub attributes: Vec<(String, String)>,
}

const LABELS: [&str; 2] = ["metadata", "LABELS"];
const PLATFORM: [&str; 2] = ["metadata", "PLATFORM_METADATA"];

impl Node {
    /// Reads the node of the proxy, with Istio's metadata if it is there.
    pub fn read(host: &impl NodeHost) -> Self {
        let text = |path: &[&str]| host.node_text(path).filter(|text| !text.is_empty());
        let metadata = |key: &str| text(&["metadata", key]);
        let platform = |key: &str| text(&[PLATFORM[0], PLATFORM[1], key]);
        let label = |key: &str| Self::label(host, key);

        let namespace = metadata("NAMESPACE");
        let gcp_project = platform("gcp_project").filter(|project| config::is_project_id(project));
        let mut attributes = Attributes::default();
        attributes.add("service.namespace", namespace.clone());
        attributes.add("service.version", version(&label));
        attributes.add("k8s.namespace.name", namespace.clone());
        attributes.add("k8s.pod.name", metadata("NAME").filter(|_| namespace.is_some()));
        attributes.add("k8s.node.name", metadata("NODE_NAME"));
        attributes.add("k8s.cluster.name", platform("gcp_gke_cluster_name").or_else(|| cluster(&metadata)));
        if let Some((kind, name)) = metadata("OWNER").as_deref().and_then(owner) {
            attributes.add(kind, Some(name.to_owned()));
        }
        let aws_account = platform("aws_account_id");
        let provider = match (&gcp_project, &aws_account) {
            (Some(_), _) => Some("gcp"),
            (None, Some(_)) => Some("aws"),
            (None, None) => None,
        };
        attributes.add("cloud.provider", provider.map(str::to_owned));
        attributes.add("cloud.account.id", gcp_project.clone().or(aws_account));
        let locality = |key: &str| text(&["locality", key]);
        attributes.add("cloud.region", locality("region").or_else(|| platform("aws_region")));
        attributes.add("cloud.availability_zone", locality("zone"));
        Self {
            service_name: service_name(&label, &text),
            project_id: gcp_project,
            // Istio's node ids are `sidecar~<ip>~<pod>~<domain>` and `router~…`.
            is_gateway: text(&["id"]).is_some_and(|id| id.starts_with("router~")),
            plugin_name: host.plugin_name(),
            namespace,
            attributes: attributes.0,
        }
    }

    /// Returns the value of a label of the workload.
    pub fn label(host: &impl NodeHost, key: &str) -> Option<String> {
        host.node_text(&[LABELS[0], LABELS[1], key])
    }

    /// Creates the node of a proxy that cannot read its own, from the variables of its environment
    /// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
    ///
    /// <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>
    ///
    /// ```
    /// use logtracer_filter::Node;
    ///
    /// let node = Node::from_environment(None, Some("service.name=shop,k8s.namespace.name=team%20a"));
    /// assert_eq!(node.service_name.as_deref(), Some("shop"));
    /// assert_eq!(node.namespace.as_deref(), Some("team a"));
    /// ```
    pub fn from_environment(service_name: Option<&str>, resource_attributes: Option<&str>) -> Self {
        let pairs = resource_attributes.unwrap_or_default().split(',');
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        let mut attributes: Vec<(String, String)> = pairs
            .map(|(key, value)| (key.trim().to_owned(), percent_decoded(value.trim())))
            .filter(|(key, value)| !key.is_empty() && !value.is_empty())
            .collect();
        let value =
            |key: &str| attributes.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone());
        let is_gcp = value("cloud.provider").is_some_and(|provider| provider == "gcp");
        let node = Self {
            service_name: service_name
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .or(value("service.name")),
            namespace: value("k8s.namespace.name").or(value("service.namespace")),
            project_id: value("gcp.project_id").or(value("cloud.account.id").filter(|_| is_gcp)),
            ..Self::default()
        };
        // The resource has these in any case.
        attributes.retain(|(key, _)| key != "service.name" && key != "gcp.project_id");
        Self { attributes, ..node }
    }
}

#[derive(Default)]
struct Attributes(Vec<(String, String)>);

impl Attributes {
    fn add(&mut self, key: &str, value: Option<String>) {
        self.0.extend(value.map(|value| (key.to_owned(), value)));
    }
}

/// Returns the name of the service: Istio's canonical service, or else the cluster of the node.
fn service_name(
    label: &impl Fn(&str) -> Option<String>,
    text: &impl Fn(&[&str]) -> Option<String>,
) -> Option<String> {
    let non_empty = |key: &str| label(key).filter(|name| !name.is_empty());
    non_empty("service.istio.io/canonical-name").or_else(|| non_empty("app")).or_else(|| text(&["cluster"]))
}

/// Returns the version of the workload. Without one, Istio's canonical revision is `latest`.
fn version(label: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let keys = ["app.kubernetes.io/version", "version", "service.istio.io/canonical-revision"];
    keys.into_iter().filter_map(label).find(|version| !version.is_empty() && version != "latest")
}

/// Returns the name of the cluster. Istio's default, the same in every mesh, is not a name.
fn cluster(metadata: &impl Fn(&str) -> Option<String>) -> Option<String> {
    metadata("CLUSTER_ID").filter(|name| name != "Kubernetes")
}

/// Returns the attribute and the name of the workload, from
/// `kubernetes://apis/apps/v1/namespaces/<namespace>/deployments/<name>`.
fn owner(owner: &str) -> Option<(&'static str, &str)> {
    let mut parts = owner.rsplit('/');
    let (name, kind) = (parts.next()?, parts.next()?);
    let attribute = match kind {
        "deployments" => "k8s.deployment.name",
        "statefulsets" => "k8s.statefulset.name",
        "daemonsets" => "k8s.daemonset.name",
        "replicasets" => "k8s.replicaset.name",
        "jobs" => "k8s.job.name",
        "cronjobs" => "k8s.cronjob.name",
        _ => return None,
    };
    (!name.is_empty()).then_some((attribute, name))
}

/// Decodes `%20` and the like. A malformed sequence stays as it is.
fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node with these texts, by their paths.
    struct FakeNode<'t>(&'t [(&'t str, &'t str)]);

    impl NodeHost for FakeNode<'_> {
        fn node_text(&self, path: &[&str]) -> Option<String> {
            let path = path.join(" ");
            self.0.iter().find(|(known, _)| *known == path).map(|(_, text)| (*text).to_owned())
        }

        fn plugin_name(&self) -> Option<String> {
            None
        }
    }

    const OF_ISTIO: [(&str, &str); 12] = [
        ("id", "sidecar~10.0.0.1~cart-6d4cf56db6-8x2nq.shop~shop.svc.cluster.local"),
        ("cluster", "cart.shop"),
        ("locality region", "europe-west1"),
        ("locality zone", "europe-west1-b"),
        ("metadata NAMESPACE", "shop"),
        ("metadata NAME", "cart-6d4cf56db6-8x2nq"),
        ("metadata CLUSTER_ID", "Kubernetes"),
        ("metadata OWNER", "kubernetes://apis/apps/v1/namespaces/shop/deployments/cart"),
        ("metadata LABELS service.istio.io/canonical-name", "cart"),
        ("metadata LABELS service.istio.io/canonical-revision", "latest"),
        ("metadata PLATFORM_METADATA gcp_project", "shop-prod"),
        ("metadata PLATFORM_METADATA gcp_gke_cluster_name", "blue"),
    ];

    #[test]
    fn the_metadata_of_istio_becomes_a_resource() {
        let node = Node::read(&FakeNode(&OF_ISTIO));
        let attributes: Vec<_> =
            node.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            attributes,
            [
                ("service.namespace", "shop"),
                ("k8s.namespace.name", "shop"),
                ("k8s.pod.name", "cart-6d4cf56db6-8x2nq"),
                ("k8s.cluster.name", "blue"),
                ("k8s.deployment.name", "cart"),
                ("cloud.provider", "gcp"),
                ("cloud.account.id", "shop-prod"),
                ("cloud.region", "europe-west1"),
                ("cloud.availability_zone", "europe-west1-b"),
            ]
        );
        let names = (node.service_name, node.namespace, node.project_id);
        assert_eq!(names, (Some("cart".into()), Some("shop".into()), Some("shop-prod".into())));
        assert!(!node.is_gateway);
    }

    #[test]
    fn an_envoy_without_istio_has_a_name_only() {
        let node = Node::read(&FakeNode(&[("id", "edge"), ("cluster", "edge"), ("metadata NAME", "x")]));
        assert_eq!(node, Node { service_name: Some("edge".into()), ..Node::default() });
        assert_eq!(Node::read(&FakeNode(&[])), Node::default());
    }

    #[test]
    fn names_are_found_in_their_order() {
        let service = |texts: &[(&str, &str)]| Node::read(&FakeNode(texts)).service_name;
        let app = ("metadata LABELS app", "app");
        assert_eq!(service(&[app, ("cluster", "c")]).as_deref(), Some("app"));
        assert_eq!(service(&[("metadata LABELS app", ""), ("cluster", "c")]).as_deref(), Some("c"));
        let attribute = |texts: &[(&str, &str)], wanted: &str| {
            let attributes = Node::read(&FakeNode(texts)).attributes;
            attributes.into_iter().find(|(key, _)| key == wanted).map(|(_, value)| value)
        };
        for (label, value, expected) in [
            ("app.kubernetes.io/version", "1.2", Some("1.2")),
            ("version", "v2", Some("v2")),
            ("service.istio.io/canonical-revision", "v3", Some("v3")),
            ("service.istio.io/canonical-revision", "latest", None),
            ("version", "", None),
        ] {
            let path = format!("metadata LABELS {label}");
            assert_eq!(
                attribute(&[(&path, value)], "service.version").as_deref(),
                expected,
                "{label}={value}"
            );
        }
        for (kind, key) in [
            ("deployments", "k8s.deployment.name"),
            ("statefulsets", "k8s.statefulset.name"),
            ("daemonsets", "k8s.daemonset.name"),
            ("replicasets", "k8s.replicaset.name"),
            ("jobs", "k8s.job.name"),
            ("cronjobs", "k8s.cronjob.name"),
        ] {
            let owner = format!("kubernetes://apis/apps/v1/namespaces/shop/{kind}/cart");
            assert_eq!(attribute(&[("metadata OWNER", &owner)], key).as_deref(), Some("cart"));
        }
        for malformed in ["", "cart", "kubernetes://apis/v1/namespaces/shop/things/cart", "x/deployments/"] {
            assert_eq!(
                Node::read(&FakeNode(&[("metadata OWNER", malformed)])),
                Node::default(),
                "{malformed}"
            );
        }
        let cluster = |name| attribute(&[("metadata CLUSTER_ID", name)], "k8s.cluster.name");
        assert_eq!(
            cluster("cn-shop-prod-europe-west1-blue").as_deref(),
            Some("cn-shop-prod-europe-west1-blue")
        );
        assert_eq!(cluster("Kubernetes"), None);
        let aws: &[_] = &[
            ("metadata PLATFORM_METADATA aws_account_id", "1234"),
            ("metadata PLATFORM_METADATA aws_region", "eu-west-1"),
        ];
        assert_eq!(attribute(aws, "cloud.provider").as_deref(), Some("aws"));
        assert_eq!(attribute(aws, "cloud.account.id").as_deref(), Some("1234"));
        assert_eq!(attribute(aws, "cloud.region").as_deref(), Some("eu-west-1"));
        assert!(Node::read(&FakeNode(&[("id", "router~10.0.0.1~gw.shop~d")])).is_gateway);
    }

    #[test]
    fn the_environment_has_names_and_attributes() {
        let node = Node::from_environment(
            Some("cart"),
            Some(
                "service.name=other, k8s.namespace.name = shop ,team=a%2Cb%,cloud.provider=gcp,cloud.account.id=p,=x,y=,z",
            ),
        );
        let names = (node.service_name.as_deref(), node.namespace.as_deref(), node.project_id.as_deref());
        assert_eq!(names, (Some("cart"), Some("shop"), Some("p")));
        let attributes: Vec<_> =
            node.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            attributes,
            ["k8s.namespace.name=shop", "team=a,b%", "cloud.provider=gcp", "cloud.account.id=p"]
        );
        assert_eq!(Node::from_environment(Some(""), None), Node::default());
        let aws = Node::from_environment(None, Some("cloud.provider=aws,cloud.account.id=1"));
        assert_eq!(aws.project_id, None);
        let explicit = Node::from_environment(None, Some("gcp.project_id=q,cloud.account.id=1"));
        assert_eq!(explicit.project_id.as_deref(), Some("q"));
    }
}
