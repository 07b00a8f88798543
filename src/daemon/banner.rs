//! What `chaser up` says when it is ready: where it is, and commands to copy.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use crate::control::ApiKey;

/// Where everything is.
#[derive(Debug)]
pub(super) struct Banner<'a> {
    /// Whether API and gateway speak TLS.
    pub(super) encrypted: bool,
    pub(super) api: SocketAddr,
    pub(super) cdp: SocketAddr,
    pub(super) admin: SocketAddr,
    /// `None` when only hashes of keys are known.
    pub(super) key: Option<&'a ApiKey>,
}

impl Banner<'_> {
    /// The text.
    fn text(&self) -> String {
        let Self {
            api, cdp, admin, ..
        } = self;
        let s = if self.encrypted { "s" } else { "" };
        let key = self.key.map_or("sk_…", ApiKey::expose);
        let hint = if self.key.is_some() {
            ""
        } else {
            "  (one of those made with `chaser key create`)"
        };
        format!(
            r#"
chaser is ready

  API       http{s}://{api}
  CDP       ws{s}://{cdp}
  probes    http://{admin}/readyz   http://{admin}/metrics
  API key   {key}{hint}

Try it:

  export CHASER_API_URL=http{s}://{api} CHASER_API_KEY={key}
  curl -sX POST $CHASER_API_URL/v1/sessions -H "Authorization: Bearer $CHASER_API_KEY" \
    -H 'Content-Type: application/json' -d '{{"ttl_seconds":1800}}'
  curl -s $CHASER_API_URL/v1/sessions/SESSION_ID -H "Authorization: Bearer $CHASER_API_KEY"
  curl -sX DELETE $CHASER_API_URL/v1/sessions/SESSION_ID -H "Authorization: Bearer $CHASER_API_KEY"

With Patchright (npm install patchright), saved as try.mjs:

  import {{ chromium }} from 'patchright';
  const api = process.env.CHASER_API_URL + '/v1/sessions';
  const headers = {{ Authorization: 'Bearer ' + process.env.CHASER_API_KEY }};
  let session = await (await fetch(api, {{ method: 'POST', headers,
    body: JSON.stringify({{ ttl_seconds: 1800 }}) }})).json();
  while (session.status === 'creating') {{
    await new Promise(done => setTimeout(done, 250));
    session = await (await fetch(api + '/' + session.id, {{ headers }})).json();
  }}
  const browser = await chromium.connectOverCDP(session.cdp_url);
  const context = browser.contexts()[0];
  const page = context.pages()[0] ?? await context.newPage();
  await page.goto('https://example.com');
  console.log(session.device, '-', await page.title());
  await browser.close();
  await fetch(api + '/' + session.id, {{ method: 'DELETE', headers }});

ctrl-C ends every session and stops.
"#
        )
    }

    /// Prints it, after what the self-check said. Nobody reading is no failure.
    pub(super) fn print(&self, checked: &str) {
        let mut out = io::stdout().lock();
        let text = format!("{checked}{}", self.text());
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_can_be_copied() {
        let key: ApiKey = "sk_mine".parse().unwrap();
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let banner = Banner {
            encrypted: false,
            api: at(1),
            cdp: at(2),
            admin: at(3),
            key: Some(&key),
        };
        let text = banner.text();
        assert!(text.contains("CHASER_API_URL=http://127.0.0.1:1 CHASER_API_KEY=sk_mine"));
        assert!(text.contains(r#"-d '{"ttl_seconds":1800}'"#));
        assert!(text.contains("import { chromium } from 'patchright'"));
    }
}
