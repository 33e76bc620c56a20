//! Canary routing: which variant of a service answers a request.
//!
//! The filter chooses a variant and names it in a request header, by which the route
//! table chooses the upstream. A request goes through these steps, each in a module of
//! its own:
//!
//! 1. [`experiment`] sees whether the experiment is about the request;
//! 2. [`overrides`] looks for a signed override of a tester's ([`signed`]);
//! 3. the rules are tried in order;
//! 4. [`sticky`] finds what the client is known by, or gives it a [`cookie`];
//! 5. [`ramp`] tells the weight that a variant has now, and [`guard`] what is left of
//!    it;
//! 6. [`shares`] finds where the client falls;
//! 7. [`response`] has caches keep the variants apart.
//!
//! [`policy`] strings it together, and [`counters`] has a name for each outcome.

mod config;
mod cookie;
mod counters;
mod experiment;
mod guard;
mod overrides;
mod policy;
mod ramp;
mod response;
mod shares;
mod signed;
mod sticky;
mod variants;

pub use config::Config;
pub use overrides::sign_override;
pub use policy::{CanaryRouting, CanaryStream};
