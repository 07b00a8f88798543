//! Supervision leaves no trace: a page sees what it sees in the same browser with nobody attached.

use std::collections::BTreeSet;

use chaser::{
    instance::{self, substrate::chromium},
    profile::Catalogue,
    runtime::Tasks,
};
use serde_json::{Value, json};

use super::{
    driver::{Driver, Tool},
    matrix::chaser_with_sites,
    site::PHONE,
};
use crate::harness::{Page, Plain, lab};

const PAGE: &str = "<!doctype html><title>traces</title><link rel=icon href=data:,>\
    <meta name=viewport content='width=device-width, initial-scale=1'>";

/// Names, the source of every built-in function and getter, and what else an injected script or an
/// attached debugger is known by.
const LOOK: &str = "(() => {\
    const own = (object) => Object.getOwnPropertyNames(object).sort();\
    const sources = {};\
    for (const name of own(window)) {\
      const of = window[name];\
      if (typeof of !== 'function') continue;\
      for (const [where, holder] of [[name, of], [`${name}.prototype`, of.prototype]]) {\
        if (!holder) continue;\
        for (const [key, property] of Object.entries(Object.getOwnPropertyDescriptors(holder))) {\
          for (const part of ['get', 'set', 'value']) {\
            if (typeof property[part] === 'function')\
              sources[`${where}.${key} ${part}`] = Function.prototype.toString.call(property[part]);\
          }\
        }\
      }\
    }\
    let looked = false;\
    const error = new Error();\
    Object.defineProperty(error, 'stack', { get() { looked = true; } });\
    console.debug(error);\
    return {\
      window: own(window), document: own(document), navigator: own(navigator), sources,\
      attributes: document.documentElement.getAttributeNames(),\
      scripts: document.scripts.length,\
      entries: [...new Set(performance.getEntries().map((entry) => entry.entryType))].sort(),\
      resources: performance.getEntriesByType('resource').length,\
      stack: new Error().stack.split('\\n').length,\
      'console looks at its arguments': looked,\
    };\
  })()";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_sees_nothing_of_the_supervision() {
    let ((lab, origin), tasks) = (lab(), Tasks::default());
    let chaser = chaser_with_sites(&lab, &origin, &tasks).await;
    origin.publish(
        "/p/traces",
        Page {
            headers: vec![("content-type", "text/html".to_owned())],
            content: PAGE.to_owned(),
        },
    );
    let session = chaser.api.ready_session().await;
    let mut driver = Tool::RawCdp.connect(&session.cdp_url).await;
    driver.goto(&format!("{PHONE}/p/traces")).await;
    let supervised = driver.evaluate(LOOK).await;
    let plain = unsupervised().await;
    let differs = differences(&plain, &supervised);
    assert!(differs.is_empty(), "plain → supervised {differs:#?}");

    // What would be seen of an injected script.
    let params = json!({ "source": INJECTED });
    driver.raw("Page.enable", json!({})).await;
    driver
        .raw("Page.addScriptToEvaluateOnNewDocument", params)
        .await;
    driver.goto(&format!("{PHONE}/p/traces?again")).await;
    let injected = differences(&plain, &driver.evaluate(LOOK).await).join(" ");
    for trace in ["leftover", "Navigator.prototype.platform get"] {
        assert!(injected.contains(trace), "{trace}: {injected}");
    }
}

const INJECTED: &str = "window.leftover = 1;\
    Object.defineProperty(Navigator.prototype, 'platform', { get: () => 'another' });";

fn differences(plain: &Value, supervised: &Value) -> Vec<String> {
    let all = plain.as_object().unwrap().iter();
    all.flat_map(|(what, of_plain)| {
        let differs = difference(of_plain, &supervised[what]);
        differs.into_iter().map(move |one| format!("{what} {one}"))
    })
    .collect()
}

/// The same page in the same browser, alone; its own localhost is as secure as https.
async fn unsupervised() -> Value {
    let profile = Catalogue::built_in().default_profile();
    let config = instance::Config {
        image: "chaser/chromium:latest".to_owned(),
        ..instance::Config::default()
    };
    let spec = chromium::container(&config.image, &profile, &config);
    let plain = Plain::start(&spec, PAGE);
    let mut cdp = plain.cdp().await;
    let page = cdp.attach().await;
    let mut driver = Driver::Raw { cdp, page };
    driver.goto("http://localhost/p/traces").await;
    driver.evaluate(LOOK).await
}

/// Members that only one has, and those that are another; a value by itself is one member.
fn difference(plain: &Value, supervised: &Value) -> Vec<String> {
    let members = |value: &Value| -> BTreeSet<String> {
        match value {
            Value::Array(items) => items.iter().map(Value::to_string).collect(),
            Value::Object(members) => {
                let one = |(key, value): (&String, &Value)| format!("{key}: {value}");
                members.iter().map(one).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                [value.to_string()].into()
            }
        }
    };
    let (plain, supervised) = (members(plain), members(supervised));
    let gone = plain.difference(&supervised).map(|one| format!("- {one}"));
    let new = supervised.difference(&plain).map(|one| format!("+ {one}"));
    gone.chain(new).collect()
}
