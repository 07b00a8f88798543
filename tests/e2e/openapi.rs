//! The published description of the API, held against what the API really answers.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Chaser, lab, session_id};

/// What of JSON Schema the document uses; a word that is not known here fails the test.
fn conforms(document: &Value, schema: &Value, value: &Value, at: &str) {
    for (word, rule) in schema.as_object().unwrap() {
        match word.as_str() {
            "$ref" => {
                let pointer = rule.as_str().unwrap().trim_start_matches('#');
                conforms(document, document.pointer(pointer).unwrap(), value, at);
            }
            "type" => {
                let is = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(_) => "integer",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                let known =
                    rule == is || rule.as_array().is_some_and(|all| all.contains(&is.into()));
                assert!(known, "{at} is {is}, not {rule}: {value}");
            }
            "const" => assert_eq!(value, rule, "{at}"),
            "enum" => assert!(rule.as_array().unwrap().contains(value), "{at}: {value}"),
            "required" => {
                for name in rule.as_array().unwrap() {
                    let there = value.get(name.as_str().unwrap());
                    assert!(there.is_some(), "{at} has no {name}: {value}");
                }
            }
            "properties" => {
                for (name, value) in value.as_object().unwrap() {
                    let rule = rule.get(name);
                    let rule = rule.unwrap_or_else(|| panic!("{at}.{name} is not described"));
                    conforms(document, rule, value, &format!("{at}.{name}"));
                }
            }
            "items" => {
                for item in value.as_array().unwrap() {
                    conforms(document, rule, item, &format!("{at}[]"));
                }
            }
            "minimum" => assert!(value.as_i64() >= rule.as_i64(), "{at}: {value}"),
            "pattern" | "format" | "description" | "default" | "additionalProperties" => {}
            other => panic!("{at}: the test does not know `{other}`"),
        }
    }
}

/// One call, whose answer must be one of those described for it.
async fn call(
    chaser: &Chaser,
    document: &Value,
    call: (&str, &str, &str),
    body: Option<Value>,
) -> Answer {
    let (method, template, path) = call;
    let verb = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let answer = chaser
        .api
        .call(verb, path, body.map(|body| body.to_string()))
        .await;
    let described = &document["paths"][template][method]["responses"][answer.status.as_str()];
    let status = answer.status;
    assert!(
        described.is_object(),
        "{method} {template}: {status} is not described"
    );
    match described.pointer("/content/application~1json/schema") {
        Some(schema) => conforms(document, schema, &answer.body, template),
        None => assert_eq!(answer.body, Value::Null, "{template}"),
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_one_that_the_document_describes() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let url = format!("{}/api-docs/openapi.json", chaser.api.base());
    let text = chaser
        .api
        .http()
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(
        paths,
        ["/v1/sessions", "/v1/sessions/{id}"],
        "and nothing else"
    );
    let doc = &document;

    let all = "/v1/sessions";
    let one = "/v1/sessions/{id}";
    let made = call(
        &chaser,
        doc,
        ("post", all, all),
        Some(json!({ "ttl_seconds": 600 })),
    )
    .await;
    assert_eq!(made.status, 201);
    let waits = format!("{all}?wait=ready");
    let ready = call(&chaser, doc, ("post", all, &waits), None).await;
    assert_eq!(ready.body["status"], "ready");
    let path = format!("{all}/{}", ready.body["id"].as_str().unwrap());
    for (method, template, path, status) in [
        ("get", one, path.as_str(), 200),
        ("get", all, all, 200),
        ("get", all, "/v1/sessions?limit=0", 400),
        ("delete", one, &path, 204),
        ("delete", one, &path, 409),
        ("get", one, &path, 200),
        ("get", one, &format!("{all}/{}", session_id()), 404),
    ] {
        let answer = call(&chaser, doc, (method, template, path), None).await;
        assert_eq!(answer.status, status, "{method} {path}");
    }
    let wrong = call(
        &chaser,
        doc,
        ("post", all, all),
        Some(json!({ "ttl_seconds": 1 })),
    )
    .await;
    assert_eq!(wrong.status, 400);
    let stranger = chaser.api.with_key("sk_nobody").get(all).await;
    assert_eq!(stranger.status, 401);
    let error = json!({ "$ref": "#/components/schemas/Error" });
    conforms(doc, &error, &stranger.body, "stranger");
}
