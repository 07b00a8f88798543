//! What a test puts on the origin beside the fixed answers, and what pages send back.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Incoming, header::CACHE_CONTROL};
use parking_lot::Mutex;

use super::answers::Body;

/// One answer: its headers and its content.
pub struct Page {
    pub headers: Vec<(&'static str, String)>,
    pub content: String,
}

#[derive(Default)]
pub struct Published {
    pages: Mutex<BTreeMap<String, Arc<Page>>>,
    posted: Mutex<Vec<(String, String)>>,
}

impl Published {
    pub fn put(&self, path: &str, page: Page) {
        self.pages.lock().insert(path.to_owned(), Arc::new(page));
    }

    /// Every body that was posted to this path, in order of arrival.
    pub fn posted(&self, path: &str) -> Vec<String> {
        let posted = self.posted.lock();
        let there = posted.iter().filter(|(to, _)| to == path);
        there.map(|(_, body)| body.clone()).collect()
    }

    pub fn forget_posted(&self) {
        self.posted.lock().clear();
    }

    /// The published page, or the request back when there is none.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Request<Incoming>> {
        let path = request.uri().path().to_owned();
        let page = self.pages.lock().get(&path).map(Arc::clone);
        let Some(page) = page else {
            return Err(request);
        };
        if request.method() == Method::POST
            && let Ok(body) = request.into_body().collect().await
        {
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            self.posted.lock().push((path, body));
        }
        let mut response = Response::builder().header(CACHE_CONTROL, "no-store");
        for (name, value) in &page.headers {
            response = response.header(*name, value);
        }
        let content = Full::new(Bytes::from(page.content.clone()));
        Ok(response.body(content.boxed()).unwrap())
    }
}
