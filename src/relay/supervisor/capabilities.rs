//! What the browser of a device can do, found out by asking for it.
//!
//! Chromes on Android differ in what they can be told, by version and by who built them; a browser in a
//! container is ours, can do all of it, and is not asked. Each question is what a client would send, on a
//! connection of its own, before any client is let in; what it leaves behind goes with the connection.

use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::debug;

use super::STARTING;
use crate::{
    cdp::{CdpError, Connection},
    model::Capabilities,
    relay::DevTools,
    runtime::Tasks,
};

/// Asks until there is an answer to each; the caller bounds the time.
pub(super) async fn found(devtools: &DevTools, path: &str, tasks: &Tasks) -> Capabilities {
    loop {
        match ask(devtools, path, tasks).await {
            Ok(found) => return found,
            Err(error) => debug!(%error, "a device does not say what its browser can do"),
        }
        sleep(STARTING).await;
    }
}

async fn ask(devtools: &DevTools, path: &str, tasks: &Tasks) -> Result<Capabilities, CdpError> {
    let stream = devtools.connect().await?;
    // Held until all is answered: what it hears by itself is of no interest.
    let (connection, _events) = Connection::open(stream, path, tasks).await?;
    let context = json!({ "disposeOnDetach": true });
    let context = answered(&connection, "Target.createBrowserContext", context).await?;
    if let Some(context) = &context {
        let id = json!({ "browserContextId": context["browserContextId"] });
        answered(&connection, "Target.disposeBrowserContext", id).await?;
    }
    let default = json!({ "behavior": "default" });
    let downloads = answered(&connection, "Browser.setDownloadBehavior", default).await?;
    Ok(Capabilities {
        browser_contexts: context.is_some(),
        downloads: downloads.is_some(),
    })
}

/// The result, or none where it is refused, in whatever words.
async fn answered(
    connection: &Connection,
    method: &'static str,
    params: Value,
) -> Result<Option<Value>, CdpError> {
    match connection.call(None, method, params).await {
        Ok(result) => Ok(Some(result)),
        Err(CdpError::Refused { code, message, .. }) => {
            debug!(method, code, message, "a device's browser cannot do this");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
