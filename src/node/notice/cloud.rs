//! The metadata services of three clouds: what is asked, and what an answer means.

use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use serde::Deserialize;
use time::{
    OffsetDateTime,
    format_description::well_known::{Rfc2822, Rfc3339},
};

use super::{Ends, Notice, PATIENCE};
use crate::node::web::{Answer, Web};

/// Where all three are: link-local, so never beyond this host.
const METADATA: &str = "http://169.254.169.254";
/// How long a token of Amazon's is asked for.
const TOKEN_SECONDS: &str = "21600";
/// What Amazon gives an instance of a group to end by itself when its hook says nothing of its own.
const GROUP: Duration = Duration::from_secs(120);
/// What Google gives a preempted instance.
const PREEMPTED: Duration = Duration::from_secs(30);

async fn ask(
    web: &Web,
    method: &str,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Answer, String> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{METADATA}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    web.send(request, PATIENCE).await
}

fn unexpected(path: &str, answer: &Answer) -> String {
    format!("{path} answered {}", answer.status)
}

/// Amazon EC2, by IMDSv2.
pub(super) struct Aws {
    web: Web,
    token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct InstanceAction {
    action: String,
    time: String,
}

impl Aws {
    pub(super) const fn new(web: Web) -> Self {
        Self { web, token: None }
    }

    pub(super) async fn look(&mut self) -> Result<Option<Notice>, String> {
        if let Some(text) = self.get("/latest/meta-data/spot/instance-action").await? {
            return interruption(&text).map(Some);
        }
        let path = "/latest/meta-data/autoscaling/target-lifecycle-state";
        Ok(self
            .get(path)
            .await?
            .and_then(|state| leaves_its_group(&state)))
    }

    /// What is at a path; `None` where nothing is.
    async fn get(&mut self, path: &str) -> Result<Option<String>, String> {
        let token = match self.token.clone() {
            Some(token) => token,
            None => self.new_token().await?,
        };
        let headers = [("x-aws-ec2-metadata-token", token.as_str())];
        let answer = ask(&self.web, "GET", path, &headers).await?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            401 => {
                // It ran out: the next look gets another.
                self.token = None;
                Err(unexpected(path, &answer))
            }
            _ => Err(unexpected(path, &answer)),
        }
    }

