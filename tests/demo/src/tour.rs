//! The tour: step by step, and at the end what was counted.

use anyhow::{Context, Result};
use harness::client::{self, Request};
use serde_json::Value;

use crate::counters;
use crate::outcome::{Aspect, Fact, Outcome};
use crate::screen::Screen;
use crate::stage::Stage;
use crate::steps::{Ask, Expect, STEPS, Step};
use crate::tokens::shortened;

/// Makes every request, and tells whether all gave what the tour says.
pub async fn run(stage: &Stage, screen: &Screen) -> bool {
    screen.line(&format!(
        "client -> Envoy with jwt-auth, {} -> upstream, {}\n\
         Tokens are from the issuer, {}.",
        stage.envoy.listener("ingress"),
        stage.upstream.addr(),
        stage.issuer.addr(),
    ));
    let mut tour = Tour { stage, screen, token: None };
    let mut wrong = 0;
    for (index, step) in STEPS.iter().enumerate() {
        screen.title(&format!("{}. {}", index + 1, step.title));
        let as_told = tour.step(step).await;
        wrong += usize::from(!judged(as_told, screen));
    }
    screen.title("What the filter counted. Its operator is told what clients are not: why");
    wrong += usize::from(!judged(tour.counters().await, screen));
    let verdict = match wrong {
        0 => "All was as the tour says.".to_owned(),
        _ => format!("{wrong} of {} checks did not give what the tour says.", STEPS.len() + 1),
    };
    screen.title(&verdict);
    wrong == 0
}

fn judged(as_told: Result<bool>, screen: &Screen) -> bool {
    as_told.unwrap_or_else(|error| {
        screen.bad("an answer", &format!("{error:#}"));
        false
    })
}

struct Tour<'a> {
    stage: &'a Stage,
    screen: &'a Screen,
    /// What the issuer gave out.
    token: Option<String>,
}

impl Tour<'_> {
    /// Whether this step gave what the tour says.
    async fn step(&mut self, step: &Step) -> Result<bool> {
        let outcome = self.ask(&step.ask, &step.expect).await?;
        let mut as_told = true;
        let expected = step.expect.facts();
        let got: Vec<_> = expected.iter().map(|(aspect, _)| outcome.fact(*aspect)).collect();
        // What reached the upstream is the verdict.
        for fact in got.iter().filter(|fact| fact.1.is_some() && fact.0 != Aspect::Upstream) {
            self.screen.detail(&shown(fact));
        }
        for (expected, got) in expected.iter().zip(&got).filter(|(expected, got)| expected != got) {
            self.screen.bad(&shown(expected), &shown(got));
            as_told = false;
        }
        if let Expect::Token = step.expect {
            let answer = outcome.response.json()?;
            self.token = answer.get("access_token").and_then(Value::as_str).map(str::to_owned);
        }
        if as_told {
            self.screen.good(&match step.expect {
                Expect::Token => "got a token".to_owned(),
                Expect::Refused { .. } => {
                    format!("refused, {}", shown(&outcome.fact(Aspect::Upstream)))
                }
                Expect::Passed { .. } => {
                    format!("passed, {}", shown(&outcome.fact(Aspect::Upstream)))
                }
            });
        }
        Ok(as_told)
    }

    async fn ask(&self, ask: &Ask, expect: &Expect) -> Result<Outcome> {
        let addr = match expect {
            Expect::Token => self.stage.issuer.addr(),
            Expect::Refused { .. } | Expect::Passed { .. } => self.stage.envoy.listener("ingress"),
        };
        self.screen.detail(&format!("> {} {}", ask.method, ask.path));
        let mut request = Request::new(ask.method, ask.path).body(ask.body);
        if let Some(token) = ask.token {
            let good = self.token.as_deref().context("the issuer gave no token to show")?;
            let text = token.text(good)?;
            let short = shortened(&text);
            self.screen.detail(&format!("> authorization: Bearer {short}  ({})", token.note()));
            request = request.bearer(&text);
        }
        if let Some((name, value)) = ask.header {
            self.screen.detail(&format!("> {name}: {value}"));
            request = request.header(name, value);
        }
        if !ask.body.is_empty() {
            self.screen.detail(&format!("> {}", ask.body));
        }
        self.stage.upstream.take();
        let response = client::h1(addr, request).await?;
        Ok(Outcome { response, seen: self.stage.upstream.take().pop() })
    }

    /// Shows what the filter counted, and whether that is what the steps say.
    async fn counters(&self) -> Result<bool> {
        let prometheus = self.stage.envoy.prometheus().await?;
        let lines = counters::lines(&prometheus);
        for line in &lines {
            self.screen.detail(line);
        }
        let (expected, got) = (counters::expected(STEPS), counters::counts(&lines));
        if expected == got {
            self.screen.good("each request was counted once, for its reason");
        } else {
            self.screen.bad(&counters::text(&expected), &counters::text(&got));
        }
        Ok(expected == got)
    }
}

fn shown((aspect, value): &Fact) -> String {
    format!("{}{}", aspect.label(), value.as_deref().unwrap_or("(none)"))
}
