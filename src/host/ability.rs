//! What a device needs of its host beyond a container, found out by using it: a node under `/dev` is no
//! proof. `/dev/kvm` is there on hosts whose processor virtualises nothing, answers every question well,
//! and no guest gets far on it.
//!
//! Looking ([`Ability::look`]) is apart from judging ([`Ability::lacks`]), which is pure.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    str::FromStr,
};

use crate::model::UnknownWord;

/// One thing that a device's image needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// Hardware virtualisation.
    Kvm,
    /// The kernel's binder, three devices for each instance, or binderfs.
    Binder,
    /// Taps for a guest's network.
    Tun,
    /// A guest's network in the kernel.
    VhostNet,
    /// Sockets between host and guest.
    VhostVsock,
    /// The capability to set up its own interfaces.
    NetAdmin,
    /// Everything: no wall but the namespaces stands between the device and the host.
    Privileged,
}

impl Need {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Kvm,
        Self::Binder,
        Self::Tun,
        Self::VhostNet,
        Self::VhostVsock,
        Self::NetAdmin,
        Self::Privileged,
    ];

    /// The word of configuration and reasons.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Binder => "binder",
            Self::Tun => "tun",
            Self::VhostNet => "vhost_net",
            Self::VhostVsock => "vhost_vsock",
            Self::NetAdmin => "net_admin",
            Self::Privileged => "privileged",
        }
    }

    /// The one node that it is, where it is one.
    #[must_use]
    pub const fn device(self) -> Option<&'static str> {
        match self {
            Self::Kvm => Some("/dev/kvm"),
            Self::Tun => Some("/dev/net/tun"),
            Self::VhostNet => Some("/dev/vhost-net"),
            Self::VhostVsock => Some("/dev/vhost-vsock"),
            Self::Binder | Self::NetAdmin | Self::Privileged => None,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Need {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|need| need.as_str() == word);
        known.ok_or_else(|| UnknownWord {
            word: word.to_owned(),
            allowed: Self::ALL.map(Self::as_str).join(", "),
        })
    }
}

/// How many instances can have what they need of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supply {
    /// As many as the host holds.
    Any,
    /// So many at once.
    Some(u32),
}

/// What was found on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ability {
    /// `vmx` or `svm` is among the processor's flags.
    virtualises: bool,
    /// KVM's modules that are loaded or built in, beside `kvm` itself.
    kvm_modules: Vec<String>,
    /// Nodes that could not be opened, with the kernel's words.
    closed: Vec<(Need, String)>,
    binderfs: bool,
    /// Binder nodes that can be opened, in the order of their numbers.
    binders: Vec<String>,
}

impl Ability {
    /// Looks at the host below `root` (`/` but in tests). Opens a handful of nodes and reads a handful of
    /// small files; nothing is changed.
    #[must_use]
    pub fn look(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let cpu = read("proc/cpuinfo");
        let flags = cpu.lines().find(|line| line.starts_with("flags"));
        let virtualises =
            flags.is_some_and(|flags| flags.split_whitespace().any(|f| f == "vmx" || f == "svm"));
        let modules = names(&root.join("sys/module"));
        let nodes = [Need::Kvm, Need::Tun, Need::VhostNet, Need::VhostVsock];
        let closed = nodes.into_iter().filter_map(|need| {
            let path = need.device()?.trim_start_matches('/');
            let error = open(&root.join(path)).err()?;
            Some((need, words(&error)))
        });
        Self {
            virtualises,
            kvm_modules: modules
                .into_iter()
                .filter(|name| name.starts_with("kvm_"))
                .collect(),
            closed: closed.collect(),
            binderfs: read("proc/filesystems")
                .lines()
                .any(|line| line.split_whitespace().last() == Some("binder")),
            binders: binders(root),
        }
    }

    /// Why `need` cannot be had here; `None` where it can.
    #[must_use]
    pub fn lacks(&self, need: Need) -> Option<String> {
        let closed = self.closed.iter().find(|(closed, _)| *closed == need);
        if let (Some((_, why)), Some(device)) = (closed, need.device()) {
            return Some(format!("{device} cannot be opened: {why}"));
        }
        match need {
            Need::Kvm if !self.virtualises => Some(format!(
                "/dev/kvm is there, but the processor shows neither vmx nor svm (KVM's modules: {}): \
                 no guest would get far",
                listed(&self.kvm_modules)
            )),
            Need::Kvm if !self.has_vendor_module() => Some(format!(
                "/dev/kvm is there, but neither kvm_intel nor kvm_amd is behind it (KVM's modules: {})",
                listed(&self.kvm_modules)
            )),
            Need::Binder if !self.binderfs && self.binders.len() < 3 => Some(
                "the kernel has no binder: `modprobe binder_linux devices=binder1,binder2,binder3` \
                 (three for each instance) where the module exists"
                    .to_owned(),
            ),
            Need::Kvm
            | Need::Binder
            | Need::Tun
            | Need::VhostNet
            | Need::VhostVsock
            | Need::NetAdmin
            | Need::Privileged => None,
        }
    }