    async fn new_token(&mut self) -> Result<String, String> {
        let path = "/latest/api/token";
        let headers = [("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS)];
        let answer = ask(&self.web, "PUT", path, &headers).await?;
        if answer.status != 200 {
            return Err(unexpected(path, &answer));
        }
        Ok(self.token.insert(answer.body.trim().to_owned()).clone())
    }
}

fn interruption(text: &str) -> Result<Notice, String> {
    let said: InstanceAction = serde_json::from_str(text)
        .map_err(|error| format!("spot/instance-action is not understood: {error}"))?;
    let at = OffsetDateTime::parse(&said.time, &Rfc3339)
        .map_err(|error| format!("spot/instance-action names no moment: {error}"))?;
    Ok(Notice {
        what: format!("Amazon takes the spot instance ({})", said.action),
        ends: Ends::At(at),
    })
}

fn leaves_its_group(state: &str) -> Option<Notice> {
    (state.trim() == "Terminated").then(|| Notice {
        what: "the auto scaling group ends the instance".to_owned(),
        ends: Ends::In(GROUP),
    })
}

/// Google Compute Engine.
pub(super) struct Gcp {
    web: Web,
}

impl Gcp {
    pub(super) const fn new(web: Web) -> Self {
        Self { web }
    }

    pub(super) async fn look(&self) -> Result<Option<Notice>, String> {
        let path = "/computeMetadata/v1/instance/preempted";
        let answer = ask(&self.web, "GET", path, &[("metadata-flavor", "Google")]).await?;
        match (answer.status, answer.body.trim()) {
            (200, "TRUE") => Ok(Some(Notice {
                what: "Google preempts the instance".to_owned(),
                ends: Ends::In(PREEMPTED),
            })),
            (200, "FALSE") => Ok(None),
            _ => Err(unexpected(path, &answer)),
        }
    }
}

/// Microsoft Azure.
pub(super) struct Azure {
    web: Web,
    /// What the machine is called there.
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Scheduled {
    events: Vec<ScheduledEvent>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScheduledEvent {
    event_type: String,
    resources: Vec<String>,
    #[serde(default)]
    not_before: String,
}

impl Azure {
    pub(super) const fn new(web: Web) -> Self {
        Self { web, name: None }
    }

    pub(super) async fn look(&mut self) -> Result<Option<Notice>, String> {
        let name = match self.name.clone() {
            Some(name) => name,
            None => {
                let path = "/metadata/instance/compute/name?api-version=2021-02-01&format=text";
                let name = self.get(path).await?;
                self.name.insert(name.trim().to_owned()).clone()
            }
        };
        let events = self
            .get("/metadata/scheduledevents?api-version=2020-07-01")
            .await?;
        scheduled(&events, &name)
    }

    async fn get(&self, path: &str) -> Result<String, String> {
        let answer = ask(&self.web, "GET", path, &[("metadata", "true")]).await?;
        if answer.status == 200 {
            Ok(answer.body)
        } else {
            Err(unexpected(path, &answer))
        }
    }
}

/// The first event that takes this machine, if there is one.
fn scheduled(text: &str, machine: &str) -> Result<Option<Notice>, String> {
    let scheduled: Scheduled = serde_json::from_str(text)
        .map_err(|error| format!("scheduledevents is not understood: {error}"))?;
    let takes = |event: &&ScheduledEvent| {
        let kinds = ["Preempt", "Terminate", "Redeploy", "Reboot"];
        kinds.contains(&event.event_type.as_str())
            && event.resources.iter().any(|name| name == machine)
    };
    let Some(event) = scheduled.events.iter().find(takes) else {
        return Ok(None);
    };
    let ends = if event.not_before.is_empty() {
        // It has begun.
        Ends::In(Duration::ZERO)
    } else {
        let at = OffsetDateTime::parse(&event.not_before.replace("GMT", "+0000"), &Rfc2822);
        Ends::At(at.map_err(|error| format!("scheduledevents names no moment: {error}"))?)
    };
    Ok(Some(Notice {
        what: format!("Azure takes the machine ({})", event.event_type),
        ends,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Ends {
        Ends::At(OffsetDateTime::parse(text, &Rfc3339).unwrap())
    }

    #[test]
    fn amazon_says_what_and_when() {
        let text = r#"{"action": "terminate", "time": "2017-09-18T08:22:00Z"}"#;
        let notice = interruption(text).unwrap();
        assert_eq!(notice.ends, at("2017-09-18T08:22:00Z"));
        assert!(notice.what.contains("terminate"));
        for wrong in ["{}", "soon", r#"{"action":"stop","time":"soon"}"#] {
            interruption(wrong).unwrap_err();
        }
        assert!(leaves_its_group("Terminated\n").is_some());
        for stays in ["InService", "Standby", "Warmed:Stopped", ""] {
            assert_eq!(leaves_its_group(stays), None);
        }
    }

    #[test]
    fn azure_names_machines_and_what_happens_to_them() {
        let event = |kind: &str, machine: &str, not_before: &str| {
            format!(
                r#"{{"DocumentIncarnation": 1, "Events": [{{
                "EventId": "f020ba2e-3bc0-4c40-a10b-86575a9eabd5", "EventStatus": "Scheduled",
                "EventType": "{kind}", "ResourceType": "VirtualMachine", "Resources": ["{machine}"],
                "NotBefore": "{not_before}", "Description": "", "EventSource": "Platform",
                "DurationInSeconds": -1 }}]}}"#
            )
        };
        let when = "Mon, 19 Sep 2016 18:29:47 GMT";
        let seen = |kind, machine, when| scheduled(&event(kind, machine, when), "vm-7").unwrap();
        let notice = seen("Preempt", "vm-7", when).unwrap();
        assert_eq!(notice.ends, at("2016-09-19T18:29:47Z"));
        let begun = seen("Terminate", "vm-7", "").unwrap();
        assert_eq!(begun.ends, Ends::In(Duration::ZERO));
        assert_eq!(seen("Freeze", "vm-7", when), None, "it goes on afterwards");
        assert_eq!(seen("Preempt", "vm-8", when), None, "another machine");
        assert_eq!(
            scheduled(r#"{"DocumentIncarnation":0,"Events":[]}"#, "vm-7"),
            Ok(None)
        );
        scheduled(&event("Preempt", "vm-7", "soon"), "vm-7").unwrap_err();
    }
}
