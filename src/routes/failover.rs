//! Whether a session whose route is lost may go on by way of another, and which may it be: pure.
//!
//! The address is the product, so a session is moved only where the operator has allowed that at all
//! (`egress.failover`), and never where its order said more of the address than where it is: a client's
//! own proxy, a sticky key, a route by its name.

use std::sync::Arc;

use super::{Route, Routes, Taken};
use crate::{journal::SessionRow, model::EgressWish, runtime::boot_now};

/// Why a session stays with the route that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stays {
    /// The way out is its client's.
    #[error("its client brought its own proxy")]
    Own,
    /// The order wants the address of its key.
    #[error("its order is sticky")]
    Sticky,
    /// The order names the route.
    #[error("its order names the route")]
    Named,
    /// It holds none, or the one that it holds is known no more.
    #[error("its route is not known")]
    NoRoute,
    /// Nobody knows which other would be the same place.
    #[error("its route has no region")]
    NoRegion,
    /// There is no other that works and is free.
    #[error("no other route of its region works and is free")]
    NoneFree,
}

impl Routes {
    /// Takes another route for a session whose own is `lost`, in its place. The caller journals the row
    /// before anything uses it. What a former process had taken for it already is answered again.
    ///
    /// # Errors
    /// [`Stays`]: it keeps what it has.
    pub fn fail_over(&self, session: &SessionRow, lost: &[String]) -> Result<Taken, Stays> {
        let now = boot_now().map_err(|_no_clock| Stays::NoneFree)?;
        let mut state = self.state.lock();
        let name = session.held_route().ok_or(Stays::NoRoute)?;
        let route = state.known.get(&name).cloned().ok_or(Stays::NoRoute)?;
        let all = state.routes.clone();
        let candidates = candidates(&route, &session.spec.egress, &all)?;
        let held = state.book.held_by(session.instance).map(str::to_owned);
        let moved = held.filter(|held| *held != name && !lost.contains(held));
        let to = match moved {
            Some(moved) => moved,
            None => {
                // Out of the rest while it decides, which asks the rest.
                let mut book = std::mem::take(&mut state.book);
                let usable =
                    |name: &str| !lost.iter().any(|one| one == name) && state.is_given(name, now);
                let moved = book.move_on(session.instance, &candidates, now, usable);
                state.book = book;
                state.forget();
                moved.ok_or(Stays::NoneFree)?
            }
        };
        Ok(state.taken(session.instance, to))
    }
}

/// The routes that may stand in for `lost` under a session that was ordered with `wish`: those of exactly
/// its region that fit the order.
///
/// # Errors
/// [`Stays`].
pub(super) fn candidates<'a>(
    lost: &Route,
    wish: &EgressWish,
    routes: &'a [Arc<Route>],
) -> Result<Vec<&'a str>, Stays> {
    if wish.own.is_some() {
        return Err(Stays::Own);
    }
    if !wish.sticky.is_empty() {
        return Err(Stays::Sticky);
    }
    if !wish.route.is_empty() {
        return Err(Stays::Named);
    }
    let region = lost.place.label();
    if region.is_empty() {
        return Err(Stays::NoRegion);
    }
    let others = routes.iter().filter(|route| route.name != lost.name);
    let there = others.filter(|route| route.place.label() == region && route.fits(wish));
    let names: Vec<_> = there.map(|route| &*route.name).collect();
    if names.is_empty() {
        return Err(Stays::NoneFree);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::OwnProxy;

    fn route(name: &str, country: &str, city: &str, tags: &[&str]) -> Arc<Route> {
        let mut route = Route::at([127, 0, 0, 1].into(), 1, Duration::ZERO);
        name.clone_into(&mut route.name);
        country.clone_into(&mut route.place.country);
        city.clone_into(&mut route.place.city);
        route.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Arc::new(route)
    }

    fn all() -> Vec<Arc<Route>> {
        vec![
            route("a", "de", "munich", &["home"]),
            route("b", "de", "munich", &["home", "fast"]),
            route("c", "de", "", &["home"]),
            route("d", "fr", "", &["home"]),
            route("e", "de", "munich", &[]),
            route("f", "", "", &["home"]),
        ]
    }

    #[test]
    fn only_the_same_region_stands_in_and_only_what_the_order_would_have_taken() {
        let all = all();
        let home = EgressWish {
            tags: ["home".to_owned()].into(),
            ..EgressWish::default()
        };
        assert_eq!(candidates(&all[0], &home, &all), Ok(vec!["b"]));
        let any = EgressWish::default();
        assert_eq!(candidates(&all[0], &any, &all), Ok(vec!["b", "e"]));
        assert_eq!(candidates(&all[3], &any, &all), Err(Stays::NoneFree));
        assert_eq!(candidates(&all[5], &any, &all), Err(Stays::NoRegion));
    }

    proptest! {
        #[test]
        fn whoever_said_more_of_its_address_is_never_moved(
            own: bool, sticky: bool, named: bool, lost in 0_usize..6,
        ) {
            let all = all();
            let wish = EgressWish {
                own: own.then(|| OwnProxy {
                    server: "http://a:1".to_owned(),
                    has_login: false,
                    username: String::new().into(),
                    password: String::new().into(),
                }),
                sticky: if sticky { "cart-9".to_owned() } else { String::new() },
                route: if named { all[lost].name.clone() } else { String::new() },
                ..EgressWish::default()
            };
            match candidates(&all[lost], &wish, &all) {
                Ok(names) => {
                    prop_assert!(!own && !sticky && !named);
                    prop_assert!(!names.contains(&&*all[lost].name));
                }
                Err(Stays::Own) => prop_assert!(own),
                Err(Stays::Sticky) => prop_assert!(sticky),
                Err(Stays::Named) => prop_assert!(named),
                Err(_) => {}
            }
        }
    }
}
