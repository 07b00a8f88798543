//! Two web sites that look at whoever visits them.
//!
//! Every document of theirs is probed by its first inline script and again once it is laid out, and
//! tells the origin what it saw; so does every worker. `phone.test` asks for all client hints,
//! `other.test` is another site and never hears them.

use serde::Deserialize;
use serde_json::Value;

use crate::harness::{Origin, Page, eventually, seconds};

pub const PHONE: &str = "https://phone.test";
pub const OTHER: &str = "https://other.test";
const REPORTS: &str = "/report";
/// What every document sends when it is left.
pub const BYE: &str = "/bye";
pub const PROBE: &str = include_str!("probe.js");

/// The hints that a server has to ask for.
pub const HINTS: [&str; 8] = [
    "sec-ch-ua-arch",
    "sec-ch-ua-bitness",
    "sec-ch-ua-form-factors",
    "sec-ch-ua-full-version",
    "sec-ch-ua-full-version-list",
    "sec-ch-ua-model",
    "sec-ch-ua-platform-version",
    "sec-ch-ua-wow64",
];

/// Beside them: what the device is made of.
pub const DEVICE_HINTS: [&str; 2] = ["sec-ch-device-memory", "sec-ch-dpr"];

const META: &str = "<meta name=viewport content='width=device-width, initial-scale=1'>";

/// What one target told.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    pub target: String,
    /// How a document came about: `navigate`, `reload`, `back_forward`, …
    pub r#type: String,
    pub secure: bool,
    pub first: Value,
    pub later: Value,
    pub high: Value,
}

/// Publishes everything on the origin, which answers for both names.
pub fn publish(origin: &Origin) {
    let hints = [&HINTS[..], &DEVICE_HINTS[..]].concat().join(", ");
    let html = |path: &str, content: String| {
        let headers = vec![
            ("content-type", "text/html; charset=utf-8".to_owned()),
            ("accept-ch", hints.clone()),
        ];
        origin.publish(path, Page { headers, content });
    };
    let script = |path: &str, content: String| {
        let headers = vec![("content-type", "text/javascript".to_owned())];
        origin.publish(path, Page { headers, content });
    };
    origin.publish(
        REPORTS,
        Page {
            headers: vec![("access-control-allow-origin", "*".to_owned())],
            content: String::new(),
        },
    );

    html(
        "/p/first",
        document("first page", META, &everything(), "{ gl: true }"),
    );
    html("/p/hints", plain("hints"));
    html("/p/cross", plain("cross-site"));
    html("/p/popup", plain("popup"));
    html("/p/popup-cross", plain("popup, cross-site"));
    html("/p/link", plain("popup by link"));
    html("/p/noopener", plain("popup, noopener"));
    html("/p/new-page", plain("new page"));
    html("/p/new-context", plain("new context"));
    html(
        "/p/prerendering",
        document("prerendering", META, RULES, "{}"),
    );
    html("/p/prerendered", plain("speculated page"));
    html(
        "/p/wide",
        document("no viewport meta", "", &long_text(), "{}"),
    );
    html("/f/same", document("same-site frame", META, "", "{}"));
    html(
        "/f/cross",
        document("cross-site frame", META, &nested(), "{ gl: true }"),
    );
    html("/f/nested", document("nested frame", META, "", "{}"));
    script("/w/dedicated.js", worker("dedicated worker", OUTER));
    script("/w/inner.js", worker("worker in a worker", ""));
    script("/w/framed.js", worker("worker in a cross-site frame", ""));
    script("/w/shared.js", worker("shared worker", ""));
    script("/w/service.js", worker("service worker", SERVICE));
}

/// The report of a target that came about in this way, as soon as it is there.
pub async fn report(origin: &Origin, target: &str, r#type: &str) -> Report {
    let what = format!("the {target} ({type}) reports");
    eventually(&what, seconds(20), async || {
        let posted = origin.posted(REPORTS);
        let mut reports = posted.iter().map(|body| parse(body));
        reports.find(|report| report.target == target && report.r#type == r#type)
    })
    .await
}

fn parse(body: &str) -> Report {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("no report ({error}): {body}"))
}

// === what the pages are made of ===

fn probe() -> String {
    format!("const REPORT_TO = '{PHONE}{REPORTS}';\n{PROBE}")
}

/// A document that probes itself: the first script is the first thing after the viewport's meta.
fn document(target: &str, meta: &str, body: &str, options: &str) -> String {
    let probe = probe();
    format!(
        "<!doctype html>{meta}<script>{probe}\nconst FIRST = probe();\
         addEventListener('pagehide', () => navigator.sendBeacon('{BYE}'));</script><title>{target}</title>\
         <body>{body}<script>report({target:?}, FIRST, {options});</script>"
    )
}

fn plain(target: &str) -> String {
    let link = "<a id=link target=_blank href=/p/link>link</a>";
    document(target, META, link, "{}")
}

fn worker(target: &str, more: &str) -> String {
    let probe = probe();
    let gl = target == "dedicated worker";
    format!("{probe}\nconst FIRST = probe();\nreport({target:?}, FIRST, {{ gl: {gl} }});\n{more}")
}

/// Frames and workers of all kinds.
fn everything() -> String {
    let frame = |target: &str| {
        let content = format!("{:?}", document(target, META, "", "{}"));
        content.replace("</script>", "<\\/script>")
    };
    let (srcdoc, data, blob) = (frame("srcdoc"), frame("data frame"), frame("blob frame"));
    format!(
        "<iframe src=/f/same></iframe><iframe src={OTHER}/f/cross></iframe>\
         <script>{{\
           const add = (set) => {{ const f = document.createElement('iframe'); set(f); document.body.append(f); }};\
           add((f) => {{ f.srcdoc = {srcdoc}; }});\
           add((f) => {{ f.src = 'data:text/html;charset=utf-8,' + encodeURIComponent({data}); }});\
           add((f) => {{ f.src = URL.createObjectURL(new Blob([{blob}], {{ type: 'text/html' }})); }});\
         }}\
         window.workers = [new Worker('/w/dedicated.js'), new SharedWorker('/w/shared.js')];\
         navigator.serviceWorker.register('/w/service.js');</script>"
    )
}

fn nested() -> String {
    format!(
        "<iframe src={PHONE}/f/nested></iframe>\
         <script>window.worker = new Worker('/w/framed.js');</script>"
    )
}

fn long_text() -> String {
    let words =
        "A phone sets long paragraphs on wide pages larger than they are styled. ".repeat(40);
    format!("<p id=text style='font-size:10px'>{words}</p>")
}

/// A worker is in a worker.
const OUTER: &str = "self.inner = new Worker('/w/inner.js');";

/// It takes over nobody.
const SERVICE: &str = "self.addEventListener('install', () => self.skipWaiting());";

const RULES: &str = "<script type=speculationrules>\
    { \"prerender\": [{ \"source\": \"list\", \"urls\": [\"/p/prerendered\"], \"eagerness\": \"immediate\" }] }\
    </script>";

/// A script that opens a `blob:` document as a popup.
pub fn open_blob(target: &str) -> String {
    let content = document(target, META, "", "{}");
    format!(
        "void window.open(URL.createObjectURL(new Blob([{content:?}], {{ type: 'text/html' }})))"
    )
}

/// A `data:` document with a viewport meta and nothing else.
pub fn data_page() -> String {
    format!("data:text/html,{}<p>data</p>", META.replace(' ', "%20"))
}
