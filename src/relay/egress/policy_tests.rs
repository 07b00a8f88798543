use proptest::prelude::*;

use super::*;

fn denied(ip: &str) -> Option<Ground> {
    match Policy::default().verdict(ip.parse().unwrap(), 443, &[]) {
        Verdict::Allowed => None,
        Verdict::Denied(ground) => Some(ground),
    }
}

#[test]
fn each_kind_of_address_that_is_not_the_internet_is_denied() {
    for (ground, addresses) in [
        (Ground::Loopback, "127.0.0.1 127.255.255.254 ::1"),
        (
            Ground::Private,
            "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 fc00::1 fdff::1 fec0::1",
        ),
        (Ground::LinkLocal, "169.254.0.1 fe80::1 febf::1"),
        (
            Ground::Metadata,
            "169.254.169.254 100.100.100.200 192.0.0.192 168.63.129.16 fd00:ec2::254 fd20:ce::254",
        ),
        (Ground::SharedAddress, "100.64.0.1 100.127.255.255"),
        (
            Ground::Multicast,
            "224.0.0.1 239.255.255.250 255.255.255.255 ff02::1",
        ),
        (
            Ground::Reserved,
            "0.0.0.0 0.1.2.3 192.0.0.1 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.1 \
             203.0.113.1 240.0.0.1 :: 100::1 2001:db8::1 2001:2::1 3fff::1 5f00::1 4000::1 1::1",
        ),
        (
            Ground::Embedded,
            "::ffff:8.8.8.8 ::ffff:127.0.0.1 ::8.8.8.8 ::ffff:0:8.8.8.8 64:ff9b::8.8.8.8 \
             64:ff9b:1::1 2002:7f00:1::1 2002:a9fe:a9fe::1 2001:0:808:808::3fff:fdfe \
             2001:0:7f00:1::f7f7:f7f7",
        ),
    ] {
        for address in addresses.split_whitespace() {
            assert_eq!(denied(address), Some(ground), "{address}");
        }
    }
}

#[test]
fn the_internet_is_allowed() {
    for address in "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 11.0.0.1 \
        169.253.1.1 192.0.1.1 198.17.0.1 223.255.255.255 2606:4700::1111 2001:4860:4860::8888 \
        2a00:1450::1 2002:808:808::1"
        .split_whitespace()
    {
        assert_eq!(denied(address), None, "{address}");
    }
}

#[test]
fn the_hosts_own_addresses_and_mail_are_denied() {
    let policy = Policy::default();
    let own: IpAddr = "8.8.4.4".parse().unwrap();
    let verdict = policy.verdict(own, 443, &[own]);
    assert_eq!(verdict, Verdict::Denied(Ground::OwnAddress));
    let verdict = policy.verdict(own, 25, &[]);
    assert_eq!(verdict, Verdict::Denied(Ground::MailPort));
}

#[test]
fn an_exception_for_an_ipv4_network_opens_no_ipv6_form_of_it() {
    let policy = Policy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let mapped = policy.verdict("::ffff:127.0.0.1".parse().unwrap(), 80, &[]);
    assert_eq!(mapped, Verdict::Denied(Ground::Embedded));
}

#[test]
fn an_endpoint_frees_nothing_beside_itself() {
    let policy = Policy::default().and_endpoints(vec!["127.0.0.1:4000".parse().unwrap()]);
    let verdict = |ip: &str, port| policy.verdict(ip.parse().unwrap(), port, &[]);
    assert_eq!(verdict("127.0.0.1", 4000), Verdict::Allowed);
    for (ip, port) in [
        ("127.0.0.1", 4001),
        ("127.0.0.2", 4000),
        ("::1", 4000),
        ("::ffff:127.0.0.1", 4000),
    ] {
        assert_ne!(verdict(ip, port), Verdict::Allowed, "{ip} {port}");
    }
}

proptest! {
    #[test]
    fn allow_beats_every_denial(ip: IpAddr, port: u16) {
        let policy = Policy::new(vec![IpNet::from(ip)]);
        prop_assert_eq!(policy.verdict(ip, port, &[ip]), Verdict::Allowed);
    }

    #[test]
    fn no_wrapping_in_ipv6_frees_a_denied_address(ip: Ipv4Addr, low: u64) {
        let bits = u128::from(ip.to_bits());
        let forms = [
            bits,
            0xffff << 32 | bits,
            0x64_ff9b << 96 | bits,
            0x2002 << 112 | bits << 80 | u128::from(low),
            0x2001 << 112 | bits << 64 | u128::from(low),
            0x2001 << 112 | 0x0808_0808 << 64 | u128::from(!ip.to_bits()),
        ];
        prop_assume!(special_v4(ip).is_some());
        for form in forms {
            prop_assert!(special_v6(Ipv6Addr::from_bits(form)).is_some());
        }
    }

    #[test]
    fn whatever_std_knows_to_be_special_is_denied(ip: Ipv4Addr) {
        let special = ip.is_private() || ip.is_loopback() || ip.is_link_local()
            || ip.is_broadcast() || ip.is_documentation() || ip.is_multicast() || ip.is_unspecified();
        prop_assert!(!special || special_v4(ip).is_some());
    }
}

