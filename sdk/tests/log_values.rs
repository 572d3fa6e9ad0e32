//! Key-values of `log`: errors, structures and long texts, in a separate process.

use std::error::Error;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, Mutex};

use logtracer_sdk::{Format, Logging, Project};
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Debug)]
struct Outer(std::io::Error);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot open basket")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[derive(Serialize)]
struct User<'a> {
    name: &'a str,
    age: Option<u8>,
    roles: Vec<Role>,
    limits: std::collections::BTreeMap<u32, f64>,
    nothing: (),
    raw: (bool, char, i128),
    price: f32,
}

#[derive(Serialize)]
enum Role {
    Admin,
    Of(&'static str),
    Two(u8, u8),
    In { team: &'static str },
}

/// A type whose `Debug` differs from what it serializes to.
#[derive(Debug, Serialize)]
struct OrderId(String);

#[derive(Debug, Serialize)]
enum Stock {
    #[serde(rename = "in-stock")]
    InStock,
}

/// A list in itself, many times.
struct Deep;

impl Serialize for Deep {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq([Deep, Deep])
    }
}

/// A path that is not UTF-8, which cannot be serialized.
#[derive(Serialize)]
struct Upload {
    size: u64,
    file: std::path::PathBuf,
}

/// A list for `sval`.
struct Numbers;

impl sval::Value for Numbers {
    fn stream<'sval, S: sval::Stream<'sval> + ?Sized>(&'sval self, stream: &mut S) -> sval::Result {
        stream.seq_begin(Some(2))?;
        for number in [1, 2] {
            stream.seq_value_begin()?;
            stream.i64(number)?;
            stream.seq_value_end()?;
        }
        stream.seq_end()
    }
}

#[test]
fn key_values_of_records() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let logging = Logging::new(Project::none(), "shop").format(Format::Local).ignore_environment();
    let logging = logging.output(move |line| {
        sink.lock().unwrap().push(serde_json::from_slice::<Value>(line).unwrap());
    });
    let _handle = logging.install().unwrap();
    let next = || lines.lock().unwrap().pop().unwrap();

    // The causes of an error, each once.
    let error = Outer(std::io::Error::other("disk full"));
    log::error!(err:err = error; "failed");
    assert_eq!(next()["err"], "cannot open basket: disk full");
    let boxed: Box<dyn Error> = Box::new(Outer(std::io::Error::other("disk full")));
    log::error!(error:err = *boxed, other:err = std::fmt::Error; "failed");
    let line = next();
    assert_eq!(
        (&line["error"], &line["other"]),
        (&json!("cannot open basket: disk full"), &json!(std::fmt::Error.to_string()))
    );

    // A structure is nested JSON.
    let user = User {
        name: "ada \"l\"\n",
        age: None,
        roles: vec![Role::Admin, Role::Of("data"), Role::Two(1, 2), Role::In { team: "x" }],
        limits: [(7, 0.5)].into(),
        nothing: (),
        raw: (true, 'é', -1),
        price: 9.99,
    };
    log::info!(user:serde = user, number:serde = 7, text:serde = "plain", none:serde = None::<u8>, numbers:sval = Numbers; "hi");
    let line = next();
    // `to_value` makes an `f64` of an `f32`.
    let expected: Value = serde_json::from_str(&serde_json::to_string(&user).unwrap()).unwrap();
    assert_eq!(line["user"], expected);
    assert!(line["user"].to_string().contains("\"price\":9.99,"), "{}", line["user"]);
    assert_eq!((&line["number"], &line["text"], &line["none"]), (&json!(7), &json!("plain"), &Value::Null));
    assert_eq!(line["numbers"], json!([1, 2]));

    // A value that serializes to a text is that text, also as a label.
    let id = OrderId("a \"7\"".to_owned());
    log::info!(id:serde = id, stock:serde = Stock::InStock, letter:serde = 'c', coupon:serde = Some("X1"), "labels.id":serde = id; "hi");
    let line = next();
    assert_eq!((&line["id"], &line["stock"]), (&json!("a \"7\""), &json!("in-stock")));
    assert_eq!((&line["letter"], &line["coupon"]), (&json!("c"), &json!("X1")));
    assert_eq!(line["labels"]["id"], "a \"7\"");
    log::info!(long:serde = OrderId("x".repeat(20_000)); "cut");
    assert!(next()["long"].as_str().unwrap().ends_with(" bytes cut]…"));

    // A structure without an end is cut, and stays valid.
    log::info!(deep:serde = Deep, many:serde = (0..100_000).collect::<Vec<u32>>(); "cut");
    let line = next();
    let many = line["many"].as_array().unwrap();
    assert_eq!((many.len(), &many[1023], &many[1024]), (1025, &json!(1023), &json!("…")));
    let depth = std::iter::successors(Some(&line["deep"]), |value| value.get(0)).count();
    assert_eq!(depth, 17, "{}", line["deep"]);
    assert!(line["deep"].to_string().len() < 16 * 1024);

    // A value that fails is cut, wherever it is, and the line stays valid.
    let file: std::path::PathBuf = std::ffi::OsString::from_vec(b"caf\xe9".to_vec()).into();
    let upload = Upload { size: 7, file: file.clone() };
    let map = std::collections::BTreeMap::from([("a", upload)]);
    log::info!(plain:serde = file, list:serde = ["ok".as_ref(), file.as_path()], map:serde = map, after = 1; "failed");
    let line = next();
    assert_eq!(line["map"], json!({"a": {"size": 7, "file": "…"}}));
    assert_eq!((&line["list"], &line["after"]), (&json!(["ok", "…"]), &json!(1)));

    // A text that is cut names the number of bytes.
    log::info!(long = "x".repeat(1 << 20), debug:? = "y".repeat(20_000); "cut");
    let line = next();
    for (name, whole) in [("long", 1 << 20), ("debug", 20_002)] {
        let (kept, mark) = line[name].as_str().unwrap().split_once(" [").unwrap();
        let cut: usize = mark.strip_suffix(" bytes cut]…").unwrap().parse().unwrap();
        assert_eq!(kept.len() + cut, whole, "{name}");
    }
}