    /// How many instances can have `need`, where they can.
    #[must_use]
    pub fn supply(&self, need: Need) -> Supply {
        if need == Need::Binder && !self.binderfs {
            Supply::Some(u32::try_from(self.binders.len() / 3).unwrap_or(u32::MAX))
        } else {
            Supply::Any
        }
    }

    /// The binder nodes to be given away by threes; empty where binderfs makes each container its own.
    #[must_use]
    pub fn binder_triples(&self) -> Vec<[String; 3]> {
        if self.binderfs {
            return Vec::new();
        }
        let triples = self.binders.chunks_exact(3);
        triples
            .filter_map(|three| three.to_vec().try_into().ok())
            .collect()
    }

    fn has_vendor_module(&self) -> bool {
        let vendors = ["kvm_intel", "kvm_amd"];
        self.kvm_modules
            .iter()
            .any(|name| vendors.contains(&name.as_str()))
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// `binder`, `hwbinder`, `vndbinder` are one triple; else what the module was told to make, by number.
fn binders(root: &Path) -> Vec<String> {
    let own = ["binder", "hwbinder", "vndbinder"].map(str::to_owned);
    let number = |name: &String| name.strip_prefix("binder")?.parse::<u32>().ok();
    let mut numbered = names(&root.join("dev"));
    numbered.retain(|name| number(name).is_some());
    numbered.sort_by_key(number);
    let opens = |name: &String| open(&root.join("dev").join(name)).is_ok();
    let whole = own.iter().all(opens);
    let mut found: Vec<String> = if whole { own.to_vec() } else { Vec::new() };
    found.extend(numbered.into_iter().filter(opens));
    found.iter().map(|name| format!("/dev/{name}")).collect()
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// The kernel's words without Rust's "(os error 2)".
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host of files: what is looked at, and nothing that works.
    fn host(cpu: &str, modules: &[&str], nodes: &[&str], filesystems: &str) -> Ability {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "proc/cpuinfo",
            &format!("processor : 0\nflags\t\t: fpu {cpu} sse\n"),
        );
        write("proc/filesystems", filesystems);
        for module in modules {
            write(&format!("sys/module/{module}/x"), "");
        }
        for node in nodes {
            write(&format!("dev/{node}"), "");
        }
        Ability::look(root.path())
    }

    #[test]
    fn kvm_takes_a_processor_and_its_vendors_module_and_not_only_a_node() {
        let good = host("vmx", &["kvm", "kvm_intel"], &["kvm"], "");
        assert_eq!(good.lacks(Need::Kvm), None);
        let good = host("svm", &["kvm", "kvm_amd"], &["kvm"], "");
        assert_eq!(good.lacks(Need::Kvm), None);
        let none = host("vmx", &["kvm", "kvm_intel"], &[], "");
        assert!(
            none.lacks(Need::Kvm)
                .unwrap()
                .contains("cannot be opened: No such file")
        );
        let weak = host("", &["kvm", "kvm_pvm"], &["kvm"], "");
        let why = weak.lacks(Need::Kvm).unwrap();
        assert!(
            why.contains("neither vmx nor svm") && why.contains("kvm_pvm"),
            "{why}"
        );
        let odd = host("vmx", &["kvm", "kvm_pvm"], &["kvm"], "");
        assert!(
            odd.lacks(Need::Kvm)
                .unwrap()
                .contains("neither kvm_intel nor kvm_amd")
        );
    }

    #[test]
    fn binder_is_counted_by_threes_unless_each_container_has_its_own() {
        let none = host("", &[], &[], "nodev\ttmpfs\n");
        assert!(none.lacks(Need::Binder).unwrap().contains("modprobe"));
        let nodes: Vec<_> = (1..=11).map(|n| format!("binder{n}")).collect();
        let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
        let some = host("", &[], &nodes, "");
        assert_eq!(some.lacks(Need::Binder), None);
        assert_eq!(some.supply(Need::Binder), Supply::Some(3));
        let triples = some.binder_triples();
        assert_eq!(triples[2], ["/dev/binder7", "/dev/binder8", "/dev/binder9"]);
        let one = host("", &[], &["binder", "hwbinder", "vndbinder"], "");
        assert_eq!(one.supply(Need::Binder), Supply::Some(1));
        let any = host("", &[], &[], "nodev\tbinder\n");
        assert_eq!(any.lacks(Need::Binder), None);
        assert_eq!(any.supply(Need::Binder), Supply::Any);
        assert!(any.binder_triples().is_empty());
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for need in Need::ALL {
            assert_eq!(need.as_str().parse::<Need>().unwrap(), need);
        }
        let wrong = "magic".parse::<Need>().unwrap_err();
        assert!(wrong.to_string().contains("vhost_vsock"), "{wrong}");
    }
}
