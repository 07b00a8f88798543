//! What the daemon's answers mean to a bench: pure.

use serde_json::Value;

use crate::wire::node::GetNodeResponse;

/// Whether a node does nothing, with so many browsers parked.
pub(super) fn at_rest(node: &GetNodeResponse, warm: usize) -> bool {
    let under_way = node.creating + node.ready + node.closing + node.destroying;
    let starting: u32 = node.pool.iter().map(|profile| profile.starting).sum();
    let parked: u32 = node.pool.iter().map(|profile| profile.parked).sum();
    under_way + starting == 0 && usize::try_from(parked).is_ok_and(|parked| parked >= warm)
}

/// The path of `cdp_url`; its host may be a public name that leads elsewhere.
pub(super) fn cdp_path(session: &Value) -> Option<String> {
    let url = session["cdp_url"].as_str()?;
    let (_, rest) = url.split_once("://")?;
    rest.find('/').map(|at| rest[at..].to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::node::PoolProfile;

    #[test]
    fn a_node_rests_when_its_pool_is_full_and_nothing_is_under_way() {
        let of = |parked, starting, destroying| GetNodeResponse {
            destroying,
            pool: vec![PoolProfile {
                parked,
                starting,
                ..PoolProfile::default()
            }],
            ..GetNodeResponse::default()
        };
        assert!(at_rest(&of(2, 0, 0), 2));
        assert!(!at_rest(&of(1, 0, 0), 2), "one is missing");
        assert!(!at_rest(&of(2, 1, 0), 2), "one is on its way");
        assert!(!at_rest(&of(2, 0, 1), 2), "one is being removed");
        assert!(
            at_rest(&GetNodeResponse::default(), 0),
            "no pool, no session"
        );
    }

    #[test]
    fn the_path_of_a_cdp_address_is_what_counts() {
        let session = json!({ "cdp_url": "wss://cdp.example:1/sessions/sess_1" });
        assert_eq!(cdp_path(&session).as_deref(), Some("/sessions/sess_1"));
        assert_eq!(cdp_path(&json!({ "cdp_url": "ws://host" })), None);
        assert_eq!(cdp_path(&json!({})), None);
    }
}
