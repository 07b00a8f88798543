//! `only` and `never` of a route: where it may lead.

use ipnet::IpNet;
use serde::Deserialize;

use crate::relay::{Form, Hosts, Targets};

/// Targets as they are written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Table {
    networks: Vec<IpNet>,
    hosts: Vec<String>,
    ports: Vec<u16>,
    schemes: Vec<String>,
}

impl Table {
    /// What is meant, or a sentence about what is not.
    pub(super) fn targets(&self) -> Result<Targets, String> {
        let name = |name: &String| {
            let plain = name.trim_start_matches("*.").trim_matches('.');
            plain.to_ascii_lowercase()
        };
        let hosts: Vec<String> = self.hosts.iter().map(name).collect();
        let word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let fine = |name: &String| !name.is_empty() && name.chars().all(word);
        if !hosts.iter().all(fine) {
            return Err(
                "must have `hosts` such as \"example.com\", each with all below it".to_owned(),
            );
        }
        let forms = self.schemes.iter().map(|word| Form::read(word));
        let forms: Option<Vec<Form>> = forms.collect();
        Ok(Targets {
            networks: self.networks.clone(),
            hosts: Hosts::of(&hosts.join("\n")),
            ports: self.ports.clone(),
            forms: forms.ok_or("must have `schemes` of \"http\" and \"https\"")?,
        })
    }
}
