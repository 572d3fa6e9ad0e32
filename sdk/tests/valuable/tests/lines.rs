//! Values of `valuable` are nested JSON: in fields of events and of spans, and within bounds.

use std::collections::BTreeMap;

use logtracer_sdk::testing::capture;
use serde_json::json;
use valuable::{Valuable, Value, Visit};

#[derive(Valuable)]
struct User {
    name: &'static str,
    age: Option<u8>,
    roles: Vec<Role>,
    bytes: Vec<u8>,
    limits: BTreeMap<&'static str, f64>,
    numbers: BTreeMap<u32, bool>,
    pair: (i64, char),
    nothing: (),
    id: Id,
    ids: Vec<Id>,
    price: f32,
    tuple: (u8,),
    point: Point,
}

#[derive(Valuable, Clone, Copy)]
struct Id(u64);

#[derive(Valuable)]
struct Name(&'static str);

#[derive(Valuable)]
struct Point(i8, i8);

#[derive(Valuable)]
enum Role {
    Admin,
    Of(&'static str),
    By(Id),
    At(u8, u8),
    In { team: &'static str },
}

/// A list in itself, without an end.
struct Deep;

impl Valuable for Deep {
    fn as_value(&self) -> Value<'_> {
        Value::Listable(self)
    }

    fn visit(&self, visit: &mut dyn Visit) {
        visit.visit_value(self.as_value());
    }
}

impl valuable::Listable for Deep {
    fn size_hint(&self) -> (usize, Option<usize>) {
        (1, Some(1))
    }
}

/// A newtype of itself, without an end.
struct Wrapped;

impl Valuable for Wrapped {
    fn as_value(&self) -> Value<'_> {
        Value::Structable(self)
    }

    fn visit(&self, visit: &mut dyn Visit) {
        visit.visit_unnamed_fields(&[self.as_value()]);
    }
}

impl valuable::Structable for Wrapped {
    fn definition(&self) -> valuable::StructDef<'_> {
        valuable::StructDef::new_static("Wrapped", valuable::Fields::Unnamed(1))
    }
}

/// A newtype without a field.
struct Hollow;

impl Valuable for Hollow {
    fn as_value(&self) -> Value<'_> {
        Value::Structable(self)
    }

    fn visit(&self, _visit: &mut dyn Visit) {}
}

impl valuable::Structable for Hollow {
    fn definition(&self) -> valuable::StructDef<'_> {
        valuable::StructDef::new_static("Hollow", valuable::Fields::Unnamed(1))
    }
}

#[test]
fn values_are_nested_json() {
    let user = User {
        name: "ada \"l\"",
        age: None,
        roles: vec![Role::Admin, Role::Of("data"), Role::By(Id(7)), Role::At(1, 2), Role::In { team: "x" }],
        bytes: vec![1, 2],
        limits: [("cpu", 0.5)].into(),
        numbers: [(7, true)].into(),
        pair: (-1, 'é'),
        nothing: (),
        id: Id(7),
        ids: vec![Id(1), Id(2)],
        price: 9.99,
        tuple: (1,),
        point: Point(3, -4),
    };
    let lines = capture(|| {
        let _span = tracing::info_span!("span", of_span = user.as_value()).entered();
        tracing::info!(user = user.as_value(), text = "plain".as_value(), number = 7.as_value(), "hi");
        tracing::info!(labels.id = Id(7).as_value(), labels.name = Name("ada").as_value(), "labels");
        tracing::info!(wrapped = Wrapped.as_value(), hollow = [Hollow, Hollow].as_value(), "odd");
    });
    let expected = json!({
        "name": "ada \"l\"", "age": null,
        "roles": ["Admin", { "Of": "data" }, { "By": 7 }, { "At": [1, 2] }, { "In": { "team": "x" } }],
        "bytes": [1, 2], "limits": { "cpu": 0.5 }, "numbers": { "7": true }, "pair": [-1, "é"], "nothing": null,
        "id": 7, "ids": [1, 2], "price": 9.99, "tuple": [1], "point": [3, -4],
    });
    assert_eq!((&lines[0]["user"], &lines[0]["of_span"]), (&expected, &expected));
    assert_eq!((&lines[0]["text"], &lines[0]["number"]), (&json!("plain"), &json!(7)));
    assert_eq!(lines[1]["labels"], json!({ "id": "7", "name": "ada" }));
    assert_eq!((&lines[2]["wrapped"], &lines[2]["hollow"]), (&json!("…"), &json!([null, null])));
}

#[test]
fn what_exceeds_a_bound_is_cut() {
    let many: Vec<String> = (0..100_000).map(|number| number.to_string()).collect();
    let numbers: Vec<u64> = (0..100_000).collect();
    let lines = capture(|| {
        tracing::info!(deep = Deep.as_value(), many = many.as_value(), numbers = numbers.as_value(), "cut");
    });
    let depth = std::iter::successors(Some(&lines[0]["deep"]), |value| value.get(0)).count();
    assert_eq!(depth, 17);
    for list in ["many", "numbers"] {
        let list = lines[0][list].as_array().unwrap();
        assert_eq!((list.len(), &list[1024]), (1025, &json!("…")));
    }
}