#[test]
fn an_operators_denial_is_before_every_permission() {
    let net = |text: &str| text.parse().unwrap();
    let policy = Policy::new(vec![net("10.0.0.0/8")]).but_not(
        vec![net("10.1.0.0/16"), net("8.8.0.0/16")],
        vec![22],
        Hosts::default(),
    );
    let said = |ip: &str, port| policy.verdict(ip.parse().unwrap(), port, &[]);
    assert_eq!(said("10.2.0.1", 80), Verdict::Allowed);
    assert_eq!(said("10.1.0.1", 80), Verdict::Denied(Ground::Configured));
    assert_eq!(said("8.8.8.8", 443), Verdict::Denied(Ground::Configured));
    assert_eq!(
        said("10.2.0.1", 22),
        Verdict::Denied(Ground::ConfiguredPort)
    );
    assert_eq!(said("1.1.1.1", 22), Verdict::Denied(Ground::ConfiguredPort));
    assert_eq!(said("1.1.1.1", 443), Verdict::Allowed);
}

proptest! {
    #[test]
    fn a_name_is_denied_with_all_below_it_and_nothing_beside_it(
        name in "[a-z]{1,5}(\\.[a-z]{1,5}){1,3}",
        below in "[a-z]{1,5}",
    ) {
        let policy = Policy::default().but_not(Vec::new(), Vec::new(), Hosts::of(&name));
        let sub_name = format!("{below}.{name}");
        let glued = format!("{below}{name}");
        let (_, above) = name.split_once('.').unwrap();
        prop_assert!(policy.denies_name(&name) && policy.denies_name(&sub_name));
        prop_assert!(!policy.denies_name(&glued) && !policy.denies_name(above));
    }
}

/// Ranges of IPv6 that are not the public internet, and what each is denied as.
const RANGES: [(&str, Ground); 16] = [
    ("::/96", Ground::Embedded),
    ("::ffff:0:0/96", Ground::Embedded),
    ("::ffff:0:0:0/96", Ground::Embedded),
    ("64:ff9b::/96", Ground::Embedded),
    ("64:ff9b:1::/48", Ground::Embedded),
    ("100::/64", Ground::Reserved),
    ("2001:2::/48", Ground::Reserved),
    ("2001:10::/28", Ground::Reserved),
    ("2001:db8::/32", Ground::Reserved),
    ("2002:a00::/24", Ground::Embedded),
    ("2002:7f00::/24", Ground::Embedded),
    ("2002:c0a8::/32", Ground::Embedded),
    ("3fff::/20", Ground::Reserved),
    ("fc00::/7", Ground::Private),
    ("fe80::/10", Ground::LinkLocal),
    ("ff00::/8", Ground::Multicast),
];

proptest! {
    #[test]
    fn every_address_of_a_special_range_of_ipv6_is_denied_whatever_follows(bits: u128, port in 1_u16..) {
        for (range, ground) in RANGES {
            let range: ipnet::Ipv6Net = range.parse().unwrap();
            let host = u128::from(range.hostmask());
            let ip = Ipv6Addr::from_bits(u128::from(range.network()) | bits & host);
            let verdict = Policy::default().verdict(ip.into(), port, &[]);
            let Verdict::Denied(found) = verdict else {
                return Err(TestCaseError::fail(format!("{ip} of {range} is allowed")));
            };
            // Single addresses within them have grounds of their own.
            let own = [Ground::Loopback, Ground::Metadata, Ground::Reserved];
            prop_assert!(found == ground || own.contains(&found), "{} of {}: {:?}", ip, range, found);
        }
    }

    #[test]
    fn what_is_no_global_unicast_of_ipv6_is_denied_and_the_rest_is_not(bits: u128) {
        let outside = Ipv6Addr::from_bits(bits);
        if outside.segments()[0] >> 13 != 1 {
            prop_assert!(special_v6(outside).is_some(), "{}", outside);
        }
        // 2400::/12 and 2a00::/12 are what registries hand out, with nothing special in them.
        for net in [0x2400_u128, 0x2a00] {
            let inside = Ipv6Addr::from_bits(net << 112 | bits >> 12);
            prop_assert_eq!(special_v6(inside), None, "{}", inside);
        }
    }
}
