//! Where a session may be led. Pure, and it only narrows: what the node's policy denies stays denied.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Form, Targets};

/// Only these targets, and never those. What is empty says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Nothing but these.
    #[serde(skip_serializing_if = "Targets::is_empty")]
    pub only: Targets,
    /// None of these, in `only` or not.
    #[serde(skip_serializing_if = "Targets::is_empty")]
    pub never: Targets,
}

/// What a target is out of bounds by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// Its address, or that it is not known.
    Network,
    /// Its name.
    Host,
    /// Its port.
    Port,
    /// How it is asked for.
    Form,
}

impl Bounds {
    /// Whether everything is within.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is known of a target before it is looked up; `name` is `None` for an address.
    ///
    /// # Errors
    /// [`Beyond`].
    pub fn hold(&self, form: Form, name: Option<&str>, port: u16) -> Result<(), Beyond> {
        let (only, never) = (&self.only, &self.never);
        if never.forms.contains(&form) || !(only.forms.is_empty() || only.forms.contains(&form)) {
            return Err(Beyond::Form);
        }
        if never.ports.contains(&port) || !(only.ports.is_empty() || only.ports.contains(&port)) {
            return Err(Beyond::Port);
        }
        let named = match name {
            Some(name) => {
                !never.hosts.holds(name) && (only.hosts.is_empty() || only.hosts.holds(name))
            }
            // An address has no name to be on a list; it may be in a network.
            None => only.hosts.is_empty() || !only.networks.is_empty(),
        };
        if named { Ok(()) } else { Err(Beyond::Host) }
    }

    /// Whether this address may be connected to.
    #[must_use]
    pub fn hold_address(&self, ip: IpAddr) -> bool {
        let within = |networks: &[IpNet]| networks.iter().any(|net| net.contains(&ip));
        !within(&self.never.networks)
            && (self.only.networks.is_empty() || within(&self.only.networks))
    }

    /// Whether a client's own proxy may be at this port, and under this name where it has one: `only` is
    /// about what it is asked for, not about itself.
    ///
    /// # Errors
    /// [`Beyond`].
    pub fn hold_proxy(&self, name: Option<&str>, port: u16) -> Result<(), Beyond> {
        if self.never.ports.contains(&port) {
            return Err(Beyond::Port);
        }
        match name {
            Some(name) if self.never.hosts.holds(name) => Err(Beyond::Host),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a client's own proxy may be at this address.
    #[must_use]
    pub fn hold_proxy_address(&self, ip: IpAddr) -> bool {
        !self.never.networks.iter().any(|net| net.contains(&ip))
    }

    /// Whether a name may be left to an upstream, which alone will know its address.
    #[must_use]
    pub fn hold_unknown(&self) -> bool {
        self.only.networks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Hosts;

    fn targets() -> impl Strategy<Value = Targets> {
        let networks = prop::sample::subsequence(vec!["10.0.0.0/8", "10.1.0.0/16", "::/0"], 0..=3);
        let hosts = prop::sample::subsequence(vec!["a.test", "b.a.test", "c.test"], 0..=3);
        let ports = prop::sample::subsequence(vec![80_u16, 443, 8080], 0..=3);
        let forms = prop::sample::subsequence(vec![Form::Plain, Form::Tunnel], 0..=2);
        (networks, hosts, ports, forms).prop_map(|(networks, hosts, ports, forms)| Targets {
            networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
            hosts: Hosts::of(&hosts.join("\n")),
            ports,
            forms,
        })
    }

    fn target() -> impl Strategy<Value = (Form, Option<&'static str>, u16, IpAddr)> {
        let names = vec![
            None,
            Some("a.test"),
            Some("x.b.a.test"),
            Some("test"),
            Some("c.test"),
        ];
        let ips: Vec<IpAddr> = ["10.1.2.3", "10.9.9.9", "8.8.8.8", "2001:db8::1"]
            .map(|ip| ip.parse().unwrap())
            .into();
        (
            prop::sample::select(vec![Form::Plain, Form::Tunnel]),
            prop::sample::select(names),
            prop::sample::select(vec![80, 443, 22]),
            prop::sample::select(ips),
        )
    }

    proptest! {
        #[test]
        fn more_in_never_and_less_in_only_allow_nothing_more(
            only in targets(), never in targets(), more in targets(), (form, name, port, ip) in target(),
        ) {
            let wide = Bounds { only: Targets::default(), never: never.clone() };
            let narrow = Bounds { only, never: Targets {
                networks: [never.networks, more.networks].concat(),
                hosts: never.hosts,
                ports: [never.ports, more.ports].concat(),
                forms: [never.forms, more.forms].concat(),
            } };
            prop_assert!(wide.hold(form, name, port).is_ok() || narrow.hold(form, name, port).is_err());
            prop_assert!(wide.hold_address(ip) || !narrow.hold_address(ip));
            prop_assert!(wide.hold_unknown());
        }

        #[test]
        fn no_bounds_bound_nothing_and_never_beats_only((form, name, port, ip) in target(), set in targets()) {
            let none = Bounds::default();
            prop_assert!(none.is_empty() && none.hold_proxy(name, port).is_ok() && none.hold_proxy_address(ip) && none.hold(form, name, port).is_ok() && none.hold_address(ip));
            let both = Bounds { only: set.clone(), never: set.clone() };
            if set.ports.contains(&port) {
                prop_assert!(both.hold(form, name, port).is_err());
            }
            if set.networks.iter().any(|net| net.contains(&ip)) {
                prop_assert!(!both.hold_address(ip) && !both.hold_proxy_address(ip));
            }
        }
    }

    #[test]
    fn what_is_beyond_is_named() {
        let bounds = Bounds {
            only: Targets {
                hosts: Hosts::of("a.test"),
                ports: vec![443],
                ..Targets::default()
            },
            never: Targets {
                hosts: Hosts::of("ads.a.test"),
                forms: vec![Form::Plain],
                ..Targets::default()
            },
        };
        let said = |form, name, port| bounds.hold(form, name, port);
        assert_eq!(said(Form::Tunnel, Some("www.a.test"), 443), Ok(()));
        assert_eq!(
            said(Form::Plain, Some("www.a.test"), 443),
            Err(Beyond::Form)
        );
        assert_eq!(
            said(Form::Tunnel, Some("www.a.test"), 80),
            Err(Beyond::Port)
        );
        assert_eq!(
            said(Form::Tunnel, Some("x.ads.a.test"), 443),
            Err(Beyond::Host)
        );
        assert_eq!(said(Form::Tunnel, Some("b.test"), 443), Err(Beyond::Host));
        assert_eq!(said(Form::Tunnel, None, 443), Err(Beyond::Host));
    }
}
