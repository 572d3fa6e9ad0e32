//! The name of a service in lists, pages and filters. Services with the same name in two namespaces stay apart.

use std::borrow::Cow;

use super::short_name::short;
use crate::otlp::in_place::{AnyRef, ResourceRef};

/// The name of a service whose resource does not name it.
pub(super) const UNKNOWN: &str = "unknown_service";

/// Returns the name of the service of a resource with these text attributes: `NAMESPACE/NAME`, or `NAME` without a
/// namespace. A long name is truncated.
pub(crate) fn service_name<'a>(attributes: impl Iterator<Item = (&'a str, &'a str)>) -> Cow<'a, str> {
    let (mut name, mut namespace, mut of_kubernetes) = ("", "", "");
    for (key, value) in attributes {
        // Of attributes with the same key, the last counts.
        match key {
            "service.name" => name = value,
            "service.namespace" => namespace = value,
            "k8s.namespace.name" => of_kubernetes = value,
            _ => {}
        }
    }
    let namespace = if namespace.is_empty() { of_kubernetes } else { namespace };
    match (namespace, name) {
        (_, "") => UNKNOWN.into(),
        ("", name) => short(name),
        (namespace, name) => short(&format!("{namespace}/{name}")).into_owned().into(),
    }
}

/// Returns the name of the service of a stored resource.
pub(super) fn name_of(resource: ResourceRef<'_>) -> Cow<'_, str> {
    service_name(resource.attributes().iter().filter_map(|(key, value)| match value {
        AnyRef::Text(text) => Some((key, text)),
        _ => None,
    }))
}

/// Returns the name without its namespace.
pub(super) fn without_namespace(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, name)| name)
}

/// Returns whether a service is the wanted one. A wanted name without a namespace means that of any namespace.
pub(crate) fn is_service(name: &str, wanted: &str) -> bool {
    name == wanted || without_namespace(name) == wanted
}

/// Returns whether a line is of the wanted service. A line of a file names its service without a namespace.
pub(super) fn is_service_of_line(name: &str, wanted: &str) -> bool {
    is_service(name, wanted) || name == without_namespace(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_namespace() {
        for (attributes, expected) in [
            (&[("service.name", "cart")][..], "cart"),
            (&[("service.name", "cart"), ("service.namespace", "shop")], "shop/cart"),
            (&[("k8s.namespace.name", "shop"), ("service.name", "cart")], "shop/cart"),
            (
                &[("k8s.namespace.name", "k"), ("service.name", "cart"), ("service.namespace", "shop")],
                "shop/cart",
            ),
            (&[("service.namespace", ""), ("service.name", "cart")], "cart"),
            (&[("service.namespace", "shop")], "unknown_service"),
            (&[("service.name", "")], "unknown_service"),
            (&[("service.name", "first"), ("service.name", "last")], "last"),
            (&[("service.namespace", "a"), ("service.name", "x"), ("service.namespace", "b")], "b/x"),
            (&[], "unknown_service"),
        ] {
            assert_eq!(service_name(attributes.iter().copied()), expected, "{attributes:?}");
        }
        let long = "ü".repeat(300);
        let name = service_name([("service.name", long.as_str()), ("service.namespace", "a")].into_iter());
        assert_eq!((name.chars().count(), name.ends_with('…')), (201, true));
    }

    #[test]
    fn a_name_without_a_namespace_is_wanted_in_all() {
        for (name, wanted, expected) in [
            ("cart", "cart", true),
            ("shop/cart", "cart", true),
            ("shop/cart", "shop/cart", true),
            ("test/cart", "shop/cart", false),
            ("cart", "shop/cart", false),
            ("shop/cart", "shop", false),
            ("shop/mycart", "cart", false),
        ] {
            assert_eq!(is_service(name, wanted), expected, "{name} {wanted}");
        }
        assert!(is_service_of_line("cart", "shop/cart") && is_service_of_line("shop/cart", "cart"));
        assert!(!is_service_of_line("test/cart", "shop/cart") && !is_service_of_line("shop", "shop/cart"));
    }
}
