//! What an operator is told about a configuration of canary-routing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "code of tests"
)]

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use canary_routing_policy::CanaryRouting;
use mesh_filters_policy::Policy;
use mesh_filters_policy::testing::FakeHost;
use serde_json::{Value, json};

const KEY: &str = "canary-routing: a public key of the tests";

fn errors(config: &Value) -> Vec<String> {
    let host = FakeHost::default();
    host.environment.borrow_mut().insert("SHORT".into(), "secret".into());
    match CanaryRouting::configure(config.to_string().as_bytes(), &host) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn experiment() -> Value {
    json!({
        "name": "checkout",
        "weights": [{"variant": "canary", "weight": 0.5}, {"variant": "stable", "weight": 99.5}],
    })
}

fn with(edit: impl FnOnce(&mut Value)) -> Value {
    let mut experiment = experiment();
    edit(&mut experiment);
    json!({"experiments": [experiment]})
}

fn assert_told(config: &Value, expected: &[&str]) {
    let found = errors(config);
    for expected in expected {
        let is_told = found.iter().any(|it| it.starts_with(&format!("experiments[0]{expected}")));
        assert!(is_told, "{expected:?} in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn what_is_good_is_taken() {
    assert_eq!(errors(&with(|_| {})), Vec::<String>::new());
    assert_eq!(errors(&json!({"experiments": []})), Vec::<String>::new());
    assert_eq!(errors(&json!({})), ["experiments: is missing"]);
}

#[test]
fn every_mistake_is_told_at_once_with_its_path() {
    let config = with(|it| {
        *it = json!({
            "name": "check out",
            "match": {"path": {"prefix": "checkout"}},
            "assign": [
                {"when": {"header": {"name": "x-beta", "regex": "("}}, "variant": "canary"},
                {"when": {"all": []}, "variant": "canary"},
                {"when": {"path": {"exact": "/"}, "host": {"exact": "a"}}, "variant": "canary"},
                {"when": {"client_ip": {"in": ["10.0.0.0/33", "::ffff:10.0.0.0/104"]}}, "variant": "canary"},
                {"when": {"claim": {"claim": "sub"}}, "variant": "canary"},
                {"when": {"method": {"exact": "get"}}, "variant": "canary"},
                {"when": {"not": {"cookies": {"name": "a", "exact": "b"}}}, "variant": "canary"},
            ],
            "weights": [{"variant": "canary", "weight": 0.0005}, {"variant": "stable", "weight": 101}],
            "ramp": {"variant": "canary", "from": 1, "to": 2, "start": "2026-12-01", "over": "48"},
            "colour": "red",
        });
    });
    assert_told(
        &config,
        &[
            ".name: must be 1 to 64 letters",
            ".match.path.prefix: must be a path such as",
            ".assign[0].when.header.regex: is no regular expression that can be used",
            ".assign[1].when.all: must not be empty",
            ".assign[2].when: must be {}, or have exactly one of all, any, not, header",
            ".assign[3].when.client_ip.in[0]: must be a network such as",
            ".assign[3].when.client_ip.in[1]: must be written as IPv4",
            ".assign[4].when.claim: must have exactly one of equals, contains, in, present",
            ".assign[5].when.method.exact: must be a method such as \"GET\", in upper case",
            ".assign[6].when.not.cookies: unknown field; known here: all, any, not, header, cookie",
            ".weights[0].weight: must be a percentage from 0 to 100 with at most three decimals",
            ".weights[1].weight: must be a percentage from 0 to 100",
            ".ramp.start: must be a moment with its time zone, such as \"2026-12-01T00:00:00Z\"",
            ".ramp.over: must be a duration such as",
            ".colour: unknown field; known here: name, match, header, assign, weights, sticky",
        ],
    );
}

#[test]
fn weights_add_up_to_a_hundred() {
    let weights = |weights: &[(&str, f64)]| {
        let list: Vec<_> =
            weights.iter().map(|(name, it)| json!({"variant": name, "weight": it})).collect();
        with(|it| it["weights"] = json!(list))
    };
    assert_told(&weights(&[("a", 100.0)]), &[]);
    assert_told(&weights(&[("a", 0.001), ("b", 99.999)]), &[]);
    assert_told(&weights(&[("a", 33.333), ("b", 33.333), ("c", 33.334)]), &[]);
    let told = |sum: &str| format!(".weights: must add up to 100, and add up to {sum}");
    assert_told(&weights(&[("a", 0.5), ("b", 99.0)]), &[&told("99.5")]);
    assert_told(&weights(&[("a", 33.333), ("b", 33.333), ("c", 33.333)]), &[&told("99.999")]);
    assert_told(&weights(&[("a", 100.0), ("b", 100.0)]), &[&told("200")]);
    assert_told(&weights(&[("a", 0.0)]), &[&told("0")]);
    assert_told(&weights(&[]), &[".weights: must not be empty"]);
    assert_told(
        &weights(&[("a", 50.0), ("a", 50.0)]),
        &[".weights[1].variant: there is another variant \"a\""],
    );
    let many: Vec<_> = (0..17).map(|n| ("x", if n == 0 { 100.0 } else { 0.0 })).collect();
    assert!(
        errors(&weights(&many))
            .contains(&"experiments[0].weights: must not be more than 16".into())
    );
}

#[test]
fn a_variant_must_be_one_of_the_weights() {
    let config = with(|it| {
        it["assign"] = json!([{"when": {}, "variant": "purple"}]);
        it["ramp"] = json!({"variant": "red", "from": 1, "to": 2, "start": "2026-12-01T00:00:00Z", "over": "1h"});
    });
    assert_told(
        &config,
        &[
            ".assign[0].variant: there is no variant \"purple\"; known: canary, stable",
            ".ramp.variant: there is no variant \"red\"; known: canary, stable",
        ],
    );
    let guard = json!({"variant": "canary", "compare_to": "purple", "max_error_rate": 5});
    assert_told(
        &with(|it| it["guard"] = guard),
        &[".guard.compare_to: there is no variant \"purple\"; known: canary, stable"],
    );
}

#[test]
fn a_ramp_rises_and_takes_its_time() {
    let ramp = |from: f64, to: f64, over: &str| {
        let ramp = json!({"variant": "canary", "from": from, "to": to, "start": "2026-12-01T00:00:00+09:00", "over": over});
        with(|it| it["ramp"] = ramp)
    };
    assert_told(&ramp(1.0, 100.0, "1s"), &[]);
    assert_told(&ramp(1.0, 50.0, "0s"), &[".ramp.over: must be longer than nothing"]);
    assert_told(&ramp(50.0, 1.0, "1h"), &[".ramp.to: must not be less than \"from\""]);
    let mut config = ramp(1.0, 50.0, "1h");
    config["experiments"][0]["ramp"]["steps"] = json!(0);
    assert_told(&config, &[".ramp.steps: must be a whole number from 1 to 1000"]);
    let mut config = ramp(1.0, 50.0, "1h");
    config["experiments"][0]["weights"] =
        json!([{"variant": "canary", "weight": 100}, {"variant": "stable", "weight": 0}]);
    assert_told(&config, &[".weights: another variant than \"canary\" must have a weight"]);
    for start in ["2026-12-01T00:00:00", "2026-02-30T00:00:00Z", "1969-12-31T00:00:00Z", "now"] {
        let mut config = ramp(1.0, 50.0, "1h");
        config["experiments"][0]["ramp"]["start"] = json!(start);
        assert_told(&config, &[".ramp.start: must be a moment with its time zone"]);
    }
}

#[test]
fn a_guard_has_limits_and_another_variant() {
    let guard = |fields: Value| {
        let mut guard = json!({"variant": "canary", "compare_to": "stable", "max_error_rate": 5});
        guard.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        with(|it| it["guard"] = guard)
    };
    assert_told(&guard(json!({})), &[]);
    assert_told(
        &guard(json!({"compare_to": "canary"})),
        &[".guard.compare_to: must be another variant"],
    );
    assert_told(&guard(json!({"window": "0s"})), &[".guard.window: must be from 1s to 3600s"]);
    assert_told(
        &guard(json!({"cool_down": "2d"})),
        &[".guard.cool_down: must be from 1s to 86400s"],
    );
    assert_told(
        &guard(json!({"max_latency_ratio": 0.5})),
        &[".guard.max_latency_ratio: must be a number from 1 to 1000"],
    );
    assert_told(
        &guard(json!({"response_header": "vary"})),
        &[".guard.response_header: must not be \"vary\""],
    );
    let mut config = guard(json!({}));
    config["experiments"][0]["guard"].as_object_mut().unwrap().remove("max_error_rate");
    assert_told(&config, &[".guard: must have max_error_rate, max_latency_ratio or both"]);
    let mut config = guard(json!({}));
    config["experiments"][0]["ramp"] = json!({"variant": "stable", "from": 1, "to": 2, "start": "2026-12-01T00:00:00Z", "over": "1h"});
    assert_told(
        &config,
        &[".guard.variant: must be the variant that the ramp is about, \"stable\""],
    );
}

#[test]
fn a_key_is_there_once_and_is_long_enough() {
    let r#override = |fields: Value| {
        let mut written = json!({"header": "x-override"});
        written.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        with(|it| it["override"] = written)
    };
    assert_told(&r#override(json!({"key": KEY})), &[]);
    assert_told(&r#override(json!({})), &[".override: must have either \"key\" or \"key_env\""]);
    assert_told(
        &r#override(json!({"key": KEY, "key_env": "K"})),
        &[".override: must have either \"key\" or \"key_env\""],
    );
    assert_told(
        &r#override(json!({"key": "secret"})),
        &[".override.key: must have at least 32 bytes, has 6"],
    );
    assert_told(
        &r#override(json!({"key_env": "SHORT"})),
        &[".override.key_env: must have at least 32 bytes, has 6"],
    );
    assert_told(
        &r#override(json!({"key_env": "MISSING"})),
        &[".override.key_env: there is no \"MISSING\" in the environment of the VM; set it in \
           vm_config.environment_variables"],
    );
    for config in [r#override(json!({"key": "secret"})), r#override(json!({"key_env": "SHORT"}))] {
        assert!(!errors(&config).concat().contains("secret"), "a key is told");
    }
}

#[test]
fn a_cookie_is_one_that_browsers_take() {
    let cookie = |fields: Value| {
        let mut cookie = json!({"name": "b", "key": KEY});
        cookie.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let name = cookie["name"].clone();
        with(|it| it["sticky"] = json!({"by": [{"cookie": name}], "salt": "s", "cookie": cookie}))
    };
    let at = ".sticky.cookie";
    assert_told(&cookie(json!({})), &[]);
    assert_told(&cookie(json!({"name": "__Host-b"})), &[]);
    for (fields, problem) in [
        (json!({"name": "a b"}), ".name: must be the name of a cookie"),
        (json!({"ttl": "999ms"}), ".ttl: must be a second or more"),
        (json!({"path": "/a; Domain=example.com"}), ".path: must be a path such as \"/\""),
        (json!({"same_site": "Lax"}), ".same_site: must be \"strict\", \"lax\" or \"none\""),
        (json!({"same_site": "none", "secure": false}), ".same_site: \"none\" needs secure: true"),
        (
            json!({"name": "__Secure-b", "secure": false}),
            ".name: a name that begins so needs secure",
        ),
        (json!({"name": "__Host-b", "path": "/a"}), ".name: a name that begins so needs path: /"),
    ] {
        assert_told(&cookie(fields), &[&format!("{at}{problem}")]);
    }
    let mut config = cookie(json!({}));
    config["experiments"][0]["sticky"]["by"] = json!([{"header": "x-user-id"}, {}]);
    assert_told(
        &config,
        &[
            ".sticky.by[1]: must have exactly one of claim, claim_path, header, cookie",
            ".sticky.by: must name the cookie \"b\" too, or it is never read",
        ],
    );
}

#[test]
fn experiments_do_not_get_in_each_others_way() {
    let sticky = |name: &str| {
        json!({
            "name": name, "weights": [{"variant": "a", "weight": 100}],
            "sticky": {"by": [{"cookie": "b"}], "salt": name, "cookie": {"name": "b", "key": KEY}},
        })
    };
    let config = json!({"experiments": [sticky("one"), sticky("one")]});
    assert_eq!(
        errors(&config),
        [
            "experiments[1].name: there is another experiment \"one\"",
            "experiments[1].sticky.cookie.name: another experiment has the cookie \"b\"",
        ]
    );
    let config = with(|it| {
        it["override"] = json!({"header": "X-Mesh_Variant", "key": KEY});
        it["sticky"] = json!({"by": [{"header": "x-mesh-variant"}], "salt": "s"});
        it["response_header"] = json!("set-cookie");
    });
    assert_told(
        &config,
        &[
            ".override.header: \"x-mesh_variant\" is set by this filter; take overrides from another",
            ": must not look at \"x-mesh-variant\", which is this filter's own",
            ".response_header: must not be \"set-cookie\"",
        ],
    );
    let many: Vec<_> = (0..33)
        .map(|n| json!({"name": format!("e{n}"), "weights": [{"variant": "a", "weight": 100}]}))
        .collect();
    assert_eq!(errors(&json!({"experiments": many})), ["experiments: must not be more than 32"]);
}

#[test]
fn conditions_are_bounded() {
    let nested = |depth: usize| {
        let mut condition = json!({"method": {"exact": "GET"}});
        for _ in 1..depth {
            condition = json!({"not": condition});
        }
        with(|it| it["match"] = condition)
    };
    assert_told(&nested(16), &[]);
    assert_told(&nested(17), &[".match: must not be more than 16 conditions deep"]);
    let wide = |size: usize| {
        let list = vec![json!({"method": {"exact": "GET"}}); size - 1];
        with(|it| it["match"] = json!({"any": list}))
    };
    assert_told(&wide(256), &[]);
    assert_told(&wide(257), &[".match: must not hold more than 256 conditions"]);
    // What is too deep for the parser is no stack overflow either.
    let deep = format!("{}{{}}{}", "{\"not\":".repeat(10_000), "}".repeat(10_000));
    let config = format!("{{\"experiments\": [{{\"name\": \"a\", \"match\": {deep}}}]}}");
    assert!(CanaryRouting::configure(config.as_bytes(), &FakeHost::default()).is_err());
}
